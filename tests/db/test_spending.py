"""Budgets of runs and of days, on both databases and across processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from packshot.db.group_commit import group_commit
from packshot.db.ledger import Ledger
from packshot.db.moves import Claim
from packshot.db.tables import Asset, Attempt, DailySpend, Generation, ImageJob, Run
from packshot.db.types import JobState as S
from packshot.errors import Code, PackshotError, ProviderError
from packshot.policy import Decision, Verdict
from tests.db import racers
from tests.db.ledger_cases import PRICE, START, Book, received, stored

T = TypeVar("T")
FREE = ProviderError(Code.RATE_LIMITED, "slow down")


def begin(book: Book, job: int, day_limit: int | None) -> int:
    claim = book.ledger.claim(job)
    assert claim
    return book.ledger.begin(claim, book.run_id, PRICE, "images", 1, day_limit)


def days(book: Book) -> dict[str, int]:
    return {row["day"].isoformat(): row["spent_micro"] for row in book.rows(DailySpend)}


def test_a_day_has_a_maximum_of_its_own(engine: Engine) -> None:
    book = Book(engine, jobs=4)
    limit = 2 * PRICE
    begin(book, book.jobs[0], limit)
    begin(book, book.jobs[1], limit)
    with pytest.raises(PackshotError, match=r"maximum cost of this day \(2026-03-01, UTC\)") as refused:
        begin(book, book.jobs[2], limit)
    assert refused.value.code is Code.BUDGET_REACHED
    assert book.ledger.state(book.jobs[2]) is S.PLANNED
    [run] = book.rows(Run)
    assert (run["spent_micro"], run["calls"]) == (2 * PRICE, 2)
    assert len(book.rows(Attempt)) == 2
    book.clock.advance(86_400)
    begin(book, book.jobs[2], limit)
    assert days(book) == {"2026-03-01": 2 * PRICE, "2026-03-02": PRICE}


def test_the_first_call_of_a_day_can_be_too_dear_for_it(engine: Engine) -> None:
    book = Book(engine)
    with pytest.raises(PackshotError, match="this day"):
        begin(book, book.job, PRICE - 1)
    assert days(book) == {}
    assert [row["spent_micro"] for row in book.rows(Run)] == [0]


def test_what_cost_nothing_is_given_back_to_the_day_it_was_reserved_on(engine: Engine) -> None:
    book = Book(engine)
    book.clock.time = START.replace(hour=23, minute=59, second=50)
    claim = book.ledger.claim(book.job)
    assert claim
    attempt = book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
    book.clock.advance(30)
    book.ledger.not_received(claim, attempt, FREE, lambda past: Decision(Verdict.RETRY))
    begin(book, book.job, None)
    assert days(book) == {"2026-03-01": 0, "2026-03-02": PRICE}


def test_a_run_that_may_spend_no_more_takes_nothing_from_the_day(engine: Engine) -> None:
    book = Book(engine, jobs=2, max_cost_micro=PRICE)
    begin(book, book.jobs[0], 10 * PRICE)
    with pytest.raises(PackshotError, match="of this run"):
        begin(book, book.jobs[1], 10 * PRICE)
    assert sum(days(book).values()) == PRICE


def test_processes_share_the_maximum_of_a_day(engine: Engine, db_url: str) -> None:
    book = Book(engine, jobs=40)
    orders = [(book.run_id, book.jobs[:20], 7 * PRICE), (book.open_run(), book.jobs[20:], 7 * PRICE)]
    assert sum(racers.race(racers.spend_in_a_day, db_url, orders)) == 7
    assert sum(days(book).values()) == 7 * PRICE
    assert sum(row["spent_micro"] for row in book.rows(Run)) == 7 * PRICE
    assert len(book.rows(Attempt)) == sum(row["calls"] for row in book.rows(Run)) == 7
    assert sum(row["state"] == S.CALLING for row in book.rows(ImageJob)) == 7


class LosesConfirmations(Ledger):
    """The first transaction after :attr:`lose` was set is committed, and its confirmation lost with the connection."""

    lose = True

    def committed(self, act: Callable[[Session], T], of_run: int = 0) -> T:
        result = super().committed(act, of_run)
        if self.lose:
            self.lose = False
            raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))
        return result


def test_what_was_committed_without_confirmation_is_not_done_twice(engine: Engine) -> None:
    book = Book(engine)
    ledger = LosesConfirmations(engine, patience=5, worker="w1", now=book.clock)

    def losing(act: Callable[[], T]) -> T:
        ledger.lose = True
        result = act()
        assert not ledger.lose
        return result

    def claim() -> Claim:
        claim = losing(lambda: ledger.claim(book.job))
        assert claim
        return claim

    first = claim()
    attempt = losing(lambda: ledger.begin(first, book.run_id, PRICE, "images", 1))
    losing(lambda: ledger.not_received(first, attempt, FREE, lambda past: Decision(Verdict.RETRY)))
    losing(lambda: ledger.release(claim()))
    second = claim()
    attempt = losing(lambda: ledger.begin(second, book.run_id, PRICE, "images", 1))
    image = losing(lambda: ledger.received(second, attempt, received()))
    losing(lambda: ledger.not_archived(image, FREE, lambda tries: Decision(Verdict.RETRY)))
    image = claim()
    losing(lambda: ledger.archived(image, stored()))
    assert ledger.state(book.job) is S.ARCHIVED
    assert [row["number"] for row in book.rows(Attempt)] == [1, 2]
    assert [(run["spent_micro"], run["calls"]) for run in book.rows(Run)] == [(PRICE, 2)]
    assert [row["archive_tries"] for row in book.rows(Generation)] == [1]
    assert len(book.rows(Asset)) == 1


# --- many calls of a run that begin at once -------------------------------------------------------------------
def begin_all_at_once(book: Book) -> list[int | PackshotError]:
    """Attempts or refusals, of one thread for each job; they meet because somebody else has the run's row."""

    def one(claim: Claim) -> int | PackshotError:
        try:
            return book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
        except PackshotError as error:
            return error

    claims = [claim for job in book.jobs if (claim := book.ledger.claim(job))]
    of_run = () if book.engine.dialect.name == "sqlite" else (book.run_id,)
    writers = group_commit(book.engine, *of_run)
    with ThreadPoolExecutor(len(claims)) as pool:
        with book.ledger.write() as session:
            session.connection().execute(text("UPDATE run SET calls = calls"))
            begun = [pool.submit(one, claim) for claim in claims]
            while len(writers._queue) < len(claims) - 1:
                threading.Event().wait(0.005)
        return [future.result(timeout=20) for future in begun]


def test_calls_that_begin_at_once_share_a_commit(engine: Engine) -> None:
    book = Book(engine, jobs=12)
    commits: list[int] = []
    event.listen(engine, "commit", lambda _: commits.append(1))
    attempts = begin_all_at_once(book)
    assert sorted(row["id"] for row in book.rows(Attempt)) == sorted(attempts)  # type: ignore[type-var]
    assert [(row["spent_micro"], row["calls"]) for row in book.rows(Run)] == [(12 * PRICE, 12)]
    assert len(commits) == 12 + 1 + 2  # the claims; who had the row; the first call, and all others


def test_a_call_that_is_refused_takes_nothing_from_those_that_begin_with_it(engine: Engine) -> None:
    book = Book(engine, jobs=12, max_cost_micro=5 * PRICE)
    attempts = [attempt for attempt in begin_all_at_once(book) if isinstance(attempt, int)]
    assert sorted(row["id"] for row in book.rows(Attempt)) == sorted(attempts)
    assert [(row["spent_micro"], row["calls"]) for row in book.rows(Run)] == [(5 * PRICE, 5)]
    assert sorted(book.ledger.state(job) for job in book.jobs) == [S.CALLING] * 5 + [S.PLANNED] * 7
