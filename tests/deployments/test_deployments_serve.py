"""`packshot serve`: the deployments on one machine, in a process of its own, ended as a service manager ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from packshot.db.queries import assets, runs
from packshot.sandbox.ports import free_ports
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import EXAMPLE, ROOT, OpenShop, Shop, write_catalog
from tests.processes import alive, descendants
from tests.workers import post

SERVED = {"on-demand", "nightly", "price-list", "hourly"}


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from packshot.cli import main; main()", *words]


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """(process, its output) as soon as it says that it serves."""
    log = folder / "serve.log"
    with log.open("wb") as output:
        env = os.environ | {"PREFECT_HOME": str(folder / "prefect")}
        process = subprocess.Popen(command("serve"), cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: "serving " in log.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield process, log
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def start(prefect: PrefectApi, name: str, **options: Any) -> str:
    (deployment,) = prefect.filter("deployments", deployments={"name": {"any_": [name]}})
    body = {"parameters": {"options": options}}
    return str(post(prefect, f"deployments/{deployment['id']}/create_flow_run", **body)["id"])


def test_a_run_in_the_middle_of_its_calls_is_brought_to_its_end(
    open_shop: OpenShop, prefect: PrefectApi, tmp_path: Path
) -> None:
    shop = open_shop(latency=8.0)
    shop.set(CONCURRENCY=3)
    with serving(tmp_path) as (process, log):
        found = prefect.filter("deployments", deployments={"name": {"any_": sorted(SERVED)}})
        assert {one["name"] for one in found} == SERVED
        assert [one["work_pool_name"] for one in found] == [None] * 4
        described = {
            one["name"]: one for one in yaml.safe_load((ROOT / "deployments/prefect.yaml").read_text())["deployments"]
        }
        for one in found:
            schedules = described[one["name"]].get("schedules", [])
            assert {s["slug"]: s["active"] for s in one["schedules"]} == {s["slug"]: s["active"] for s in schedules}
            assert one["parameters"] == described[one["name"]].get("parameters", {})

        plan = start(prefect, "price-list", catalog=str(EXAMPLE), plan_only=True)
        eventually(lambda: prefect.flow_run(plan)["state_type"] == "COMPLETED", 40)

        catalog = write_catalog(tmp_path / "c.csv", 9)
        run = start(prefect, "on-demand", catalog=str(catalog))
        eventually(lambda: shop.emulator.health()["in_flight"] == 3, 40)
        family = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, log.read_text()
        assert alive(family) == set()

    assert shop.emulator.calls == len(assets(shop.engine)) == 3
    (made,) = runs(shop.engine)
    assert (made["state"], made["code"], made["archived"], made["held"]) == ("stopped", "stop_requested", 3, 6)
    ended = eventually(lambda: (one := prefect.flow_run(run))["state_type"] != "RUNNING" and one, 10)
    assert (ended["state_type"], ended["state_name"]) == ("FAILED", "Stopped")
    found = prefect.filter("deployments", deployments={"name": {"any_": sorted(SERVED)}})
    assert all(one["paused"] for one in found), "nobody is there to run what a schedule would start"


def test_a_second_signal_cancels(open_shop: OpenShop, prefect: PrefectApi, tmp_path: Path) -> None:
    """As Prefect does: the process gets half a minute, and this call comes home in that time."""
    shop = open_shop(latency=12.0)
    with serving(tmp_path) as (process, log):
        run = start(prefect, "on-demand", catalog=str(write_catalog(tmp_path / "c.csv", 1)))
        eventually(lambda: shop.emulator.health()["in_flight"] == 1, 60)
        process.send_signal(signal.SIGINT)
        eventually(lambda: "no new calls" in log.read_text(), 10)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
    eventually(lambda: prefect.flow_run(run)["state_type"] == "CANCELLED", 10)
    assert shop.emulator.calls == len(assets(shop.engine)) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/api", ""])
def test_without_a_server_it_says_how_to_start_one(shop: Shop, tmp_path: Path, url: str) -> None:
    """Prefect itself would start a hidden one."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("flows", "tasks", "deployments"):
        (project / name).symlink_to(ROOT / name)
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    env |= {"PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    if url:
        env["PREFECT_API_URL"] = url.format(*free_ports(1))
    done = subprocess.run(
        command("serve"), cwd=project, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "prefect_unreachable: " in done.stdout
    assert "Next: start a server: `prefect server start`" in done.stdout
    assert (env["PREFECT_API_URL"] if url else "neither PREFECT_API_URL nor a prefect.toml") in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_outside_a_project_it_says_so(shop: Shop, tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command("serve"), cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "project_missing" in done.stderr
