"""Random orders of everything that may happen to jobs, against a model that fits on one page."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from packshot.db.engine import open_engine
from packshot.db.ledger import Ledger
from packshot.db.moves import Claim, IllegalMove
from packshot.db.tables import Asset, Attempt, DailySpend, Generation, ImageJob, Run
from packshot.db.types import JobState as S
from packshot.errors import Billed, Code, PackshotError, ProviderError
from packshot.policy import Decision, Verdict
from tests.db.ledger_cases import PRICE, Book, dump, plan, received, recover, stored

JOBS = 3
BUDGET = 6 * PRICE
WORKERS = ("w1", "w2")

TARGET = {Verdict.RETRY: S.PLANNED, Verdict.STOP: S.PLANNED, Verdict.FAIL: S.FAILED, Verdict.HOLD: S.HELD}
ERRORS = [
    ProviderError(Code.RATE_LIMITED, "not billed"), ProviderError(Code.TIMEOUT, "unknown"),
    ProviderError(Code.NO_IMAGE, "billed"),
]  # fmt: skip


@dataclass(eq=False)
class Grip:
    """One claim that somebody got, and perhaps still believes in."""

    ledger: Ledger
    claim: Claim
    attempt: int = 0


@dataclass
class ModelJob:
    state: S = S.PLANNED
    holder: Grip | None = None
    lease: datetime | None = None
    retry_at: datetime | None = None
    attempts: list[int] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    """Attempts that a recovery gave up."""


class LedgerMachine(RuleBasedStateMachine):
    template: Path
    folder: Path
    numbers = itertools.count()

    @initialize()
    def begin_run(self) -> None:
        path = self.folder / f"{next(self.numbers)}.db"
        shutil.copyfile(self.template, path)
        self.engine = open_engine(f"sqlite:///{path}")
        self.book = Book(self.engine, jobs=JOBS, max_cost_micro=BUDGET)
        self.ledgers = [self.book.another_worker(name) for name in WORKERS]
        self.model = {job: ModelJob() for job in self.book.jobs}
        self.costs: dict[int, int] = {}
        self.grips: list[Grip] = []

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.dispose()

    # --- what can happen --------------------------------------------------------------------------------------
    @rule(job=st.integers(0, JOBS - 1), worker=st.integers(0, 1))
    def claim(self, job: int, worker: int) -> None:
        number, now = self.book.jobs[job], self.book.clock()
        model, ledger = self.model[number], self.ledgers[worker]
        due = model.retry_at is None or model.retry_at <= now
        free = model.holder is None
        got = ledger.claim(number)
        if not ((model.state is S.PLANNED and due) or (model.state is S.GENERATED and free)):
            assert got is None
            return
        assert got
        assert (got.generation is not None) == (model.state is S.GENERATED)
        model.state = S.GENERATED if model.state is S.GENERATED else S.CLAIMED
        self._hold(model, Grip(ledger, got))
        self.grips.append(model.holder)  # type: ignore[arg-type]

    @precondition(lambda self: self.grips)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        grip, model = self._grip(data)
        legal = model.holder is grip and model.state is (S.GENERATED if grip.claim.generation else S.CLAIMED)
        if self._did(legal, lambda: grip.ledger.release(grip.claim)):
            model.state = S.PLANNED if model.state is S.CLAIMED else model.state
            self._hold(model, None)

    @precondition(lambda self: self.grips)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        grip, model = self._grip(data)

        def act() -> None:
            grip.attempt = grip.ledger.begin(grip.claim, self.book.run_id, PRICE, "images", 1)

        legal = model.holder is grip and model.state is S.CLAIMED
        if sum(self.costs.values()) + PRICE > BUDGET and legal:
            with pytest.raises(PackshotError, match="maximum cost"):
                act()
            model.state = S.PLANNED
            self._hold(model, None)
        elif self._did(legal, act):
            model.state = S.CALLING
            model.attempts.append(grip.attempt)
            self.costs[grip.attempt] = PRICE
            self._hold(model, grip)

    @precondition(lambda self: any(grip.attempt for grip in self.grips))
    @rule(data=st.data())
    def receive(self, data: st.DataObject) -> None:
        grip, model = self._grip(data, with_attempt=True)
        in_time = model.holder is grip and model.state is S.CALLING
        late = (
            model.state in (S.PLANNED, S.CLAIMED, S.HELD)
            and grip.attempt in model.lost
            and grip.attempt == model.attempts[-1]
        )  # fmt: skip

        def act() -> None:
            grip.claim = grip.ledger.received(grip.claim, grip.attempt, received())

        if self._did(in_time or late, act):
            model.state, model.retry_at = S.GENERATED, None
            model.lost.discard(grip.attempt)
            self._hold(model, grip)

    @precondition(lambda self: any(grip.attempt for grip in self.grips))
    @rule(data=st.data(), error=st.sampled_from(ERRORS), verdict=st.sampled_from(list(Verdict)))
    def fail_to_receive(self, data: st.DataObject, error: PackshotError, verdict: Verdict) -> None:
        grip, model = self._grip(data, with_attempt=True)
        decision = Decision(verdict, 30.0)
        legal = model.holder is grip and model.state is S.CALLING
        if self._did(legal, lambda: grip.ledger.not_received(grip.claim, grip.attempt, error, lambda past: decision)):
            model.state = TARGET[verdict]
            if error.code.billed is Billed.NO:
                self.costs[grip.attempt] = 0
            self._hold(model, None)
            model.retry_at = self.book.clock() + timedelta(seconds=30) if verdict is Verdict.RETRY else None

    @precondition(lambda self: any(grip.claim.generation for grip in self.grips))
    @rule(data=st.data(), wrong_size=st.booleans())
    def archive(self, data: st.DataObject, wrong_size: bool) -> None:
        grip, model = self._grip(data, with_generation=True)
        hold = Code.WRONG_SIZE if wrong_size else None
        legal = model.holder is grip and model.state is S.GENERATED
        key = f"pub/{grip.claim.job_id}.png"
        if self._did(legal, lambda: grip.ledger.archived(grip.claim, stored(key), hold_for=hold)):
            model.state = S.HELD if wrong_size else S.ARCHIVED
            self._hold(model, None)

    @precondition(lambda self: any(grip.claim.generation for grip in self.grips))
    @rule(data=st.data(), verdict=st.sampled_from(list(Verdict)))
    def fail_to_archive(self, data: st.DataObject, verdict: Verdict) -> None:
        grip, model = self._grip(data, with_generation=True)
        legal = model.holder is grip and model.state is S.GENERATED
        error = PackshotError(Code.S3_UNREACHABLE, "no answer")
        if self._did(legal, lambda: grip.ledger.not_archived(grip.claim, error, lambda tries: Decision(verdict))):
            model.state = S.HELD if verdict is Verdict.HOLD else S.GENERATED
            self._hold(model, None)

    @rule(seconds=st.sampled_from([10, 30, 1001]))
    def wait(self, seconds: int) -> None:
        self.book.clock.advance(seconds)

    @rule(worker=st.integers(0, 1), verdict=st.sampled_from([Verdict.RETRY, Verdict.HOLD]))
    def recover(self, worker: int, verdict: Verdict) -> None:
        found = recover(self.ledgers[worker], lambda error, past: Decision(verdict))
        expected: dict[S, int] = {}
        for model in self.model.values():
            if model.lease is None or model.lease >= self.book.clock():
                continue
            expected[model.state] = expected.get(model.state, 0) + 1
            if model.state is S.CALLING:
                model.lost.add(model.attempts[-1])
                model.state = TARGET[verdict]
            elif model.state is S.CLAIMED:
                model.state = S.PLANNED
            model.holder = model.lease = None
        assert found == expected

    @rule()
    def plan_again(self) -> None:
        self.book.runs.enroll(self.book.open_run(), plan(JOBS), [])
        for model in self.model.values():
            model.state = S.PLANNED if model.state is S.FAILED else model.state

    # --- what must always hold --------------------------------------------------------------------------------
    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        rows = dump(self.engine)
        for row in rows[str(ImageJob.__tablename__)]:
            model = self.model[row["id"]]
            assert row["state"] == model.state
            assert row["claimed_by"] == (model.holder.claim.job.claimed_by if model.holder else None)
            assert row["lease_until"] == model.lease
        attempts = {row["id"]: row["cost_micro"] for row in rows[str(Attempt.__tablename__)]}
        assert attempts == self.costs
        runs = rows[str(Run.__tablename__)]
        assert sum(row["spent_micro"] for row in runs) == sum(self.costs.values()) <= BUDGET
        assert sum(row["calls"] for row in runs) == len(self.costs)
        assert sum(row["spent_micro"] for row in rows[str(DailySpend.__tablename__)]) == sum(self.costs.values())
        archived = {number for number, model in self.model.items() if model.state is S.ARCHIVED}
        assert archived <= {row["job_id"] for row in rows[str(Asset.__tablename__)]}
        received = {row["attempt_id"] for row in rows[str(Generation.__tablename__)]}
        in_the_air = {row["id"] for row in rows[str(Attempt.__tablename__)] if row["settled_at"] is None}
        assert not received & in_the_air
        assert len(in_the_air) == sum(model.state is S.CALLING for model in self.model.values())

    # --- the parts --------------------------------------------------------------------------------------------
    def _grip(
        self, data: st.DataObject, with_attempt: bool = False, with_generation: bool = False
    ) -> tuple[Grip, ModelJob]:
        fit = [
            grip
            for grip in self.grips
            if (grip.attempt or not with_attempt) and (grip.claim.generation or not with_generation)
        ]
        # The latest claims are the interesting ones; older ones stand for all that went stale.
        grip = data.draw(st.sampled_from(fit[::-1][:6]))
        return grip, self.model[grip.claim.job_id]

    def _hold(self, model: ModelJob, grip: Grip | None) -> None:
        model.holder = grip
        model.lease = self.book.clock() + timedelta(seconds=1000) if grip else None
        model.retry_at = None

    def _did(self, legal: bool, act: Callable[[], Any]) -> bool:
        """Do it; what is not legal must raise and leave every row of every table as it was."""
        if legal:
            act()
            return True
        before = dump(self.engine)
        with pytest.raises(IllegalMove):
            act()
        assert dump(self.engine) == before
        return False


def test_no_order_of_events_breaks_the_ledger(sqlite_with_tables: Path, tmp_path: Path) -> None:
    class Machine(LedgerMachine):
        template = sqlite_with_tables
        folder = tmp_path

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            database=None,
        ),
    )
