"""A run that a Prefect worker executes, cancelled as the UI does it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from prefect.workers.process import ProcessWorker
from sqlmodel import Session, col, select

from packshot.db.queries import assets
from packshot.db.tables import Attempt, Run
from packshot.reconcile import reconcile
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import ROOT, Shop, write_catalog
from tests.processes import alive, descendants

PRICE = 90_000
SOON, LATE = 14.0, 36.0  # seconds a call takes; a worker gives a cancelled run 30 of them


def post(prefect: PrefectApi, where: str, **body: Any) -> Any:
    def send() -> requests.Response | None:
        answer = requests.post(f"{prefect.url}/{where}", json=body, timeout=30)
        return None if answer.status_code == 503 else answer  # its database is busy

    answer: requests.Response = eventually(send)
    assert answer.ok, answer.text
    return answer.json()


def deployed(prefect: PrefectApi) -> tuple[str, str]:
    """(work pool, deployment): the flow as `prefect deploy` registers it."""
    pool = f"pool-{uuid.uuid4().hex[:8]}"
    template = ProcessWorker.get_default_base_job_template()
    post(prefect, "work_pools/", name=pool, type="process", base_job_template=template)
    flow = post(prefect, "flows/", name="catalog-imaging")
    deployment = post(
        prefect, "deployments/", name=pool, flow_id=flow["id"], work_pool_name=pool, path=str(ROOT),
        entrypoint="flows/catalog_imaging.py:catalog_imaging",
    )  # fmt: skip
    return pool, deployment["id"]


@contextmanager
def worker(prefect: PrefectApi, pool: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    env = os.environ | {
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(log.parent / "worker"),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_a_cancelled_run_saves_what_comes_home_in_time(shop: Shop, prefect: PrefectApi, tmp_path: Path) -> None:
    for latency in (SOON, LATE):
        for _ in range(6):
            shop.emulator.queue("slow_body", latency=latency, seconds=0)
    shop.set(CONCURRENCY=12)
    catalog = write_catalog(tmp_path / "c.csv", 20)
    pool, deployment = deployed(prefect)
    log = tmp_path / "worker.log"
    with worker(prefect, pool, log) as process:
        parameters = {"options": {"catalog": str(catalog)}}
        created = post(prefect, f"deployments/{deployment}/create_flow_run", parameters=parameters)
        eventually(lambda: shop.emulator.health()["in_flight"] == 12, 60)
        family = descendants(process.pid)
        # What the UI's Cancel sends.
        post(prefect, f"flow_runs/{created['id']}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        eventually(lambda: prefect.flow_run(created["id"])["state_type"] == "CANCELLED", 60)
        assert alive(family) == set()
    assert shop.emulator.calls == 12
    assert len(assets(shop.engine)) == 6

    report = shop.run(catalog)
    assert "after a crash: 6 calls of unknown outcome, $0.54 booked for them" in report.notes
    assert (report.run.state, report.run.archived) == ("completed", 20)
    with Session(shop.engine) as session:
        cancelled = session.exec(select(Run).order_by(col(Run.id))).all()[0]
        calls = session.exec(select(Attempt).where(Attempt.run_id == cancelled.id)).all()
    assert (cancelled.state, cancelled.code, cancelled.archived) == ("crashed", "interrupted", 6)
    assert cancelled.spent_micro == 12 * PRICE
    lost = [(call.code, call.billed, call.cost_micro) for call in calls if call.code]
    assert lost == [("interrupted", "unknown", PRICE)] * 6
    [flow_run] = prefect.family(created["id"])
    assert flow_run["state_name"] == "Cancelled"

    eventually(lambda: shop.emulator.health()["in_flight"] == 0, 30)
    reconcile(shop.settings, apply=True)
    with Session(shop.engine) as session:
        assert sum(session.exec(select(Attempt.cost_micro)).all()) == shop.emulator.billed_micro
