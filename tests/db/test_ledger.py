"""The ledger on both databases: legal moves, illegal moves, money, crashes, and processes that race."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select, update

from packshot.db.ledger import Ledger, register_store
from packshot.db.moves import ALLOWED, Claim, IllegalMove
from packshot.db.tables import Asset, Attempt, Generation, ImageJob, Run, Store
from packshot.db.types import JobState as S
from packshot.errors import ArchiveError, Billed, Code, PackshotError, ProviderError
from packshot.policy import Decision, Past, Verdict
from tests.db import ledger_cases as cases
from tests.db import racers
from tests.db.ledger_cases import BUCKET, PRICE, START, Book, dump, plan, received, stored

RETRY, HOLD, FAIL, STOP = (Decision(v) for v in (Verdict.RETRY, Verdict.HOLD, Verdict.FAIL, Verdict.STOP))
NOT_BILLED = ProviderError(Code.RATE_LIMITED, "slow down", http_status=429, request_ids={"a": "b"}, seconds=1.5)
UNKNOWN = ProviderError(Code.TIMEOUT, "no answer in 300 s")
BILLED = ProviderError(Code.NO_IMAGE, "a text came", excerpt="x" * 9000)
S3_DOWN = PackshotError(Code.S3_UNREACHABLE, "no answer")


@pytest.fixture
def book(engine: Engine) -> Book:
    return Book(engine, jobs=3)


def claimed(book: Book, job: int | None = None) -> Claim:
    claim = book.ledger.claim(job or book.job)
    assert claim
    return claim


def called(book: Book, job: int | None = None) -> tuple[Claim, int]:
    claim = claimed(book, job)
    return claim, book.ledger.begin(claim, book.run_id, PRICE, "images", 2)


def generated(book: Book, job: int | None = None) -> Claim:
    return book.ledger.received(*called(book, job), received())


def recover(ledger: Ledger, decision: Decision = RETRY) -> dict[S, int]:
    return cases.recover(ledger, lambda error, past: decision)


def spent(book: Book) -> int:
    """Of all runs; always what the attempts cost together."""
    total = sum(row["spent_micro"] for row in book.rows(Run))
    assert total == sum(row["cost_micro"] for row in book.rows(Attempt))
    return int(total)


# --- one image's way ------------------------------------------------------------------------------------------
def test_an_image_goes_from_planned_to_archived_and_every_step_is_written_down(book: Book) -> None:
    claim = claimed(book)
    assert (claim.job_id, claim.product.product_key, claim.generation) == (book.job, "p0", None)
    assert book.ledger.state(book.job) is S.CLAIMED
    attempt = book.ledger.begin(claim, book.run_id, PRICE, "gemini", 3)
    assert book.ledger.state(book.job) is S.CALLING
    row = book.rows(Attempt)[0]
    assert (row["number"], row["billed"], row["settled_at"], row["in_flight"]) == (1, "unknown", None, 3)
    assert (row["wire_format"], row["price_micro"], row["cost_micro"]) == ("gemini", PRICE, PRICE)
    book.clock.advance(20)
    claim = book.ledger.received(claim, attempt, received())
    assert book.ledger.state(book.job) is S.GENERATED
    row = book.rows(Attempt)[0]
    assert (row["billed"], row["settled_at"], row["http_status"], row["seconds"]) == ("yes", book.clock(), 200, 12.5)
    assert row["request_ids"] == {"x-request-id": "r1"}
    book.ledger.archived(claim, stored())
    assert book.ledger.state(book.job) is S.ARCHIVED
    [asset], [generation] = book.rows(Asset), book.rows(Generation)
    assert (asset["job_id"], asset["attempt_id"], asset["sha256"]) == (book.job, attempt, "a" * 64)
    assert generation["url"] == "https://oss.example/a.png", "the signature is not kept longer than needed"
    assert generation["archived_at"] == book.clock()
    job = next(row for row in book.rows(ImageJob) if row["id"] == book.job)
    assert (job["claimed_by"], job["lease_until"], job["code"], job["message"]) == (None, None, None, "")
    assert spent(book) == PRICE
    assert book.rows(Run)[0]["calls"] == 1


def test_a_job_is_claimed_once(book: Book) -> None:
    claimed(book)
    assert book.ledger.claim(book.job) is None
    assert book.another_worker().claim(book.job) is None
    assert book.ledger.claim(10**9) is None


def test_a_released_job_is_free_again_and_nothing_was_bought(book: Book) -> None:
    book.ledger.release(claimed(book))
    assert book.another_worker().claim(book.job)
    assert spent(book) == 0


def test_a_received_image_is_taken_up_without_a_call(book: Book) -> None:
    book.ledger.release(generated(book))
    claim = book.another_worker().claim(book.job)
    assert claim
    assert claim.generation
    assert claim.generation.url == received().url
    book.another_worker().archived(claim, stored())
    assert book.rows(Run)[0]["calls"] == 1


def test_a_claim_waits_for_retry_at(book: Book) -> None:
    claim, attempt = called(book)
    book.ledger.not_received(claim, attempt, NOT_BILLED, lambda past: Decision(Verdict.RETRY, 30))
    book.clock.advance(29.9)
    assert book.ledger.claim(book.job) is None
    book.clock.advance(0.1)
    assert book.ledger.claim(book.job)


def test_the_lease_starts_anew_with_the_call_and_with_the_answer(book: Book) -> None:
    claim = claimed(book)
    for move in (
        lambda: book.ledger.begin(claim, book.run_id, PRICE, "images", 1),
        lambda: book.ledger.received(claim, 1, received()),
    ):
        book.clock.advance(900)
        move()
        lease = next(row["lease_until"] for row in book.rows(ImageJob) if row["id"] == book.job)
        assert lease == book.clock() + timedelta(seconds=1000)
    assert recover(book.another_worker()) == {}


# --- money ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "billed", "cost"), [(NOT_BILLED, "no", 0), (UNKNOWN, "unknown", PRICE), (BILLED, "yes", PRICE)]
)
@pytest.mark.parametrize(
    ("decision", "state"), [(RETRY, S.PLANNED), (STOP, S.PLANNED), (FAIL, S.FAILED), (HOLD, S.HELD)]
)
def test_a_call_without_an_image_is_settled_by_what_it_cost(
    book: Book, error: PackshotError, billed: str, cost: int, decision: Decision, state: S
) -> None:
    claim, attempt = called(book)
    assert book.ledger.not_received(claim, attempt, error, lambda past: decision) == decision
    [row] = book.rows(Attempt)
    assert (row["billed"], row["cost_micro"], row["code"], row["message"]) == (billed, cost, error.code, error.message)
    assert row["settled_at"] == book.clock()
    assert row["http_status"] == error.details.get("http_status")
    assert row["request_ids"] == error.details.get("request_ids", {})
    assert len(row["excerpt"]) <= 4000
    job = next(row for row in book.rows(ImageJob) if row["id"] == book.job)
    assert (job["state"], job["code"], job["claimed_by"], job["lease_until"]) == (state, error.code, None, None)
    assert (job["retry_at"] is not None) == (decision is RETRY)
    assert spent(book) == cost


def test_the_past_counts_tries_of_this_run_and_purchases_of_all_time(book: Book) -> None:
    pasts: list[Past] = []

    def decide(past: Past) -> Decision:
        pasts.append(past)
        return STOP

    def fail(run_id: int, code: Code) -> None:
        claim = claimed(book)
        attempt = book.ledger.begin(claim, run_id, PRICE, "images", 1)
        book.ledger.not_received(claim, attempt, ProviderError(code, "x"), decide)

    for code in (Code.RATE_LIMITED, Code.TIMEOUT, Code.REFUSED_TEXT, Code.NO_IMAGE):
        fail(book.run_id, code)
    with book.ledger.write() as session:  # the provider's log has confirmed it since
        session.execute(update(Attempt).where(col(Attempt.code) == Code.TIMEOUT).values(billed=Billed.YES))
    later = book.open_run()
    for code in (Code.INPUT_BLOCKED, Code.SERVER_ERROR):
        fail(later, code)
    assert pasts == [
        Past(1, 0, 0, 0), Past(2, 1, 0, 0), Past(3, 1, 1, 0), Past(4, 1, 1, 1), Past(1, 1, 2, 1), Past(2, 2, 2, 1),
    ]  # fmt: skip
    assert [row["number"] for row in book.rows(Attempt)] == [1, 2, 3, 4, 5, 6]


def test_no_call_begins_that_would_exceed_the_maximum(engine: Engine) -> None:
    book = Book(engine, jobs=3, max_cost_micro=2 * PRICE)
    first, attempt = called(book)
    called(book, book.jobs[1])
    with pytest.raises(PackshotError, match="maximum cost") as failure:
        called(book, book.jobs[2])
    assert failure.value.code is Code.BUDGET_REACHED
    assert book.ledger.state(book.jobs[2]) is S.PLANNED
    assert spent(book) == 2 * PRICE
    book.ledger.not_received(first, attempt, NOT_BILLED, lambda past: FAIL)
    called(book, book.jobs[2])  # what was not billed may be spent again
    assert spent(book) == 2 * PRICE


# --- illegal moves --------------------------------------------------------------------------------------------
def _begin(book: Book, claim: Claim) -> None:
    book.ledger.begin(claim, book.run_id, PRICE, "images", 1)


MOVES: dict[str, tuple[Callable[[Book, Claim], Any], S]] = {
    "release": (lambda book, claim: book.ledger.release(claim), S.CLAIMED),
    "begin": (_begin, S.CLAIMED),
    "received": (lambda book, claim: book.ledger.received(claim, 1, received()), S.CALLING),
    "not_received": (lambda book, claim: book.ledger.not_received(claim, 1, UNKNOWN, lambda past: RETRY), S.CALLING),
    "archived": (lambda book, claim: book.ledger.archived(claim, stored()), S.GENERATED),
    "not_archived": (lambda book, claim: book.ledger.not_archived(claim, S3_DOWN, lambda tries: RETRY), S.GENERATED),
    "lost": (lambda book, claim: book.ledger.not_archived(claim, S3_DOWN, lambda tries: HOLD), S.GENERATED),
}


@pytest.mark.parametrize("move", list(MOVES))
def test_a_move_from_a_wrong_state_raises_and_changes_nothing(book: Book, move: str) -> None:
    act, legal = MOVES[move]
    claim = generated(book)
    bare = Claim(claim.job, claim.product, None) if legal is not S.GENERATED else claim
    for state in set(S) - {legal}:
        with book.ledger.write() as session:
            session.execute(update(ImageJob).where(col(ImageJob.id) == book.job).values(state=state))
        before = dump(book.engine)
        with pytest.raises(IllegalMove):
            act(book, bare)
        assert dump(book.engine) == before, state


@pytest.mark.parametrize("move", list(MOVES))
def test_a_claim_that_was_lost_to_another_can_do_nothing(book: Book, move: str) -> None:
    """Also to another claim of the same process: two threads are two owners."""
    act, legal = MOVES[move]
    reached: dict[S, Callable[[], Claim]] = {
        S.CLAIMED: lambda: claimed(book),
        S.CALLING: lambda: called(book)[0],
        S.GENERATED: lambda: generated(book),
    }
    stale = reached[legal]()
    book.clock.advance(1001)
    recover(book.another_worker())
    owner = reached[legal]() if legal is not S.GENERATED else claimed(book)
    before = dump(book.engine)
    with pytest.raises(IllegalMove):
        act(book, stale)
    assert dump(book.engine) == before
    act(book, owner) if legal is not S.CALLING else book.ledger.received(owner, 2, received())


def test_archiving_twice_is_refused(book: Book) -> None:
    claim = generated(book)
    book.ledger.archived(claim, stored())
    before = dump(book.engine)
    with pytest.raises(IllegalMove):
        book.ledger.archived(claim, stored("pub/another.png"))
    assert dump(book.engine) == before


def test_nothing_leads_out_of_archived(book: Book) -> None:
    assert ALLOWED[S.ARCHIVED] == frozenset()
    book.ledger.archived(generated(book), stored())
    book.clock.advance(10**6)
    assert book.ledger.claim(book.job) is None
    assert recover(book.ledger) == {}
    book.runs.enroll(book.open_run(), [], [])
    assert book.ledger.state(book.job) is S.ARCHIVED


@pytest.mark.parametrize("source", list(S))
@pytest.mark.parametrize("target", list(S))
def test_the_whole_table_of_states(book: Book, source: S, target: S) -> None:
    """Every move there could be: those of the table are made, the others raise and change nothing."""
    claim = claimed(book)
    with book.ledger.write() as session:
        session.execute(update(ImageJob).where(col(ImageJob.id) == book.job).values(state=source))
    before = dump(book.engine)

    def move() -> None:
        with book.ledger.write() as session:
            book.ledger._move(session, claim, source, target)

    if target in ALLOWED[source]:
        move()
        assert book.ledger.state(book.job) is target
    else:
        with pytest.raises(IllegalMove, match=f"{source} -> {target}"):
            move()
        assert dump(book.engine) == before


# --- bringing it home -----------------------------------------------------------------------------------------
def test_an_image_of_wrong_size_is_kept_but_held(book: Book) -> None:
    book.ledger.archived(generated(book), stored(), hold_for=Code.WRONG_SIZE, message="ordered 2048x2048")
    job = next(row for row in book.rows(ImageJob) if row["id"] == book.job)
    assert (job["state"], job["code"], job["message"]) == (S.HELD, Code.WRONG_SIZE, "ordered 2048x2048")
    assert len(book.rows(Asset)) == 1


def test_an_image_that_is_not_home_yet_stays_received_and_its_tries_are_counted_for_each_run(book: Book) -> None:
    seen: list[int] = []

    def decide(tries: int) -> Decision:
        seen.append(tries)
        return FAIL

    claim: Claim | None = generated(book)
    for _ in range(3):
        assert claim
        book.ledger.not_archived(claim, S3_DOWN, decide)
        assert book.ledger.state(book.job) is S.GENERATED
        claim = book.ledger.claim(book.job)
    assert claim
    book.ledger.release(claim)
    book.runs.enroll(book.open_run(), plan(1), [])
    book.ledger.not_archived(claimed(book), S3_DOWN, decide)
    assert seen == [1, 2, 3, 1]
    job = next(row for row in book.rows(ImageJob) if row["id"] == book.job)
    assert (job["code"], job["claimed_by"]) == (Code.S3_UNREACHABLE, None)


def test_a_lost_image_is_held(book: Book) -> None:
    gone = PackshotError(Code.LOST, "403")
    book.ledger.not_archived(generated(book), gone, lambda tries: HOLD)
    [row] = book.rows(Generation)
    assert (book.ledger.state(book.job), row["lost_at"], row["archive_tries"]) == (S.HELD, book.clock(), 1)
    assert spent(book) == PRICE


# --- after a crash --------------------------------------------------------------------------------------------
def test_recovery_leaves_live_claims_alone(book: Book) -> None:
    called(book), claimed(book, book.jobs[1]), generated(book, book.jobs[2])
    mine = Ledger(book.engine, now=book.clock)  # a real name of this process
    before = dump(book.engine)
    book.clock.advance(1000)
    assert recover(mine) == {}
    assert dump(book.engine) == before


@pytest.mark.parametrize(("decision", "state"), [(RETRY, S.PLANNED), (HOLD, S.HELD)])
def test_recovery_takes_over_what_outlived_its_lease(book: Book, decision: Decision, state: S) -> None:
    called(book), claimed(book, book.jobs[1]), generated(book, book.jobs[2])
    book.clock.advance(1001)
    assert recover(book.another_worker(), decision) == {S.CALLING: 1, S.CLAIMED: 1, S.GENERATED: 1}
    assert [book.ledger.state(i) for i in book.jobs] == [state, S.PLANNED, S.GENERATED]
    lost = book.rows(Attempt)[0]
    assert (lost["code"], lost["billed"], lost["cost_micro"]) == (Code.INTERRUPTED, Billed.UNKNOWN, PRICE)
    assert spent(book) == 2 * PRICE
    assert recover(book.another_worker()) == {}
    assert book.ledger.claim(book.jobs[2])


def test_recovery_after_kill_9_waits_for_no_lease(book: Book, db_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=racers.die_calling, args=(db_url, book.run_id, book.jobs))
    process.start()
    process.join(60)
    assert process.exitcode == -9
    ledger = Ledger(book.engine)
    assert recover(ledger) == {S.CLAIMED: 1, S.CALLING: 1}
    assert spent(book) == PRICE
    assert ledger.claim(book.jobs[0])
    assert ledger.claim(book.jobs[1])


def test_an_answer_that_comes_after_its_lease_is_not_thrown_away(book: Book) -> None:
    for decision, job in ((RETRY, book.jobs[0]), (HOLD, book.jobs[1])):
        claim, attempt = called(book, job)
        book.clock.advance(1001)
        recover(book.another_worker(), decision)
        book.ledger.archived(book.ledger.received(claim, attempt, received()), stored(f"pub/{job}.png"))
        assert book.ledger.state(job) is S.ARCHIVED
        row = next(row for row in book.rows(Attempt) if row["id"] == attempt)
        assert (row["code"], row["billed"], row["message"]) == (None, "yes", "")
    assert spent(book) == 2 * PRICE


def test_a_late_answer_changes_nothing_while_another_call_is_in_flight_and_counts_when_that_brought_nothing(
    book: Book,
) -> None:
    late, attempt = called(book)
    book.clock.advance(1001)
    recover(book.another_worker())
    claim, second = called(book)
    before = dump(book.engine)
    with pytest.raises(IllegalMove):
        book.ledger.received(late, attempt, received())
    assert dump(book.engine) == before
    book.ledger.not_received(claim, second, UNKNOWN, lambda past: HOLD)
    book.ledger.received(late, attempt, received())
    assert book.ledger.state(book.job) is S.GENERATED
    assert spent(book) == 2 * PRICE


def test_a_late_answer_takes_the_job_from_who_is_about_to_buy_it_again(book: Book) -> None:
    late, attempt = called(book)
    book.clock.advance(1001)
    recover(book.another_worker())
    claim = claimed(book)
    book.ledger.received(late, attempt, received())
    before = dump(book.engine)
    with pytest.raises(IllegalMove):
        book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
    assert dump(book.engine) == before
    assert (book.ledger.state(book.job), spent(book)) == (S.GENERATED, PRICE)


def test_a_late_answer_changes_nothing_when_another_call_brought_one(book: Book) -> None:
    late, attempt = called(book)
    book.clock.advance(1001)
    recover(book.another_worker())
    claim, second = called(book)
    image = book.ledger.received(claim, second, received())
    book.ledger.not_archived(image, ArchiveError(Code.SPOOL_MISSING, "gone"), lambda tries: HOLD)
    before = dump(book.engine)
    with pytest.raises(IllegalMove):
        book.ledger.received(late, attempt, received())
    assert dump(book.engine) == before


def test_a_refusal_that_comes_after_its_lease_changes_nothing(book: Book) -> None:
    late, attempt = called(book)
    book.clock.advance(1001)
    recover(book.another_worker())
    before = dump(book.engine)
    with pytest.raises(IllegalMove):
        book.ledger.not_received(late, attempt, NOT_BILLED, lambda past: FAIL)
    assert dump(book.engine) == before


# --- races ----------------------------------------------------------------------------------------------------
def test_two_processes_claim_each_job_once(engine: Engine, db_url: str) -> None:
    book = Book(engine, jobs=600)
    won = racers.race(racers.claim_all, db_url, [book.jobs, book.jobs[::-1]])
    assert Counter(chain(*won)) == Counter(book.jobs)
    assert all(won), "a race that one process wins alone proves nothing"


def test_two_processes_hold_one_budget(engine: Engine, db_url: str) -> None:
    book = Book(engine, jobs=40, max_cost_micro=25 * PRICE)
    began = racers.race(racers.spend, db_url, [(book.run_id, book.jobs[::2]), (book.run_id, book.jobs[1::2])])
    assert sum(began) == 25
    assert spent(book) == 25 * PRICE
    assert Counter(row["state"] for row in book.rows(ImageJob)) == {S.CALLING: 25, S.PLANNED: 15}


def test_two_recoveries_settle_each_call_once(engine: Engine, db_url: str) -> None:
    book = Book(engine, jobs=30, worker="gone")  # started in March: every lease has ended
    for job in book.jobs:
        called(book, job)
    found = racers.race(racers.recover, db_url, [None, None])
    assert sum((Counter(each) for each in found), Counter()) == {"calling": 30}
    assert spent(book) == 30 * PRICE


def test_a_recovery_that_comes_second_does_not_take_back_a_fresh_claim(book: Book) -> None:
    """It saw the dead claim, waited for the row, and must look again."""
    claimed(book)
    book.clock.advance(1001)
    recover(book.another_worker())
    fresh = claimed(book)
    recover(book.another_worker())
    book.ledger.begin(fresh, book.run_id, PRICE, "images", 1)


def test_a_bucket_is_registered_once_and_may_move(book: Book) -> None:
    with book.ledger.write() as session:
        register_store(session, BUCKET, "https://s3.example", "https://new.example")
    assert [row["public_base_url"] for row in book.rows(Store)] == ["https://new.example"]


def test_times_are_utc_and_need_a_zone(book: Book) -> None:
    with Session(book.engine) as session:
        job = session.exec(select(ImageJob)).first()
        assert job
        assert job.created_at == START
        assert job.created_at.tzinfo is not None
        job.retry_at = START.replace(tzinfo=None)
        session.add(job)
        with pytest.raises(Exception, match="without a zone"):
            session.commit()
