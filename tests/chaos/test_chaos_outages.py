"""Outages, in short. ``make chaos`` plays them at full length."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from packshot.sandbox.seaweed import Seaweed
from tests.chaos.leaks import found_in, needles, places, run_with_every_fault, signatures
from tests.chaos.outages import SCENARIOS, Impossible, judge, place_of
from tests.chaos.world import World
from tests.fixtures_postgres import postgres_binaries
from tests.fixtures_prefect import PrefectApi
from tests.fixtures_shop import ROOT

ALONE = "PACKSHOT_TESTS_MAY_MOUNT"  # set where this very test runs as the root of a namespace of its own


def names_of(place: str) -> list[str]:
    return [name for name, scenario in SCENARIOS.items() if scenario.place == place and scenario.short]


def play(name: str, world: World) -> None:
    scenario = SCENARIOS[name]
    assert scenario.short
    print(scenario.play(world, **scenario.short))
    judge(world)


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory, prefect: PrefectApi) -> Iterator[World]:
    """With an S3 server of its own, which is stopped."""
    with place_of("sqlite", tmp_path_factory.mktemp("sqlite"), prefect_url=prefect.url) as world:
        yield world


@pytest.fixture(scope="module")
def on_postgresql(tmp_path_factory: pytest.TempPathFactory, seaweed: Seaweed, prefect: PrefectApi) -> Iterator[World]:
    if postgres_binaries() is None and os.environ.get("CI", "").lower() != "true":
        pytest.skip("PostgreSQL's binaries (initdb, postgres) are not on this machine")
    folder = tmp_path_factory.mktemp("postgresql")
    with place_of("postgresql", folder, seaweed=seaweed, prefect_url=prefect.url) as world:
        yield world


@pytest.mark.parametrize("name", names_of("sqlite"))
def test_a_run_on_sqlite_survives(on_sqlite: World, name: str) -> None:
    play(name, on_sqlite)


@pytest.mark.parametrize("name", names_of("postgresql"))
def test_a_run_on_postgresql_survives(on_postgresql: World, name: str) -> None:
    play(name, on_postgresql)


def test_a_run_survives_a_full_disk(
    tmp_path: Path, seaweed: Seaweed, prefect: PrefectApi, request: pytest.FixtureRequest
) -> None:
    """Needs a small disk: mounted by root, or in a namespace of our own, where this test runs once more."""
    with ExitStack() as stack:
        try:
            given: dict[str, Any] = {"seaweed": seaweed, "prefect_url": prefect.url}
            world = stack.enter_context(place_of("small disk", tmp_path, **given))
        except Impossible as error:
            again = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", request.node.nodeid]
            if ALONE in os.environ:
                pytest.skip(str(error))
            if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
                pytest.skip(f"{error}; nor does `unshare -rm` work here")
            done = subprocess.run(
                ["unshare", "-rm", *again],
                cwd=ROOT, env=os.environ | {ALONE: "1"}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            if "1 skipped" in done.stdout:
                pytest.skip(f"{error}; nor in a namespace of our own")
            return
        for name in names_of("small disk"):
            play(name, world)


def test_secrets_are_nowhere(
    tmp_path: Path, seaweed: Seaweed, prefect: PrefectApi, tmp_path_factory: pytest.TempPathFactory
) -> None:
    [prefect_home] = {path.parent.resolve() for path in tmp_path_factory.getbasetemp().glob("prefect*/prefect")}
    given: dict[str, Any] = {"seaweed": seaweed, "prefect_url": prefect.url, "latency": 0.01, "url_mode": "oss"}
    with World(tmp_path, **given) as world:
        telltale = run_with_every_fault(world)
        secret, temporary = needles(world), signatures(world.emulator)
        assert len(temporary) > 10
        seen = dict(places(world, prefect_home))
        leaks = [
            f"{what} in {name}" for name, text in seen.items() for what, it in secret.items() if found_in(text, it)
        ]
        shown = [name for name, text in seen.items() for it in temporary if "Prefect" in name and found_in(text, it)]
    assert not leaks
    assert not set(shown), "temporary URLs with their signature"
    # The search reads each place: what is no secret is found there.
    for name in ("output and logs", "file packshot.db", "rows of the database", "Prefect's flow_runs",
                 "Prefect's task_runs", "Prefect's logs", "Prefect's artifacts", "Prefect's events",
                 "Prefect's file prefect/prefect.db"):  # fmt: skip
        assert found_in(seen[name], telltale), name
    assert any(name.startswith("file spool/") for name in seen)


@pytest.mark.parametrize("form", ["{}", "Bearer {}\\n", '{{"key": "{}"}}', "?token={}&x=1"])
def test_the_search_finds_a_planted_secret(form: str) -> None:
    assert found_in(b"\x00\x01" + form.format("sk-a/b+c==").encode() + b"\xff", "sk-a/b+c==")
    assert found_in(b"x=sk-a%2Fb%2Bc%3D%3D", "sk-a/b+c==")
    assert not found_in(b"sk-a/b", "sk-a/b+c==")
