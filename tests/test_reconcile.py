"""The ledger against the emulator's log, after real calls under every fault: in the end both say the same money."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Engine
from sqlmodel import Session, col, select, update

from packshot.apiyi import ApiyiClient, ImageRequest
from packshot.db.costs import attempts_between
from packshot.db.moves import Claim
from packshot.db.tables import Attempt, DailySpend, ImageJob, Run
from packshot.errors import Billed, Code, ConfigError, PackshotError, ProviderError
from packshot.log_match import FOUND_IN_LOG, Difference, Kind
from packshot.policy import Decision, Verdict
from packshot.reconcile import Reconciliation, correct, facts, reconcile
from packshot.recovery import received_of
from packshot.sandbox.emulator import Emulator
from packshot.settings import Settings
from tests.db.ledger_cases import PRICE, START, Book
from tests.fixtures_prefect import eventually

KEY, TOKEN = "sk-sandbox-key", "token-77aa01c3"
HOUR = timedelta(hours=1)
LATER = START + HOUR

# Fault -> (its parameters, how ledger and log disagree about it). All of them come three times.
DISAGREE: dict[str, tuple[dict[str, Any], Kind | None]] = {
    "none": ({}, None),
    "image_safety": ({}, None),
    "empty_200": ({}, None),
    "rate_limited": ({}, None),
    "bad_gateway": ({}, None),
    "write_failed": ({}, None),
    "tail_stall": ({}, None),
    "disconnect": ({}, Kind.UNKNOWN_BILLED),
    "reset_mid_body": ({}, Kind.UNKNOWN_BILLED),
    "truncated_json": ({}, Kind.UNKNOWN_BILLED),
    "tail_stall_cut": ({}, Kind.UNKNOWN_BILLED),
    "hang": ({}, Kind.UNKNOWN_BILLED),
    "gateway_timeout": ({}, Kind.UNKNOWN_BILLED),
    "html_page": ({}, Kind.UNKNOWN_BILLED),
    "white_artefacts": ({"latency": 1.0}, Kind.UNKNOWN_BILLED),  # any image that comes after we have left
    "server_error": ({}, Kind.UNKNOWN_NOT_BILLED),
    "slow_body": ({"seconds": 30.0, "billed": False}, Kind.UNKNOWN_NOT_BILLED),
    "late_terminator": ({"latency": 1.0, "billed": False}, Kind.UNKNOWN_NOT_BILLED),
    "group_failover": ({}, Kind.PRICE_DIFFERS),
    "overloaded": ({"billed": True}, Kind.BILLED_THOUGH_FREE),
    "many_images": ({"billed": False}, Kind.NOT_IN_LOG),
}


class Till:
    """A book whose calls go to an emulator, both by the same clock; each call takes it two seconds further."""

    def __init__(self, engine: Engine, url: str, folder: Path, jobs: int, **emulator: Any) -> None:
        self.engine = engine
        self.book = Book(engine, jobs)
        self.emulator = Emulator(
            key=KEY, system_token=TOKEN, clock=lambda: self.book.clock().timestamp(), **emulator
        )  # fmt: skip
        self.settings = Settings(
            _env_file=None, home=folder, database_url=url, apiyi_base_url=self.emulator.base_url,
            apiyi_key=KEY, apiyi_system_token=TOKEN, connect_timeout=1.0, first_byte_timeout=0.5,
            silence_timeout=0.2, stall_grace=0.1, total_timeout=1.5, database_patience=0,
        )  # fmt: skip
        self.settings.spool.mkdir(parents=True, exist_ok=True)
        self.client = ApiyiClient(self.settings)
        self._lock = threading.Lock()

    def begin(self, job: int, run_id: int | None = None) -> tuple[Claim, int]:
        claim = self.book.ledger.claim(job)
        assert claim
        with self._lock:
            self.book.clock.advance(2)
        return claim, self.book.ledger.begin(claim, run_id or self.book.run_id, PRICE, "images", 1)

    def make(self, job: int, run_id: int | None = None) -> None:
        """One real call, settled as it ended."""
        claim, attempt = self.begin(job, run_id)
        order = ImageRequest("a mug", claim.job.model, "1:1", "1K")
        try:
            answer = self.client.generate(order, self.settings.spool, claim.spool_name)
        except ProviderError as error:
            self.fail(claim, attempt, error)
        else:
            self.book.ledger.received(claim, attempt, received_of(answer))

    def fail(self, claim: Claim, attempt: int, error: PackshotError) -> None:
        self.book.ledger.not_received(claim, attempt, error, lambda past: Decision(Verdict.HOLD))

    def die(self, job: int, *, called: bool) -> None:
        """A process that died while its call was in the air, or just before; the call is settled by the next one."""
        claim, attempt = self.begin(job)
        if called:
            self.order()
        self.fail(claim, attempt, PackshotError(Code.INTERRUPTED, "the process died"))

    def order(self) -> None:
        """A call that the ledger knows nothing of."""
        requests.post(
            f"{self.emulator.base_url}/v1/images/generations",
            json={"model": "nano-banana-pro", "prompt": "a mug", "size": "1024x1024"},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=5,
        ).raise_for_status()

    def rest(self) -> None:
        """Wait for the calls that go on although nobody waits for them."""
        eventually(lambda: self.emulator.studio.in_flight == 0)

    def compare(self, apply: bool = False, now: datetime = LATER, **period: Any) -> Reconciliation:
        self.rest()
        period = {"since": START - HOUR} | period
        return reconcile(self.settings, apply=apply, now=now, sleep=lambda _: None, **period)

    # --- what the books say ---------------------------------------------------------------------------------------
    @property
    def attempts(self) -> Sequence[Attempt]:
        with Session(self.engine) as session:
            return session.exec(select(Attempt).order_by(col(Attempt.id))).all()

    @property
    def booked(self) -> int:
        return sum(attempt.cost_micro for attempt in self.attempts)

    def spent(self) -> tuple[dict[int, int], int]:
        """By run, and on all days together."""
        with Session(self.engine) as session:
            runs = {run.id or 0: run.spent_micro for run in session.exec(select(Run))}
            return runs, sum(day.spent_micro for day in session.exec(select(DailySpend)))

    def check_sums(self) -> None:
        runs, days = self.spent()
        by_run = Counter[int]()
        for attempt in self.attempts:
            by_run[attempt.run_id] += attempt.cost_micro
        assert {run: by_run[run] for run in runs} == runs
        assert days == self.booked


OpenTill = Callable[..., Till]


@pytest.fixture
def open_till(engine: Engine, db_url: str, tmp_path: Path) -> Iterator[OpenTill]:
    with ExitStack() as stack:

        def opened(jobs: int = 1, **emulator: Any) -> Till:
            till = Till(engine, db_url, tmp_path, jobs, **emulator)
            stack.enter_context(till.emulator)
            stack.enter_context(till.client)
            return till

        yield opened


def kinds(found: Reconciliation) -> dict[Kind, int]:
    return dict(found.differences.by_kind)


# --- the whole of it ----------------------------------------------------------------------------------------------
def test_after_every_fault_ledger_and_bill_agree_to_the_micro_dollar(open_till: OpenTill) -> None:
    cases = [fault for fault in DISAGREE for _ in range(3)]
    till = open_till(len(cases) + 6)
    second_run = till.book.open_run()
    for fault in cases:
        till.emulator.queue(fault, **DISAGREE[fault][0])
    with ThreadPoolExecutor(8) as pool:
        runs = (till.book.run_id, second_run)
        list(pool.map(lambda n: till.make(till.book.jobs[n], runs[n % 2]), range(len(cases))))
    till.rest()
    for number, job in enumerate(till.book.jobs[-6:]):
        till.die(job, called=number % 2 == 0)
    before = {attempt.id: attempt for attempt in till.attempts}
    till.check_sums()

    expected = Counter(kind for fault in cases if (kind := DISAGREE[fault][1]))
    expected += Counter({Kind.UNKNOWN_BILLED: 3, Kind.UNKNOWN_NOT_BILLED: 3})
    found = till.compare()
    assert kinds(found) == expected
    assert (found.differences.ledger_micro, found.differences.log_micro) == (till.booked, till.emulator.billed_micro)
    assert found.difference_left_micro == till.booked - till.emulator.billed_micro != 0
    assert (found.applied, len(found.left)) == (frozenset(), expected.total())
    assert {attempt.id: attempt for attempt in till.attempts} == before, "looking changed something"

    done = till.compare(apply=True)
    assert (kinds(done), done.left, len(done.applied)) == (expected, [], expected.total())
    assert till.booked == till.emulator.billed_micro
    assert sum(till.spent()[0].values()) == till.emulator.billed_micro
    till.check_sums()
    for attempt in till.attempts:
        assert attempt.billed == (Billed.YES if attempt.cost_micro else Billed.NO)
        assert (attempt.reconciled_at == LATER) is (attempt.id in done.applied)
        assert attempt.code == before[attempt.id].code
        assert attempt.settled_at == before[attempt.id].settled_at
    again = till.compare(apply=True)
    assert (again.differences.found, again.applied) == ((), frozenset())


def test_two_at_once_correct_the_ledger_once(open_till: OpenTill) -> None:
    till = open_till(12)
    till.emulator.queue("disconnect", times=6, billed=False)
    till.emulator.queue("group_failover", times=6)
    for job in till.book.jobs:
        till.make(job)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: till.compare(apply=True), range(4)))
    assert sum(len(one.applied) for one in done) == 12
    assert till.booked == till.emulator.billed_micro
    till.check_sums()


# --- what is left alone -------------------------------------------------------------------------------------------
def test_calls_in_the_air_are_left_alone_and_explain_their_rows(open_till: OpenTill) -> None:
    till = open_till(3)
    till.make(till.book.jobs[0])
    till.begin(till.book.jobs[1])
    till.begin(till.book.jobs[2])
    till.order()  # one of the two has just been charged
    done = till.compare(apply=True)
    assert (kinds(done), done.left, done.differences.in_the_air) == ({}, [], 2)
    assert (done.differences.ledger_micro, done.differences.log_micro) == (PRICE, PRICE)
    assert till.booked == 3 * PRICE
    assert [attempt.settled_at for attempt in till.attempts[1:]] == [None, None]


def test_a_charge_that_no_call_explains_is_reported_and_left(open_till: OpenTill) -> None:
    till = open_till(1)
    till.make(till.book.job)
    till.order()
    done = till.compare(apply=True)
    assert (kinds(done), len(done.left)) == ({Kind.NOT_IN_LEDGER: 1}, 1)
    assert (done.difference_left_micro, till.booked) == (-PRICE, PRICE)
    [row] = facts(done)["differences"]
    assert (row["attempt_id"], row["charged_usd"], row["token"]) == (None, 0.09, "sandbox")
    assert row["request_id"] == till.emulator.bill[-1].request_id


def test_what_may_still_come_into_the_log_waits(open_till: OpenTill) -> None:
    till = open_till(3)
    till.emulator.queue("none")
    till.emulator.queue("server_error")
    till.emulator.queue("none", billed=False)
    for job in till.book.jobs:
        till.make(job)
    soon = till.compare(apply=True, now=till.book.clock() + timedelta(seconds=10))
    assert (kinds(soon), len(soon.left), till.booked) == ({Kind.TOO_EARLY: 2}, 2, 3 * PRICE)
    done = till.compare(apply=True)
    assert (kinds(done), done.left) == ({Kind.UNKNOWN_NOT_BILLED: 1, Kind.NOT_IN_LOG: 1}, [])
    assert till.booked == till.emulator.billed_micro == PRICE


def test_the_log_of_another_account_changes_nothing(open_till: OpenTill) -> None:
    till = open_till(2)
    for job in till.book.jobs:
        till.make(job)
    with Emulator(key=KEY, system_token=TOKEN) as other:
        till.settings = till.settings.model_copy(update={"apiyi_base_url": other.base_url})
        assert kinds(till.compare()) == {Kind.NOT_IN_LOG: 2}
        with pytest.raises(ConfigError, match="none of the 2 images"):
            till.compare(apply=True)
    assert till.booked == till.emulator.billed_micro
    till.check_sums()


def test_a_call_that_changed_meanwhile_is_left_to_the_next_comparison(open_till: OpenTill) -> None:
    till = open_till(2)
    till.emulator.queue("disconnect", times=2, billed=False)
    for job in till.book.jobs:
        till.make(job)
    read = attempts_between(till.engine, START, LATER)
    found = [Difference(Kind.UNKNOWN_NOT_BILLED, attempt, None) for attempt in read]
    with Session(till.engine) as session:
        session.execute(update(Attempt).where(col(Attempt.id) == read[0].id).values(billed=Billed.YES))
        session.commit()
    assert list(correct(till.book.ledger, found, LATER)) == [read[1].id]
    assert [attempt.cost_micro for attempt in till.attempts] == [PRICE, 0]
    till.check_sums()


def test_jobs_stay_as_they_are(open_till: OpenTill) -> None:
    till = open_till(1)
    till.emulator.queue("disconnect", billed=False)
    till.make(till.book.job)
    before = till.book.rows(ImageJob)
    assert till.compare(apply=True).applied
    assert till.book.rows(ImageJob) == before


# --- how calls are found ------------------------------------------------------------------------------------------
def test_a_call_found_by_its_time_keeps_the_id_it_has_in_the_log(open_till: OpenTill) -> None:
    till = open_till(1)
    till.emulator.queue("disconnect")
    till.make(till.book.job)
    assert till.attempts[0].request_ids == {}
    till.compare(apply=True)
    assert till.attempts[0].request_ids == {FOUND_IN_LOG: till.emulator.bill[0].request_id}


def test_a_call_at_the_edge_of_the_period_is_found_on_its_other_side(open_till: OpenTill) -> None:
    """Nor is the row of a call before the period taken for one that nobody knows."""
    till = open_till(3)
    for job in till.book.jobs:
        till.make(job)
    moments = [attempt.started_at for attempt in till.attempts]
    found = till.compare(since=moments[1], until=moments[2])
    assert (found.differences.found, found.differences.ledger_micro, found.differences.log_micro) == ((), PRICE, PRICE)


def test_without_dates_the_last_day_is_compared(open_till: OpenTill) -> None:
    till = open_till(1)
    till.emulator.queue("disconnect", billed=False)
    till.make(till.book.job)
    assert kinds(till.compare(since=None, now=START + timedelta(hours=25))) == {}
    assert kinds(till.compare(since=None, now=START + timedelta(hours=23))) == {Kind.UNKNOWN_NOT_BILLED: 1}


@pytest.mark.parametrize(
    ("period", "words"),
    [
        ({"since": datetime(2025, 12, 31, 23, tzinfo=UTC)}, "the earliest is 2026-01-01"),
        ({"since": LATER + HOUR}, "there is no time between"),
        ({"since": START, "until": START}, "there is no time between"),
    ],
    ids=["older than the log", "in the future", "empty"],
)
def test_a_period_that_cannot_be_compared_is_refused(open_till: OpenTill, period: dict[str, Any], words: str) -> None:
    till = open_till(1)
    with pytest.raises(ConfigError, match=words):
        till.compare(**period)
    assert till.emulator.history == []
