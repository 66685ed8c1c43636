"""A live process keeps its claims, on another machine too, and hears that its run is to stop."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlmodel import Session, col, select

from packshot.db.abandoned import take_over
from packshot.db.engine import open_engine
from packshot.db.ledger import Ledger
from packshot.db.running import close_dead, request_stop
from packshot.db.runs import Runs
from packshot.db.tables import ImageJob, Run
from packshot.db.types import RunState
from packshot.pulse import pulse_of
from tests.db.ledger_cases import PRICE, Book
from tests.fixtures_postgres import MakeUrl
from tests.fixtures_prefect import eventually
from tests.line import Line

LEASE = 3.0  # four renewals fit into it, and so does a moment in which the machine does something else


@pytest.fixture
def far(engine: Engine) -> Ledger:
    """The ledger of a process on another machine: only its lease tells us whether it lives."""
    return Ledger(engine, lease=LEASE, worker="another-machine:7:1")


@pytest.fixture
def run_id(engine: Engine, far: Ledger) -> int:
    """Its run, with one call in the air."""
    book = Book(engine)
    with far.write() as session:
        run = session.get_one(Run, book.run_id)
        run.worker, run.seen_at = far.worker, far.now()
        session.add(run)
    claim = far.claim(book.job)
    assert claim
    far.begin(claim, book.run_id, PRICE, "images", 1)
    return book.run_id


def test_leases_are_renewed_while_the_block_is_at_work(engine: Engine, far: Ledger, run_id: int) -> None:
    here = Ledger(engine, lease=LEASE)
    with pulse_of(engine).watch(far, run_id):
        ends = time.monotonic() + 3.5 * LEASE
        while time.monotonic() < ends:
            assert take_over(here).found == {}
            assert close_dead(here) == []
            time.sleep(0.05)
    eventually(lambda: take_over(here).found == {"calling": 1}, 5 * LEASE)
    eventually(lambda: close_dead(here) == [] and _state(engine, run_id) == "crashed", 5 * LEASE)


def _state(engine: Engine, run_id: int) -> str:
    with Session(engine) as session:
        return session.get_one(Run, run_id).state


def test_a_run_hears_that_it_is_to_stop_and_others_do_not(engine: Engine, far: Ledger, run_id: int) -> None:
    other = Book(engine).run_id
    pulse = pulse_of(engine)
    with pulse.watch(far, run_id), pulse.watch(far, other):
        assert pulse.stop_requested == frozenset()
        assert request_stop(far, run_id) == [run_id]
        began = time.monotonic()
        eventually(lambda: pulse.stop_requested, 5)
        assert time.monotonic() - began < 1.5
        assert pulse.stop_requested == {run_id}


def test_nobody_can_stop_a_run_that_is_over(engine: Engine, far: Ledger, run_id: int) -> None:
    ledger = Ledger(engine, lease=LEASE, worker=far.worker)
    assert request_stop(ledger, run_id + 1) == []
    assert request_stop(ledger) == [run_id]
    Runs(ledger).finish(run_id, RunState.CRASHED)
    assert request_stop(ledger) == []


def test_it_ends_when_there_is_nothing_to_watch(engine: Engine, far: Ledger, run_id: int) -> None:
    def at_work() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "pulse"]

    before = len(at_work())
    pulse = pulse_of(engine)
    with pulse.watch(far, run_id), pulse.watch(far):
        assert len(at_work()) == before + 1  # one, however many watch
    eventually(lambda: len(at_work()) == before, 3)
    with pulse.watch(far, run_id):
        assert len(at_work()) == before + 1
    eventually(lambda: len(at_work()) == before, 3)


def test_it_survives_a_database_that_is_away(postgres: MakeUrl) -> None:
    url = make_url(postgres(tables=True))
    assert url.port
    direct = open_engine(url.render_as_string())
    book = Book(direct)
    with Line(url.port) as line:
        far = Ledger(
            open_engine(url.set(port=int(line.url.rpartition(":")[2])).render_as_string()),
            lease=LEASE, worker="another-machine:7:1",
        )  # fmt: skip
        claim = far.claim(book.job)
        assert claim

        def lease_until() -> object:
            with Session(direct) as session:
                return session.exec(select(ImageJob.lease_until).where(col(ImageJob.id) == book.job)).one()

        with pulse_of(far.engine).watch(far):
            first = lease_until()
            eventually(lambda: lease_until() != first, 5)
            line.cut()
            time.sleep(0.5)
            away = lease_until()
            time.sleep(1.5)
            assert lease_until() == away
            line.mend()
            eventually(lambda: lease_until() != away, 5)
        far.engine.dispose()
    direct.dispose()
