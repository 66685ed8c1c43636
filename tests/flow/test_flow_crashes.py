"""Worker and flow killed, or the Prefect server restarted, with calls in the air."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
from sqlmodel import Session, col, select

from packshot.db.queries import assets
from packshot.db.tables import Attempt, Run
from packshot.reconcile import reconcile
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import ROOT, Shop, write_catalog
from tests.prefect_servers import Server
from tests.processes import alive, descendants
from tests.workers import deployed, post, worker

PRICE = 90_000


def runs(shop: Shop) -> list[Run]:
    with Session(shop.engine) as session:
        return list(session.exec(select(Run).order_by(col(Run.id))).all())


def test_worker_and_flow_killed_with_ten_calls_in_the_air(shop: Shop, prefect: PrefectApi, tmp_path: Path) -> None:
    shop.emulator.latency = 10.0
    shop.set(CONCURRENCY=10, PROVIDER_SLOTS=10)
    catalog = write_catalog(tmp_path / "c.csv", 12)
    pool, deployment = deployed(prefect)
    with worker(prefect, pool, tmp_path / "worker.log") as process:
        parameters = {"options": {"catalog": str(catalog)}}
        created = post(prefect, f"deployments/{deployment}/create_flow_run", parameters=parameters)
        eventually(lambda: shop.emulator.health()["in_flight"] == 10, 60)
        family = descendants(process.pid)
        process.kill()
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        eventually(lambda: not alive(family))
    assert prefect.flow_run(created["id"])["state_type"] == "RUNNING"  # nobody is left to tell

    # What `packshot rescue` and the hourly deployment do: it knows that the process died, and tells Prefect.
    from flows.rescue import rescue

    assert rescue(return_state=True).is_completed()
    assert (runs(shop)[0].state, runs(shop)[0].code) == ("crashed", "interrupted")
    assert prefect.flow_run(created["id"])["state_type"] == "CRASHED"

    shop.emulator.latency = 0.1
    report = shop.run(catalog)  # it waits until the dead run's slots are free again
    assert (report.run.state, report.run.archived) == ("completed", 12)
    limit = prefect.get(f"v2/concurrency_limits/{shop.settings.provider_limit}")
    assert (limit["limit"], limit["active_slots"]) == (10, 0)
    with Session(shop.engine) as session:
        calls = session.exec(select(Attempt)).all()
    assert Counter(call.code for call in calls) == {"interrupted": 10, None: 12}  # each unknown one is counted
    assert shop.emulator.calls == 22
    eventually(lambda: shop.emulator.health()["in_flight"] == 0, 30)
    reconcile(shop.settings, apply=True)
    with Session(shop.engine) as session:
        assert sum(session.exec(select(Attempt.cost_micro)).all()) == shop.emulator.billed_micro == 22 * PRICE


def test_the_prefect_server_restarted_in_mid_run(shop: Shop, tmp_path: Path) -> None:
    """The one run makes all images; it keeps its slots over the restart and gives them back at its end."""
    shop.emulator.latency = 4.0
    shop.set(CONCURRENCY=5, PROVIDER_SLOTS=5)
    server = Server(tmp_path / "prefect")
    api = PrefectApi(server.url)
    limit = f"v2/concurrency_limits/{shop.settings.provider_limit}"
    try:
        command: list[str | Path] = [Path(sys.executable).parent / "packshot", "run"]
        command.append(write_catalog(tmp_path / "c.csv", 40))
        env = os.environ | {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(tmp_path / "client")}
        with (tmp_path / "run.log").open("wb") as log:
            run = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            eventually(lambda: shop.emulator.calls >= 10, 60)
            server.kill()
            time.sleep(20)  # Prefect's own renewal would have given up
            server.start()
            assert run.poll() is None
            assert api.get(limit)["active_slots"] == 5
            assert run.wait(120) == 0, (tmp_path / "run.log").read_text()[-2000:]
        finally:
            run.kill()
            run.wait()
        assert api.get(limit)["active_slots"] == 0
        [row] = runs(shop)
        assert (row.state, row.archived, row.calls) == ("completed", 40, 40)
        assert len(assets(shop.engine)) == shop.emulator.calls == 40
        assert api.flow_run(row.flow_run_id or "")["state_type"] == "COMPLETED"
    finally:
        server.kill()
