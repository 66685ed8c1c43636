"""The limit that all runs share: made at first use, kept, waited for, and free again after whatever happened."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from sqlmodel import Session, col, select

from packshot.db.running import request_stop
from packshot.db.tables import Run
from packshot.run import open_ledger
from tasks.provider_limit import LEASE
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import ROOT, Shop, write_catalog


def slots_in_use(prefect: PrefectApi, shop: Shop) -> int:
    return int(prefect.get(f"v2/concurrency_limits/{shop.settings.provider_limit}")["active_slots"])


@contextmanager
def running(shop: Shop, catalog: Path, at_once: int) -> Iterator[subprocess.Popen[bytes]]:
    """`packshot run` in a process of its own."""
    command: list[Path | str] = [
        Path(sys.executable).parent / "packshot",
        "run",
        catalog,
        "--concurrency",
        str(at_once),
    ]
    with (shop.folder / f"{catalog.stem}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextmanager
def others_hold(shop: Shop, slots: int) -> Iterator[None]:
    """Slots in the hands of some other run."""
    with get_client(sync_client=True) as client:
        name = shop.settings.provider_limit
        lease = client.increment_concurrency_slots_with_lease([name], slots, "concurrency", 300).json()["lease_id"]
        yield
        client.release_concurrency_slots_with_lease(lease)


def test_it_is_made_at_first_use_and_then_counts(shop: Shop, prefect: PrefectApi) -> None:
    shop.set(PROVIDER_SLOTS=3)
    shop.emulator.latency = 0.3
    report = shop.run(write_catalog(shop.folder / "c.csv", 7), concurrency=6)
    assert report.run.archived == 7
    assert shop.emulator.in_flight_peak == 3
    limit = prefect.get(f"v2/concurrency_limits/{shop.settings.provider_limit}")
    assert (limit["limit"], limit["active_slots"]) == (3, 0)
    [note] = [note for note in report.notes if "instead of 6" in note]
    command = note.rpartition("; ")[2]
    assert command == f"prefect gcl update {shop.settings.provider_limit} --limit 6"
    subprocess.run([sys.executable, "-m", *command.split()], check=True, stdout=subprocess.DEVNULL)
    report = shop.run(write_catalog(shop.folder / "d.csv", 7), concurrency=6)
    assert shop.emulator.in_flight_peak == 6
    assert "instead of" not in str(report.notes)


def test_two_runs_share_it(shop: Shop, prefect: PrefectApi) -> None:
    shop.set(PROVIDER_SLOTS=4)
    shop.emulator.latency = 1.0
    catalogs = [write_catalog(shop.folder / f"{name}.csv", 8) for name in ("one", "two")]
    with running(shop, catalogs[0], 4) as one, running(shop, catalogs[1], 4) as two:
        assert (one.wait(90), two.wait(90)) == (0, 0)
    assert (shop.emulator.calls, shop.emulator.in_flight_peak) == (16, 4)
    assert slots_in_use(prefect, shop) == 0


@pytest.mark.parametrize("how", ["freed", "stopped"])
def test_a_run_waits_until_slots_are_free_or_it_is_stopped(shop: Shop, how: str) -> None:
    shop.set(PROVIDER_SLOTS=2)
    shop.run(write_catalog(shop.folder / "first.csv", 1))
    with ExitStack() as others, running(shop, write_catalog(shop.folder / "c.csv", 3), 2) as command:
        others.enter_context(others_hold(shop, 1))
        eventually(lambda: len(runs(shop)) == 2, 60)
        time.sleep(2.0)
        assert shop.emulator.calls == 1
        if how == "stopped":
            request_stop(open_ledger(shop.settings))
        else:
            others.close()
        assert command.wait(60) == (3 if how == "stopped" else 0)
    state, made = ("stopped", 0) if how == "stopped" else ("completed", 3)
    assert (runs(shop)[-1].state, runs(shop)[-1].archived) == (state, made)


def runs(shop: Shop) -> list[Run]:
    with Session(shop.engine) as session:
        return list(session.exec(select(Run).order_by(col(Run.id))).all())


def test_the_slots_of_a_killed_process_come_back(shop: Shop, prefect: PrefectApi) -> None:
    shop.set(PROVIDER_SLOTS=10)
    shop.emulator.latency = 5.0
    with running(shop, write_catalog(shop.folder / "c.csv", 12), 10) as command:
        eventually(lambda: shop.emulator.health()["in_flight"] == 10, 60)
        assert slots_in_use(prefect, shop) == 10
        command.kill()
        command.wait()
        killed = time.monotonic()
    eventually(lambda: slots_in_use(prefect, shop) == 0, LEASE + 30)
    assert time.monotonic() - killed < LEASE + 15  # the server looks for ended leases every few seconds
