"""The moves of a job, as the ledger makes them: inside a transaction that somebody else opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Engine, bindparam, exists, func, insert, update
from sqlmodel import Session, col, select

from packshot.db import spending
from packshot.db.engine import writers_gate
from packshot.db.group_commit import group_commit
from packshot.db.patience import patiently
from packshot.db.tables import Asset, Attempt, Generation, ImageJob, Product, table_of
from packshot.db.types import JobState as S
from packshot.errors import Billed, Code, PackshotError, code_of
from packshot.policy import REFUSALS, Decision, Past, Verdict
from packshot.worker import file_of_claim, this_worker

T = TypeVar("T")

ALLOWED: dict[S, frozenset[S]] = {
    S.PLANNED: frozenset({S.CLAIMED, S.GENERATED}),
    S.CLAIMED: frozenset({S.CALLING, S.PLANNED, S.GENERATED}),
    S.CALLING: frozenset({S.GENERATED, S.PLANNED, S.FAILED, S.HELD}),
    S.GENERATED: frozenset({S.ARCHIVED, S.HELD, S.PLANNED}),
    S.ARCHIVED: frozenset(),
    S.FAILED: frozenset({S.PLANNED, S.GENERATED, S.HELD}),
    S.HELD: frozenset({S.PLANNED, S.GENERATED, S.ARCHIVED, S.FAILED}),
}
"""The moves a job can make. Nothing leads out of ``archived``: an image that exists is never bought again. From
``generated`` to ``planned`` leads only an image that is lost. To ``generated`` from ``planned``, ``claimed`` and
``failed`` leads only an answer that came after its call was given up. Out of ``held`` leads a person's decision, or the
return of what was missing; from ``failed`` back into it, a photo that is missing again.
"""

GIVEN_UP = (Code.INTERRUPTED, Code.UNEXPECTED, Code.ANSWER_NOT_SAVED)
"""How calls are settled whose answer may lie in the spool all the same."""

MOVED = ("state", "code", "message", "retry_at", "updated_at", "claimed_by", "lease_until")
"""The columns of a job that a move writes."""


class IllegalMove(RuntimeError):
    """A job was not in the state, or not in the hands, that the caller believed. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job this worker owns until its lease ends, with all that is needed to work on it.

    ``job.claimed_by`` is this claim's own name: a later claim of the same job, by whomever, has another one.
    """

    job: ImageJob
    product: Product
    generation: Generation | None
    """What an earlier call brought back and is still to be archived: then there is nothing to buy."""

    @property
    def job_id(self) -> int:
        assert self.job.id is not None
        return self.job.id

    @property
    def spool_name(self) -> str:
        """What the files of this claim's call are named: after the claim, so unlike any other's, also of another
        database, and with the name of the process that writes them."""
        return file_of_claim(self.job.claimed_by or "")


@dataclass(frozen=True, slots=True)
class Received:
    """What a call brought back, as the ledger keeps it."""

    url: str | None
    expires_at: datetime | None
    spool_name: str
    http_status: int
    request_ids: dict[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Stored:
    """The permanent object, as the store confirmed it."""

    bucket: str
    key: str
    sha256: str
    bytes: int
    mime: str
    width: int
    height: int
    size_as_ordered: bool


# Built once: putting a statement together costs more than running it, and every image takes a dozen of them.
_JOB, _ATTEMPT = table_of(ImageJob), table_of(Attempt)
_MOVE = (
    update(_JOB)
    .where(_JOB.c.id == bindparam("of_id"), _JOB.c.state == bindparam("source"))
    .where(_JOB.c.claimed_by == bindparam("holder"))
    .values({name: bindparam(f"new_{name}") for name in MOVED})
)
_INSERT = {kind: insert(table_of(kind)).returning(table_of(kind).c.id) for kind in (Attempt, Generation, Asset)}
_EARLIER = select(func.count()).where(_ATTEMPT.c.job_id == bindparam("of_job")).scalar_subquery()
_INSERT[Attempt] = _INSERT[Attempt].values(number=_EARLIER + 1)


class Moves:
    """One worker's hand on one database. Each method changes rows of the session it is given, and commits nothing."""

    def __init__(
        self,
        engine: Engine,
        *,
        lease: float = 300,
        patience: float = 0,
        worker: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.engine = engine
        self.worker = worker or this_worker()
        self.now = now
        self.patience = patience
        self.lease = timedelta(seconds=lease)
        self.timing: Callable[[], AbstractContextManager[object]] = nullcontext
        """Times a change that lasts, with all waiting for it."""

    def lease_end(self) -> datetime:
        """Until when a claim made now holds unless it is renewed."""
        return self.now() + self.lease

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction that writes; commits at the end, rolls back on any exception."""
        engine = self.engine.execution_options(write=True)
        with writers_gate(self.engine), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def lasting(
        self, act: Callable[[Session], T], done: Callable[[Session], T | None] = lambda _: None, of_run: int = 0
    ) -> T:
        """``act`` in a transaction of its own; while the database is away, again, for ``patience`` seconds.

        ``done`` is asked before another try, because the first may have been committed although its confirmation was
        lost: what it returns, unless None, is the result. ``of_run``: see :meth:`committed`.
        """

        def act_again(session: Session) -> T:
            earlier = done(session)
            return act(session) if earlier is None else earlier

        with self.timing():
            return patiently(lambda again: self.committed(act_again if again else act, of_run), self.patience)

    def committed(self, act: Callable[[Session], T], of_run: int = 0) -> T:
        """What ``act`` returns, after its changes were committed.

        ``of_run``: it changes this run's row, as every thread of the run wants to. Those of this process share a
        transaction, instead of waiting for each other's lock; on SQLite, which has one lock, they do so for everything.
        """
        if self.engine.dialect.name == "sqlite":
            return group_commit(self.engine).run(act)
        if of_run:
            return group_commit(self.engine, of_run).run(act)
        with self.write() as session:
            return act(session)

    def read(self, act: Callable[[Session], T]) -> T:
        """``act`` in a transaction that only reads, as patient as :meth:`lasting`."""

        def once(_again: bool) -> T:
            with Session(self.engine, expire_on_commit=False) as session:
                return act(session)

        return patiently(once, self.patience)

    @staticmethod
    def _update(session: Session, statement: Any, parameters: dict[str, Any] | None = None) -> int:
        """Run a statement as plain SQL, past the session's unit of work; returns the number of rows it changed."""
        return session.connection().execute(statement, parameters).rowcount

    @staticmethod
    def _insert(session: Session, row: Attempt | Generation | Asset) -> int:
        """Insert a row as plain SQL and return its id. The number of an attempt is the database's to count."""
        values = {name: value for name, value in row if name not in ("id", "number")} | {"of_job": row.job_id}
        return int(session.connection().execute(_INSERT[type(row)], values).scalar_one())

    def _move(
        self,
        session: Session,
        claim: Claim,
        source: S,
        target: S,
        *,
        keep: bool = False,
        code: Code | None = None,
        message: str = "",
        retry_at: datetime | None = None,
    ) -> None:
        """Move a job of ours; ``keep`` keeps the claim, with a new lease. Anything but one row moved raises."""
        if not self._moved(session, claim, source, target, keep, code, message, retry_at):
            raise self._not_ours(claim, source)

    def _moved(
        self,
        session: Session,
        claim: Claim,
        source: S,
        target: S,
        keep: bool = False,
        code: Code | None = None,
        message: str = "",
        retry_at: datetime | None = None,
    ) -> bool:
        """As :meth:`_move`; False when the job is not in that state in our hands."""
        if target not in ALLOWED[source]:
            raise IllegalMove(f"{source} -> {target} is not a move a job can make")
        values = self._standing(target, claim if keep else None, code, message, retry_at)
        parameters: dict[str, Any] = {f"new_{name}": values[name] for name in MOVED}
        parameters |= {"of_id": claim.job_id, "source": source, "holder": claim.job.claimed_by}
        return self._update(session, _MOVE, parameters) == 1

    def _standing(
        self,
        state: S,
        holder: Claim | None = None,
        code: Code | None = None,
        message: str = "",
        retry_at: datetime | None = None,
    ) -> dict[str, Any]:
        """What a job's row says when it has come to ``state``, in the hands of ``holder``."""
        now = self.now()
        return {
            "state": state, "code": code, "message": message, "retry_at": retry_at, "updated_at": now,
            "claimed_by": holder and holder.job.claimed_by, "lease_until": holder and now + self.lease,
        }  # fmt: skip

    def _take_late(self, session: Session, claim: Claim, attempt_id: int) -> None:
        """Take back a job whose call was given up, or is about to be, if nothing was bought for it since.

        Who has claimed it to buy it once more has lost it then.
        """
        brought = exists().where(col(Generation.attempt_id) == col(Attempt.id), col(Generation.lost_at).is_(None))
        newer = exists().where(
            col(Attempt.job_id) == claim.job_id,
            col(Attempt.id) > attempt_id,
            col(Attempt.settled_at).is_(None) | brought,
        )
        this = exists().where(col(Attempt.id) == attempt_id)
        not_in_the_air = col(ImageJob.state).in_([S.PLANNED, S.CLAIMED, S.HELD, S.FAILED])
        given_up = not_in_the_air & this.where(col(Attempt.code).in_(GIVEN_UP))
        in_other_hands = (col(ImageJob.state) == S.CALLING) & this.where(col(Attempt.settled_at).is_(None))
        statement = (
            update(ImageJob)
            .where(col(ImageJob.id) == claim.job_id, given_up | in_other_hands, ~newer)
            .values(**self._standing(S.GENERATED, claim))
        )
        if not self._update(session, statement):
            raise self._not_ours(claim, S.CALLING)

    @staticmethod
    def _not_ours(claim: Claim, state: S) -> IllegalMove:
        return IllegalMove(f"job {claim.job_id} is not {state} in the hands of this claim")

    def _let_go(self, session: Session, claim: Claim, code: Code | None = None, message: str = "") -> None:
        """Drop the claim on a received image without changing its state."""
        statement = (
            update(ImageJob)
            .where(col(ImageJob.id) == claim.job_id)
            .where(col(ImageJob.state) == S.GENERATED, col(ImageJob.claimed_by) == claim.job.claimed_by)
            .values(claimed_by=None, lease_until=None, code=code, message=message, updated_at=self.now())
        )
        if not self._update(session, statement):
            raise self._not_ours(claim, S.GENERATED)

    def _settle(self, session: Session, attempt: Attempt, error: PackshotError) -> None:
        """Close an attempt that brought no image; what was surely not billed is given back to the budget."""
        details = error.details
        attempt.settled_at = self.now()
        attempt.code, attempt.billed, attempt.message = error.code, error.code.billed, error.message
        attempt.http_status = details.get("http_status")
        attempt.request_ids = details.get("request_ids") or {}
        attempt.seconds = details.get("seconds")
        attempt.excerpt = str(details.get("excerpt") or "")[:4000]
        if error.code.billed is Billed.NO:
            attempt.cost_micro = 0
            spending.give_back(session.connection(), attempt.run_id, attempt.started_at, attempt.price_micro)
        session.add(attempt)
        session.flush()

    @staticmethod
    def _past(session: Session, attempt: Attempt) -> Past:
        query = select(Attempt.run_id, Attempt.code, Attempt.billed).where(Attempt.job_id == attempt.job_id)
        rows = [(run_id, code_of(code), billed) for run_id, code, billed in session.exec(query) if code]
        return Past(
            tries=sum(run_id == attempt.run_id for run_id, _, _ in rows),
            # By the code: what the provider's log has confirmed since was a purchase all the same.
            unknown=sum(code.billed is Billed.UNKNOWN and billed != Billed.NO for _, code, billed in rows),
            refused=sum(code in REFUSALS for _, code, _ in rows),
            no_image=sum(code is Code.NO_IMAGE for _, code, _ in rows),
        )

    def _target(self, decision: Decision) -> tuple[S, datetime | None]:
        match decision.verdict:
            case Verdict.RETRY:
                return S.PLANNED, self.now() + timedelta(seconds=decision.delay)
            case Verdict.STOP:
                return S.PLANNED, None
            case Verdict.FAIL:
                return S.FAILED, None
            case Verdict.HOLD:
                return S.HELD, None

    @staticmethod
    def _open_generation(session: Session, job_id: int) -> Generation:
        return session.exec(
            select(Generation)
            .where(Generation.job_id == job_id, col(Generation.archived_at).is_(None))
            .where(col(Generation.lost_at).is_(None))
            .order_by(col(Generation.id).desc())
        ).first() or _missing_generation(job_id)


def _missing_generation(job_id: int) -> Generation:
    raise IllegalMove(f"job {job_id} is generated but has no generation: the database was edited by hand")
