"""The flow that brings home what was paid for, and the run that does the same before it buys anything."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session, col, select

from packshot.db.queries import assets
from packshot.db.tables import Attempt, ImageJob, Run
from packshot.rescue import Rescued, RescueFailed
from packshot.sandbox.seaweed import Seaweed
from packshot.settings import PREFIX
from tests.chaos.world import World
from tests.fixtures_prefect import PrefectApi, eventually

PRICE = 90_000


@pytest.fixture(scope="module")
def world(seaweed: Seaweed, prefect: PrefectApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with World(folder, seaweed=seaweed, prefect_url=prefect.url, latency=0.3) as world:
        world.env["CONCURRENCY"] = "1"
        yield world


@pytest.fixture(autouse=True)
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has the children's settings."""
    for name, value in world.env.items():
        monkeypatch.setenv(PREFIX + name, value)


def killed(world: World, catalog: Path, point: str, after: float = 0.0, response: str = "url") -> Run:
    child = world.run(catalog, point=point, after=after, apiyi_response=response)
    assert child.wait(60) == -signal.SIGKILL
    world.settle()
    return last_run(world)


def last_run(world: World) -> Run:
    with Session(world.engine) as session:
        return session.exec(select(Run).order_by(col(Run.id).desc())).all()[0]


def rescued(prefect: PrefectApi) -> tuple[Rescued, str, str]:
    """(what came of it, state and message in Prefect)."""
    from flows.rescue import rescue

    state = rescue(return_state=True)
    result: object = state.result(raise_on_failure=False)
    result = result.rescued if isinstance(result, RescueFailed) else result
    assert isinstance(result, Rescued)
    return result, state.name or "", state.message or ""


# Where the process dies, how the answer travels, and what is left of the one call it has paid for.
DEATHS = {
    "in the air": ("during the POST", 0.1, "url", "unknown"),
    "answer on the disk": ("answer on the disk", 0.0, "b64_json", "adopted"),
    "received": ("received", 0.0, "url", "freed"),
    "received, in the spool": ("received", 0.0, "b64_json", "freed"),
    "half a download": ("half a download", 0.0, "url", "freed"),
    "object stored": ("after the PUT", 0.0, "url", "freed"),
}


@pytest.mark.parametrize("death", DEATHS)
def test_after_a_kill(world: World, prefect: PrefectApi, death: str) -> None:
    point, after, response, kind = DEATHS[death]
    calls, images = world.emulator.calls, len(assets(world.engine))
    run = killed(world, world.catalog(death.replace(" ", "-").replace(",", ""), 1), point, after, response)
    done, name, message = rescued(prefect)
    assert (name, done.lost, done.waiting, done.held) == ("Completed", 0, 0, 0)
    found = done.recovered
    assert {"unknown": found.unknown, "adopted": found.adopted, "freed": found.freed} == {
        "unknown": 0, "adopted": 0, "freed": 0, kind: 1
    }  # fmt: skip
    brought = 0 if kind == "unknown" else 1
    assert done.archived == len(assets(world.engine)) - images == brought
    assert message.startswith(f"{brought} images brought home")
    if kind == "unknown":
        assert "1 calls of unknown outcome, $0.09 booked for them" in message
    assert world.emulator.calls == calls + 1  # the one before the death
    with Session(world.engine) as session:
        assert session.exec(select(ImageJob.id).where(col(ImageJob.claimed_by).is_not(None))).all() == []
        assert session.exec(select(Attempt.id).where(col(Attempt.settled_at).is_(None))).all() == []
    assert list(world.settings.spool.iterdir()) == []
    closed = last_run(world)
    assert (closed.id, closed.state, closed.spent_micro) == (run.id, "crashed", PRICE)
    states = [one["state_type"] for one in prefect.family(run.flow_run_id or "")]
    assert states == ["CRASHED"]


def test_what_is_lost_is_a_failure_that_names_its_price(world: World, prefect: PrefectApi) -> None:
    world.emulator.queue("url_expired")
    killed(world, world.catalog("lost", 1), "received")
    done, name, message = rescued(prefect)
    assert (done.archived, done.lost, done.lost_micro, name) == (0, 1, PRICE, "Lost")
    assert message.startswith("0 images brought home, 1 lost, which cost $0.09")


def test_the_next_run_brings_home_before_it_buys(world: World, prefect: PrefectApi) -> None:
    killed(world, world.catalog("old", 1), "received")
    world.emulator.queue("url_expired")
    killed(world, world.catalog("late", 1), "received")
    begin = len(world.emulator.history)
    child = world.run(world.catalog("new", 2))
    assert child.wait(60) == 0
    ways = [seen.method for seen in world.emulator.history[begin:]]
    # The image of a product that is not in its catalog; the URL that ended is not tried in vain.
    assert (ways[0], ways.count("POST"), ways.count("GET")) == ("GET", 2, 3)
    assert ways[1] == "POST"
    assert "note: 1 images that were paid for are lost, $0.09: their URLs ended too soon" in world.log.read_text()
    assert {"old-0001", "new-0001", "new-0002"} <= {row["product_key"] for row in assets(world.engine)}


def test_beside_a_run(world: World, prefect: PrefectApi) -> None:
    killed(world, world.catalog("before", 1), "received")
    world.emulator.latency = 2.0
    child = world.run(world.catalog("beside", 2), concurrency=2)
    eventually(lambda: world.emulator.health()["in_flight"] == 2, 30)
    done, _, _ = rescued(prefect)
    assert (done.recovered.unknown, done.recovered.freed, done.dead_flow_runs) == (0, 0, ())
    assert child.wait(60) == 0
    world.emulator.latency = 0.3
    assert last_run(world).archived == 2
