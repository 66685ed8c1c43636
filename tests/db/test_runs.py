"""A run's bookkeeping on both databases: sums that add up, jobs that are shared, and processes that plan at once."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import Engine, Text, cast, select, update
from sqlmodel import col

from packshot.catalog.model import Counts, Reject
from packshot.db import tables
from packshot.db.ledger import Ledger
from packshot.db.running import close_dead
from packshot.db.runs import Enrolled, WorkItem
from packshot.db.tables import ImageJob, Product, Run, RunJob, table_of
from packshot.db.types import JobState as S
from packshot.db.types import RunState
from packshot.errors import Code, PackshotError, ProviderError
from packshot.policy import Decision, Verdict
from packshot.worker import MACHINE
from tests.db import racers
from tests.db.ledger_cases import PRICE, START, Book, dump, job, plan, product, received, stored

DEAD = f"{MACHINE}:{2**22 + 1}:0000"
"""A worker of this machine with a process number beyond Linux's largest."""


@pytest.fixture
def book(engine: Engine) -> Book:
    return Book(engine, jobs=4)


def archive(book: Book, number: int) -> None:
    claim = book.ledger.claim(number)
    assert claim
    attempt = book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
    book.ledger.archived(book.ledger.received(claim, attempt, received()), stored(f"pub/{number}.png"))


def fail(book: Book, number: int, verdict: Verdict, code: Code = Code.MODERATION_BLOCKED) -> None:
    claim = book.ledger.claim(number)
    assert claim
    attempt = book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
    book.ledger.not_received(claim, attempt, ProviderError(code, "no"), lambda past: Decision(verdict))


def outcomes(book: Book, run_id: int) -> list[tuple[str | None, str | None]]:
    rows = sorted(book.rows(RunJob), key=lambda row: int(row["position"]))
    return [(row["outcome"], row["code"]) for row in rows if row["run_id"] == run_id]


# --- enrolling ------------------------------------------------------------------------------------------------
def test_enrolling_stores_products_jobs_and_rejects(book: Book) -> None:
    shoe = product("shoe", sku="S-1", brand="B", category="Shoes", attributes={"colour": "red"}, image_refs=("a.jpg",))
    reject = Reject("shop.csv", 7, 9, "bad", Code.MISSING_TITLE, "no title")
    got = book.runs.enroll(book.run_id, [(shoe, [job(shoe), job(shoe, "detail", missing=("a.jpg",))])], [reject])
    assert got == Enrolled(already=0, open=1, held=1)
    row = book.rows(tables.Product)[-1]
    assert (row["sku"], row["brand"], row["category"], row["title"]) == ("S-1", "B", "Shoes", "Thing shoe")
    assert (row["attributes"], row["image_refs"]) == ({"colour": "red"}, ["a.jpg"])
    held = book.rows(ImageJob)[-1]
    assert (held["shot"], held["state"], held["code"]) == ("detail", S.HELD, Code.REFERENCE_UNAVAILABLE)
    assert (held["product_id"], held["created_at"]) == (row["id"], START)
    assert "a.jpg" in held["message"]
    [row] = book.rows(tables.Reject)
    assert (row["record"], row["line"], row["key"], row["code"], row["message"]) == (
        7, 9, "bad", Code.MISSING_TITLE, "no title",
    )  # fmt: skip
    assert book.runs.get(book.run_id).planned == 6


def test_a_job_that_is_known_is_never_added_twice_and_a_product_is_renewed(book: Book) -> None:
    archive(book, book.jobs[0])
    before = book.rows(ImageJob)
    again = [(item._replace(brand="New"), jobs) for item, jobs in plan(4)]
    second = book.open_run()
    assert book.runs.enroll(second, again, []) == Enrolled(already=1, open=3, held=0)
    assert book.rows(ImageJob) == before
    assert {(row["brand"], row["last_run_id"]) for row in book.rows(tables.Product)} == {("New", second)}
    run = book.runs.get(second)
    assert (run.planned, run.already, book.runs.size(second)) == (4, 1, 3)


def test_a_failed_job_is_planned_again_and_a_held_one_is_not(book: Book) -> None:
    fail(book, book.jobs[0], Verdict.FAIL)
    fail(book, book.jobs[1], Verdict.HOLD)
    second = book.open_run()
    assert book.runs.enroll(second, plan(4), []) == Enrolled(already=0, open=3, held=1)
    rows = {row["id"]: row for row in book.rows(ImageJob)}
    again, held = rows[book.jobs[0]], rows[book.jobs[1]]
    assert (again["state"], again["code"], again["message"]) == (S.PLANNED, None, "")
    assert (held["state"], held["code"]) == (S.HELD, Code.MODERATION_BLOCKED)


def test_the_same_job_twice_in_a_batch_is_one_job(book: Book) -> None:
    second = book.open_run()
    assert book.runs.enroll(second, plan(2) + plan(2), []) == Enrolled(already=0, open=2, held=0)
    assert book.runs.get(second).planned == 2


def test_batches_go_on_counting_positions_and_large_ones_fit_into_statements(engine: Engine) -> None:
    book = Book(engine, jobs=0)
    book.runs.enroll(book.run_id, plan(700), [])
    book.runs.enroll(book.run_id, [(item, [job(item, "detail")]) for item, _ in plan(300)], [])
    assert sorted(row["position"] for row in book.rows(RunJob)) == list(range(1000))
    assert len(book.runs.work(book.run_id, 700, 300)) == 300


def test_two_processes_planning_the_same_catalog_make_each_job_one_row(engine: Engine, db_url: str) -> None:
    found = racers.race(racers.enroll, db_url, [(5, False), (5, True)])
    assert [size for size, _ in found] == [200, 200]
    rows = dump(engine)
    assert len(rows["image_job"]) == len({row["key"] for row in rows["image_job"]}) == 200
    assert len(rows["product"]) == 100
    for _, run_id in found:
        assert sorted(row["position"] for row in rows["run_job"] if row["run_id"] == run_id) == list(range(200))


# --- working --------------------------------------------------------------------------------------------------
def test_work_begins_with_received_images_nearest_end_first(book: Book) -> None:
    one, two, three, four = book.jobs
    for number, hours in ((two, 5), (four, 1)):
        claim = book.ledger.claim(number)
        assert claim
        attempt = book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
        answer = received(expires_at=START + timedelta(hours=hours))
        book.ledger.release(book.ledger.received(claim, attempt, answer))
    assert [item.job_id for item in book.runs.work(book.run_id, 0, 4)] == [four, two, one, three]
    assert [item.job_id for item in book.runs.work(book.run_id, 1, 2)] == [two, three]


def test_work_says_how_long_to_wait_and_leaves_out_what_is_done_or_another_s(book: Book) -> None:
    archive(book, book.jobs[0])
    fail(book, book.jobs[1], Verdict.HOLD)
    book.another_worker().claim(book.jobs[2])
    claim = book.ledger.claim(book.jobs[3])
    assert claim
    attempt = book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
    slow = ProviderError(Code.RATE_LIMITED, "slow")
    book.ledger.not_received(claim, attempt, slow, lambda past: Decision(Verdict.RETRY, 45))
    book.clock.advance(5)
    assert book.runs.work(book.run_id, 0, 4) == [WorkItem(book.jobs[3], "p3 packshot", 40.0)]
    assert book.runs.progress(book.run_id) == {"archived": 1, "held": 1, "claimed": 1, "planned": 1}


def test_a_job_whose_first_image_was_lost_is_listed_once_with_its_second_image(book: Book) -> None:
    for lost in (True, False):
        claim = book.ledger.claim(book.jobs[0])
        assert claim
        attempt = book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
        claim = book.ledger.received(claim, attempt, received(url=f"https://oss.example/{lost}.png"))
        if not lost:
            book.ledger.release(claim)
            break
        gone = PackshotError(Code.LOST, "gone")
        book.ledger.not_archived(claim, gone, lambda tries: Decision(Verdict.HOLD))
        with book.ledger.write() as session:  # what a person decides about it
            session.execute(update(ImageJob).where(col(ImageJob.id) == book.jobs[0]).values(state=S.PLANNED))
    assert len(book.runs.work(book.run_id, 0, 4)) == 4
    taken = book.ledger.claim(book.jobs[0])
    assert taken
    assert taken.generation
    assert taken.generation.url == "https://oss.example/False.png"


# --- closing --------------------------------------------------------------------------------------------------
def test_a_closed_run_adds_up(book: Book) -> None:
    archive(book, book.jobs[0])
    fail(book, book.jobs[1], Verdict.FAIL)
    fail(book, book.jobs[2], Verdict.HOLD, Code.TIMEOUT)
    run = book.runs.finish(book.run_id, RunState.STOPPED, Code.BUDGET_REACHED, "the money is spent")
    assert (run.planned, run.archived, run.failed, run.held) == (4, 1, 1, 2)
    assert (run.state, run.code, run.message, run.ended_at) == (
        RunState.STOPPED, Code.BUDGET_REACHED, "the money is spent", book.clock(),
    )  # fmt: skip
    assert outcomes(book, book.run_id) == [
        ("archived", None), ("failed", "moderation_blocked"), ("held", "timeout"), ("held", "budget_reached"),
    ]  # fmt: skip


@pytest.mark.parametrize("state", list(S))
def test_every_state_a_job_may_be_in_is_counted(book: Book, state: S) -> None:
    with book.ledger.write() as session:
        session.execute(update(ImageJob).values(state=state, code=None))
    run = book.runs.finish(book.run_id, RunState.COMPLETED)
    assert run.planned == run.archived + run.failed + run.held == 4
    expected = state if state in (S.ARCHIVED, S.FAILED) else "held"
    assert {outcome for outcome, _ in outcomes(book, book.run_id)} == {expected}


def test_images_that_were_there_before_count_as_archived(book: Book) -> None:
    archive(book, book.jobs[0])
    second = book.open_run()
    book.runs.enroll(second, plan(4), [])
    run = book.runs.finish(second, RunState.COMPLETED)
    assert (run.planned, run.already, run.archived, run.held) == (4, 1, 1, 3)


def test_the_first_verdict_on_a_run_stands(book: Book) -> None:
    book.runs.finish(book.run_id, RunState.STOPPED, Code.BAD_KEY, "wrong key")
    archive(book, book.jobs[0])
    book.clock.advance(60)
    before, closed = dump(book.engine), book.runs.get(book.run_id)
    second = book.runs.finish(book.run_id, RunState.CRASHED, Code.INTERRUPTED, "later")
    assert dump(book.engine) == before
    assert second.model_dump() == closed.model_dump()
    assert (second.state, second.code) == (RunState.STOPPED, Code.BAD_KEY)


def test_a_job_of_two_runs_is_bought_once_and_reported_by_both(book: Book) -> None:
    second = book.open_run()
    book.runs.enroll(second, plan(4), [])
    for number in book.jobs:
        archive(book, number)
        assert book.ledger.claim(number) is None
    one = book.runs.finish(book.run_id, RunState.COMPLETED)
    two = book.runs.finish(second, RunState.COMPLETED)
    assert (one.archived, one.calls, one.spent_micro) == (4, 4, 4 * PRICE)
    assert (two.archived, two.calls, two.spent_micro) == (4, 0, 0)


def test_counts_that_do_not_add_up_are_refused(book: Book) -> None:
    book.runs.set_counts(book.run_id, Counts(10, 6, 2, 1, 1))
    run = book.runs.get(book.run_id)
    assert (run.records, run.accepted, run.rejected, run.blank, run.continuation) == (10, 6, 2, 1, 1)
    with pytest.raises(AssertionError, match="do not add up"):
        book.runs.set_counts(book.run_id, Counts(10, 6, 2, 1, 2))
    with book.ledger.write() as session:
        session.execute(update(Run).values(planned=5))
    with pytest.raises(AssertionError, match="do not add up"):
        book.runs.finish(book.run_id, RunState.COMPLETED)
    assert book.runs.get(book.run_id).state == RunState.RUNNING


def test_runs_of_dead_processes_are_closed_and_those_of_living_ones_are_not(book: Book) -> None:
    other_machine = f"abc:{2**22 + 1}:0000"
    alive = Ledger(book.engine).worker
    with book.ledger.write() as session:
        session.execute(update(Run).values(worker=DEAD, flow_run_id="flow-1"))
    ids = [book.open_run(), book.open_run()]
    for run_id, worker in zip(ids, (other_machine, alive), strict=True):
        with book.ledger.write() as session:
            session.execute(update(Run).where(col(Run.id) == run_id).values(worker=worker))
    assert close_dead(book.ledger) == ["flow-1"]
    run = book.runs.get(book.run_id)
    assert (run.state, run.code, run.held) == (RunState.CRASHED, Code.INTERRUPTED, 4)
    assert [book.runs.get(i).state for i in ids] == [RunState.RUNNING] * 2
    assert close_dead(book.ledger) == []


def test_texts_of_a_product_are_kept_to_the_letter(book: Book) -> None:
    odd = 'he said "ø",\n\\ and\t😀'
    item = product("odd", attributes={odd: odd, "b": ""}, image_refs=(odd, "b.jpg"))
    book.runs.enroll(book.run_id, [(item, [job(item)])], [])
    of = table_of(Product).c
    with book.engine.connect() as connection:
        query = select(of.attributes, of.image_refs, cast(of.attributes, Text), cast(of.image_refs, Text))
        attributes, refs, *as_text = connection.execute(query.where(of.product_key == "odd")).one()
    assert (attributes, refs) == ({odd: odd, "b": ""}, [odd, "b.jpg"])
    assert as_text == [json.dumps(attributes), json.dumps(refs)]
