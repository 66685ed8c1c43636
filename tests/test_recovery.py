"""What a run that is given up leaves behind: nothing taken, nothing in the air, every call with its price."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session, col, select

from packshot.apiyi import ImageRequest
from packshot.apiyi import client as client_module
from packshot.db.abandoned import take_over
from packshot.db.moves import Received
from packshot.db.tables import Attempt, Generation, ImageJob, Run
from packshot.db.types import JobState
from packshot.errors import Code, ProviderError
from packshot.options import RunOptions
from packshot.policy import Decision, Verdict
from packshot.recovery import Recovered, recover
from packshot.run import break_off, finish_run, give_up_run, open_ledger, start_run
from packshot.sandbox.seaweed import Seaweed
from packshot.settings import Settings
from packshot.studio import Studio
from tests.fixtures_prefect import eventually
from tests.fixtures_shop import Shop, opened_shop, write_catalog

PRICE = 90_000


@pytest.fixture
def shop(seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with opened_shop(tmp_path / "shop", seaweed, monkeypatch) as shop:
        yield shop


def begin(shop: Shop, images: int) -> tuple[Studio, list[int]]:
    catalog = write_catalog(shop.folder / "c.csv", images)
    started = start_run(shop.settings, RunOptions(catalog=str(catalog)), None)
    studio = Studio(shop.settings, started.run_id, images)
    return studio, [item.job_id for item in studio.runs.work(started.run_id, 0, images)]


def test_giving_up_settles_the_call_and_its_late_answer_counts_all_the_same(shop: Shop) -> None:
    shop.emulator.latency = 0.8
    studio, [job] = begin(shop, 1)
    assert studio.run_id
    with ThreadPoolExecutor(1) as pool, studio.client:
        made = pool.submit(studio.make, job)
        eventually(lambda: shop.emulator.health()["in_flight"])
        give_up_run(shop.settings, studio.run_id)
        with Session(shop.engine) as session:
            [call] = session.exec(select(Attempt)).all()
            run = session.exec(select(Run)).one()
            assert (call.code, call.billed, call.cost_micro) == ("interrupted", "unknown", PRICE)
            assert session.exec(select(ImageJob.claimed_by)).all() == [None]
        assert (run.state, run.code, run.held) == ("stopped", "stop_requested", 1)
        # This process would have ended by now. It has not, so what it paid for is not thrown away.
        assert made.result().state is JobState.ARCHIVED
    with Session(shop.engine) as session:
        [call] = session.exec(select(Attempt)).all()
    assert (call.code, call.billed, shop.emulator.calls) == (None, "yes", 1)


@pytest.mark.parametrize("broken", ["read_body", "sync_folder"])
def test_an_answer_that_is_here_counts_whatever_broke_behind_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Too many open files, for instance, once the answer is on the disk."""
    studio, [job] = begin(shop, 1)
    real, failing = getattr(client_module, broken), [True]

    def fails_once(*args: object) -> object:
        if failing:
            failing.clear()
            raise OSError(24, "Too many open files")
        return real(*args)

    monkeypatch.setattr(client_module, broken, fails_once)
    with studio.client:
        assert studio.make(job).state is JobState.ARCHIVED
    assert (failing, shop.emulator.calls) == ([], 1)


def leave_an_answer(shop: Shop, studio: Studio, job: int, code: Code, verdict: Verdict) -> None:
    """Of a call that was given up, in the spool of a process that has ended and did not get at it."""
    claim = studio.ledger.claim(job)
    assert claim
    assert studio.run_id
    attempt = studio.ledger.begin(claim, studio.run_id, PRICE, "images", 1)
    studio.client.generate(studio._request(claim.job), shop.settings.spool, claim.spool_name)
    error = ProviderError(code, "it is on the disk all the same")
    studio.ledger.not_received(claim, attempt, error, lambda past: Decision(verdict))
    dead = "call-000000000000-1-1-abc"
    for path in shop.settings.spool.glob(f"{claim.spool_name}.*"):
        path.rename(path.with_name(dead + path.suffix))
        os.utime(path.with_name(dead + path.suffix), (0, 0))
    with Session(shop.engine) as session:
        session.get_one(Attempt, attempt).spool_name = dead
        session.commit()


@pytest.mark.parametrize("code", [Code.UNEXPECTED, Code.ANSWER_NOT_SAVED])
def test_an_answer_in_the_spool_is_adopted_however_its_call_was_settled(shop: Shop, code: Code) -> None:
    studio, [job] = begin(shop, 1)
    with studio.client:
        leave_an_answer(shop, studio, job, code, Verdict.HOLD)
    assert recover(shop.settings, studio.ledger).adopted == 1
    assert studio.make(job).state is JobState.ARCHIVED
    assert shop.emulator.calls == 1


@pytest.mark.parametrize("stopped", [False, True])
def test_an_answer_that_is_found_before_the_next_call_goes_out_takes_its_place(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """A worker waits for a slot to buy the picture once more, while another finds the answer to the first call."""
    studio, [job] = begin(shop, 1)
    with studio.client:
        leave_an_answer(shop, studio, job, Code.INTERRUPTED, Verdict.RETRY)
        real = studio._request

        def found_meanwhile(job: ImageJob) -> ImageRequest:
            assert recover(shop.settings, open_ledger(shop.settings)).adopted == 1
            if stopped:
                studio.stop(Code.STOP_REQUESTED, "stopped on request")
            return real(job)

        monkeypatch.setattr(studio, "_request", found_meanwhile)
        assert studio.make(job).state is JobState.ARCHIVED
    assert shop.emulator.calls == 1
    with Session(shop.engine) as session:
        run = session.exec(select(Run)).one()
        assert (run.spent_micro, run.calls) == (PRICE, 1)


def test_an_image_is_left_to_the_machine_that_has_it_and_held_when_that_takes_too_long(shop: Shop) -> None:
    studio, [job] = begin(shop, 1)
    claim = studio.ledger.claim(job)
    assert claim
    assert studio.run_id
    attempt = studio.ledger.begin(claim, studio.run_id, PRICE, "images", 1)
    answer = Received(None, None, "call-000000000000-1-1-abc", 200, {}, 1.0)
    studio.ledger.release(studio.ledger.received(claim, attempt, answer))
    with studio.client:
        assert studio.make(job).state is JobState.GENERATED
        with Session(shop.engine) as session:
            generation = session.exec(select(Generation)).one()
            generation.created_at -= timedelta(hours=2)
            session.add(generation)
            session.commit()
        outcome = studio.make(job)
    assert (outcome.state, outcome.code) == (JobState.HELD, Code.SPOOL_MISSING)


@pytest.mark.parametrize("catalog", ["c.csv", "d.csv"], ids=["the same catalog", "another catalog"])
def test_giving_up_one_run_leaves_the_other_one_alone(shop: Shop, catalog: str) -> None:
    one, [job] = begin(shop, 1)
    assert one.ledger.claim(job, one.run_id)
    other = start_run(shop.settings, RunOptions(catalog=str(write_catalog(shop.folder / catalog, 1))), None)
    give_up_run(shop.settings, other.run_id)
    with Session(shop.engine) as session:
        assert session.get_one(ImageJob, job).state == "claimed"
        assert session.exec(select(Run.state).order_by(col(Run.id))).all() == ["running", "stopped"]


def test_a_run_that_could_not_settle_its_calls_finds_them_again(shop: Shop) -> None:
    """The database went away while it was giving them up, and this process goes on."""
    studio, [job] = begin(shop, 1)
    claim = studio.ledger.claim(job, studio.run_id)
    assert claim
    assert studio.run_id
    studio.ledger.begin(claim, studio.run_id, PRICE, "images", 1)
    for _ in range(2):
        assert [taken.job_id for taken, _ in take_over(studio.ledger, studio.run_id).calls] == [job]
    give_up_run(shop.settings, studio.run_id)
    with Session(shop.engine) as session:
        assert session.exec(select(Attempt.code)).all() == ["interrupted"]


@pytest.mark.parametrize("end", [finish_run, give_up_run])
def test_a_run_that_ends_leaves_the_calls_of_another_over_the_same_catalog(
    shop: Shop, end: Callable[[Settings, int], object]
) -> None:
    """Both in one process, as when a program starts one while the other is at work."""
    shop.emulator.latency = 0.8
    one, [job] = begin(shop, 1)
    other, [same] = begin(shop, 1)
    assert (same, other.run_id) == (job, 2)
    with ThreadPoolExecutor(1) as pool, one.client:
        made = pool.submit(one.make, job)
        eventually(lambda: shop.emulator.health()["in_flight"])
        end(shop.settings, 2)
        with Session(shop.engine) as session:
            assert session.exec(select(Attempt.settled_at)).all() == [None]
            assert session.get_one(ImageJob, job).state == "calling"
        assert made.result().state is JobState.ARCHIVED
    with Session(shop.engine) as session:
        [call] = session.exec(select(Attempt)).all()
    assert (call.run_id, call.code, call.billed, shop.emulator.calls) == (one.run_id, None, "yes", 1)


@pytest.mark.parametrize(
    ("code", "state"), [(Code.STOP_REQUESTED, "stopped"), (Code.INTERRUPTED, "crashed")], ids=["stop", "crash"]
)
def test_a_run_that_is_broken_off_leaves_its_claims_to_those_who_hold_them(shop: Shop, code: Code, state: str) -> None:
    studio, [job] = begin(shop, 1)
    assert studio.run_id
    assert studio.ledger.claim(job)
    break_off(shop.settings, studio.run_id, code, "for this reason")
    with Session(shop.engine) as session:
        run = session.exec(select(Run)).one()
        assert (run.state, run.code, run.message, run.held) == (state, code, "for this reason", 1)
        assert session.get_one(ImageJob, job).state == "claimed"


def test_the_headline_says_what_was_found() -> None:
    assert Recovered().headline == ""
    assert Recovered(freed=2, adopted=1, unknown=3, unknown_micro=270_000).headline == (
        "after a crash: 2 claims freed, 1 paid answers found in the spool, 3 calls of unknown outcome, "
        "$0.27 booked for them"
    )
