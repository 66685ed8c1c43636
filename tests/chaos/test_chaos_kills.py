"""Every named death once, two processes at a time over one catalog. ``make chaos`` is the long form."""

from __future__ import annotations

import signal
from itertools import pairwise
from pathlib import Path

from sqlmodel import Session, col, select, update

from packshot.db.tables import Asset, Attempt, ImageJob, Run
from packshot.sandbox.bill import BillRow
from packshot.sandbox.seaweed import Seaweed
from packshot.storage import ObjectStore
from tests.chaos.child import POINTS
from tests.chaos.kills import FROM_OUTSIDE, finish, rounds
from tests.chaos.world import World
from tests.fixtures_prefect import PrefectApi

AT = {"run opened": 1, "planned": 1, "before finish": 1, "finished": 1, "any commit": 9}


def test_nothing_is_lost_or_bought_twice_wherever_a_run_dies(
    tmp_path: Path, seaweed: Seaweed, prefect: PrefectApi
) -> None:
    with World(tmp_path, seaweed=seaweed, prefect_url=prefect.url, latency=(0.1, 0.4)) as world:
        catalog = world.catalog("every-point", 40, rejects=2)
        points = sorted(POINTS, key=lambda point: "finish" in point)  # those at last: little is left to do after them
        for number in range(0, len(points), 2):
            children = []
            for place, point in enumerate(points[number : number + 2]):
                at, after = AT.get(point, 2), 0.1 if point == "during the POST" else 0.0
                answer = "b64_json" if place and "download" not in point else "url"
                child = world.run(catalog, point=point, at=at, after=after, concurrency=3, apiyi_response=answer)
                children.append(child)
            for child in children:
                assert child.wait(60) == -signal.SIGKILL, f"the child came past {child.order.point!r} alive"
        finish(world, str(catalog), {})
        figures = world.check()
        with Session(world.engine) as session:
            last = session.exec(select(Run).order_by(col(Run.id).desc())).first()
    assert not figures.broken, "\n".join([*figures.broken, *figures.reasons])
    assert last
    assert (last.records, last.accepted, last.rejected, last.blank, last.planned) == (43, 40, 2, 1, 40)
    assert figures.states["archived"] > 20
    assert min(figures.witnessed, figures.unknown) > 0


def test_the_figures_notice_what_is_wrong(tmp_path: Path, seaweed: Seaweed, prefect: PrefectApi) -> None:
    with World(tmp_path, seaweed=seaweed, prefect_url=prefect.url, latency=0.01) as world:
        child = world.run(world.catalog("watched", 3))
        assert child.wait(60) == 0
        figures = world.check()
        assert not figures.broken, figures.reasons
        assert (figures.assets, figures.received, figures.calls, figures.bill) == (3, 3, 3, 270_000)
        _spoil(world)
        figures = world.check()
    assert figures.broken == [
        "lost = 2, not 0",
        "duplicates = 1, not 0",
        "assets_without_object = 1, not 0",
        "objects_without_row = 1, not 0",
        "unexplained = -90000, not 0",
        "unbalanced_runs = 1, not 0",
        "open_runs = 1, not 0",
        "open_jobs = 1, not 0",
        "leftovers = 2, not 0",
    ]
    assert len(figures.reasons) >= len(figures.broken)


def _spoil(world: World) -> None:
    """Do by hand what must never happen."""
    store = ObjectStore(world.settings)
    with Session(world.engine) as session, session.begin():
        first, second, third = session.exec(select(Asset).order_by(col(Asset.id))).all()
        session.delete(first)  # its object is left, and its image is lost
        store.delete(second.key)
        run = session.exec(select(Run)).one()
        run.planned += 1
        session.add(Run(catalog="c", source="c", started_at=run.started_at))
        call = session.get_one(Attempt, third.attempt_id)
        (world.settings.spool / f"{call.spool_name}.body").write_text("{}")
        (world.settings.spool / "download-1").mkdir()
        extra = call.model_dump(exclude={"id"}) | {"number": 2, "cost_micro": 0, "billed": "no", "code": "overloaded"}
        session.add(Attempt(**extra | {"request_ids": {}, "spool_name": "none"}))
        session.exec(update(ImageJob).where(col(ImageJob.id) == second.job_id).values(state="generated"))
    world.witness.seen["0" * 64] = "call-0.body"
    begun = world.emulator.bill[-1].created_at
    row = BillRow("20260101000000000000000AAAAAAAAAAAAAAAA", begun, "nano-banana-pro", 90_000, True, "image", 200)
    world.emulator.studio.ledger.settle(row)


def test_a_seed_gives_the_same_plan_and_the_plan_has_every_point() -> None:
    plan = [order for order, _ in zip(rounds(7), range(12), strict=False)]
    assert plan == [order for order, _ in zip(rounds(7), range(12), strict=False)]
    assert plan != [order for order, _ in zip(rounds(8), range(12), strict=False)]
    blows = [blow for order in plan for volley in order.volleys for blow in volley if blow.point]
    assert {blow.point for blow in blows} == {*POINTS, FROM_OUTSIDE}
    assert {len(volley) for order in plan for volley in order.volleys} == {1, 2}
    assert all(a.number + 1 == b.number for a, b in pairwise(plan))
