"""A run that a Prefect worker executes, cancelled as the UI does it."""

from __future__ import annotations

from pathlib import Path

from sqlmodel import Session, col, select

from packshot.db.queries import assets
from packshot.db.tables import Attempt, Run
from packshot.reconcile import reconcile
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import Shop, write_catalog
from tests.processes import alive, descendants
from tests.workers import deployed, post, worker

PRICE = 90_000
SOON, LATE = 14.0, 36.0  # seconds a call takes; a worker gives a cancelled run 30 of them


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
