"""The ledger: every change of a job's state, each one transaction, in this one place.

It decides what may be bought. A call goes out only between :meth:`Ledger.begin`, which commits the attempt and reserves
its price, and one of :meth:`received` and :meth:`not_received`, which settle it. An illegal move changes nothing and
raises, so two workers can never own the same job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Update, bindparam, case, func, or_, update
from sqlmodel import Session, col, select

from packshot.db import spending
from packshot.db.moves import Claim, Moves, Received, Stored
from packshot.db.tables import Asset, Attempt, Generation, ImageJob, Product, Store, table_of
from packshot.db.types import JobState as S
from packshot.db.upsert import upsert
from packshot.errors import Billed, Code, PackshotError
from packshot.policy import Decision, Past, Verdict
from packshot.worker import new_claim

_JOB, _ATTEMPT, _GENERATION = table_of(ImageJob), table_of(Attempt), table_of(Generation)
_RECEIVED = (_JOB.c.state == S.GENERATED) & _JOB.c.claimed_by.is_(None)
_DUE = or_(
    _JOB.c.retry_at.is_(None),
    _JOB.c.retry_at <= bindparam("now"),
    _JOB.c.updated_at > bindparam("now"),  # the clock was put back since: nobody knows when it is due
)


def _claim_where(free: ColumnElement[bool]) -> Update:
    return (
        update(_JOB)
        .where(_JOB.c.id == bindparam("of_id"), free)
        .values(
            state=case((_JOB.c.state == S.PLANNED, S.CLAIMED), else_=S.GENERATED),
            claimed_by=bindparam("claim"),
            lease_until=bindparam("until"),
            updated_at=bindparam("now"),
        )
    )


# Built once: putting a statement together costs more than running it.
_CLAIM = _claim_where(or_((_JOB.c.state == S.PLANNED) & _DUE, _RECEIVED))
_CLAIM_RECEIVED = _claim_where(_RECEIVED)
_CLAIMED = (
    select(ImageJob, Product)
    .join(Product)
    .where(col(ImageJob.id) == bindparam("of_id"), col(ImageJob.claimed_by) == bindparam("claim"))
)
_SETTLED = ("settled_at", "billed", "code", "message", "seconds", "http_status", "request_ids")
_SETTLE = (
    update(_ATTEMPT)
    .where(_ATTEMPT.c.id == bindparam("of_id"))
    .values({name: bindparam(f"new_{name}") for name in _SETTLED})
)
_DONE = (
    update(_GENERATION)
    .where(_GENERATION.c.id == bindparam("of_id"))
    .values(archived_at=bindparam("now"), url=bindparam("unsigned"))
)


class Ledger(Moves):
    """State changes on one database, made by one worker. Safe to share between threads.

    Each waits while the database is away, and knows when what it asks for was done by a first try whose confirmation
    was lost.
    """

    def state(self, job_id: int) -> S:
        """Where a job stands right now."""
        return self.read(lambda session: S(session.exec(select(ImageJob.state).where(ImageJob.id == job_id)).one()))

    # --- claiming ---------------------------------------------------------------------------------------------
    def claim(self, job_id: int, run_id: int | None = None, *, received_only: bool = False) -> Claim | None:
        """Take a job to work on, or None when it is not free: done, held, waiting for ``retry_at``, or another's.

        ``run_id``: the run that it is taken for, which gives it up at its end. ``received_only``: only if its image was
        paid for and is still to be brought home.
        """
        name = new_claim(self.worker, run_id)
        statement = _CLAIM_RECEIVED if received_only else _CLAIM

        def take(session: Session) -> Claim | None:
            now = self.now()
            mine = {"of_id": job_id, "now": now, "claim": name, "until": now + self.lease}
            return held(session) if self._update(session, statement, mine) else None

        def held(session: Session) -> Claim | None:
            found = session.exec(_CLAIMED, params={"of_id": job_id, "claim": name}).first()
            if found is None:
                return None
            job, product = found
            return Claim(job, product, self._open_generation(session, job_id) if job.state == S.GENERATED else None)

        return self.lasting(take, held)

    def release(self, claim: Claim) -> None:
        """Give a job back untouched: nothing was bought."""

        def give_back(session: Session) -> bool:
            if claim.generation:
                self._let_go(session, claim)
            else:
                self._move(session, claim, S.CLAIMED, S.PLANNED)
            return True

        self.lasting(give_back, lambda session: self._is_gone(session, claim))

    # --- the call ---------------------------------------------------------------------------------------------
    def begin(
        self,
        claim: Claim,
        run_id: int,
        price_micro: int,
        wire_format: str,
        in_flight: int,
        day_limit_micro: int | None = None,
    ) -> int:
        """Commit the attempt and reserve its price; only then may the call go out. Returns the attempt's id.

        Raises:
            PackshotError: BUDGET_REACHED, of the run or of the day; the job is planned again, nothing was reserved.
        """

        def reserve(session: Session) -> int | str:
            now = self.now()
            refusal = spending.reserve(session.connection(), run_id, now.date(), price_micro, day_limit_micro)
            if refusal:
                self._move(session, claim, S.CLAIMED, S.PLANNED)
                return refusal
            self._move(session, claim, S.CLAIMED, S.CALLING, keep=True)
            attempt = Attempt(
                job_id=claim.job_id, run_id=run_id, number=0, model=claim.job.model, wire_format=wire_format,
                price_micro=price_micro, cost_micro=price_micro, spool_name=claim.spool_name, started_at=now,
                in_flight=in_flight,
            )  # fmt: skip
            return self._insert(session, attempt)

        def reserved(session: Session) -> int | None:
            of_job = Attempt.job_id == claim.job_id
            return session.exec(select(Attempt.id).where(of_job, Attempt.spool_name == claim.spool_name)).first()

        result = self.lasting(reserve, reserved, of_run=run_id)
        if isinstance(result, str):
            raise PackshotError(Code.BUDGET_REACHED, f"the next call would exceed the maximum cost of {result}")
        return result

    def received(self, claim: Claim, attempt_id: int, answer: Received) -> Claim:
        """Settle a call that brought an image. From here on a failure costs bandwidth, never money.

        A call that came home after its claim was taken over counts all the same, unless another call for the job is on
        its way: what was paid for is not thrown away.
        """

        def settle(session: Session) -> Claim:
            now = self.now()
            if not self._moved(session, claim, S.CALLING, S.GENERATED, keep=True):
                self._take_late(session, claim, attempt_id)
            self._update(session, _SETTLE, {
                "of_id": attempt_id, "new_settled_at": now, "new_billed": Billed.YES, "new_code": None,
                "new_message": "", "new_seconds": answer.seconds, "new_http_status": answer.http_status,
                "new_request_ids": answer.request_ids,
            })  # fmt: skip
            generation = Generation(
                job_id=claim.job_id, attempt_id=attempt_id, url=answer.url, expires_at=answer.expires_at,
                spool_name=answer.spool_name, created_at=now,
            )  # fmt: skip
            generation.id = self._insert(session, generation)
            return Claim(claim.job, claim.product, generation)

        def settled(session: Session) -> Claim | None:
            generation = session.exec(select(Generation).where(Generation.attempt_id == attempt_id)).first()
            return Claim(claim.job, claim.product, generation) if generation else None

        return self.lasting(settle, settled)

    def not_received(
        self,
        claim: Claim,
        attempt_id: int,
        error: PackshotError,
        decide: Callable[[Past], Decision],
    ) -> Decision:
        """Settle a call that brought no image; ``decide`` gets the job's past and says what becomes of the job."""

        def settle(session: Session) -> Decision:
            # The job first, then what hangs on it: everybody locks in this order, so nobody waits in a circle.
            ours = (col(ImageJob.state) == S.CALLING) & (col(ImageJob.claimed_by) == claim.job.claimed_by)
            if not session.exec(select(ImageJob.id).where(ImageJob.id == claim.job_id, ours).with_for_update()).first():
                raise self._not_ours(claim, S.CALLING)
            attempt = session.get_one(Attempt, attempt_id)
            self._settle(session, attempt, error)
            decision = decide(self._past(session, attempt))
            target, retry_at = self._target(decision)
            self._move(session, claim, S.CALLING, target, code=error.code, message=error.message, retry_at=retry_at)
            return decision

        def settled(session: Session) -> Decision | None:
            attempt = session.get_one(Attempt, attempt_id)
            return decide(self._past(session, attempt)) if attempt.code == error.code else None

        return self.lasting(settle, settled)

    # --- bringing it home -------------------------------------------------------------------------------------
    def archived(self, claim: Claim, stored: Stored, *, hold_for: Code | None = None, message: str = "") -> int:
        """Record the permanent object and return its id. ``hold_for`` keeps the job for a person although the object
        exists."""
        generation = claim.generation
        assert generation is not None
        unsigned = generation.url and generation.url.partition("?")[0]  # the signature has done its duty
        facts: dict[str, Any] = asdict(stored)
        attempt_id = generation.attempt_id

        def store(session: Session) -> int:
            now = self.now()
            target = S.HELD if hold_for else S.ARCHIVED
            self._move(session, claim, S.GENERATED, target, code=hold_for, message=message)
            self._update(session, _DONE, {"of_id": generation.id, "now": now, "unsigned": unsigned})
            return self._insert(session, Asset(job_id=claim.job_id, attempt_id=attempt_id, created_at=now, **facts))

        def stored_before(session: Session) -> int | None:
            return session.exec(select(Asset.id).where(Asset.attempt_id == attempt_id)).first()

        return self.lasting(store, stored_before)

    def not_archived(self, claim: Claim, error: PackshotError, decide: Callable[[int], Decision]) -> Decision:
        """Note that the image is not home yet; ``decide`` gets the number of failed tries, or of lost images.

        The image stays received, free for the next try, unless its URL is dead: then it is lost. On ``hold`` a person
        sees to the job.
        """
        generation_id = claim.generation and claim.generation.id
        assert generation_id is not None

        def note(session: Session) -> Decision:
            generation = session.get_one(Generation, generation_id)
            tries = generation.archive_tries = generation.archive_tries + 1
            if error.code is Code.LOST:
                generation.lost_at = self.now()
                lost = col(Generation.lost_at).is_not(None)
                tries = session.exec(select(func.count()).where(Generation.job_id == claim.job_id, lost)).one()
            session.add(generation)
            session.flush()
            decision = decide(tries)
            if decision.verdict is Verdict.HOLD:
                self._move(session, claim, S.GENERATED, S.HELD, code=error.code, message=error.message)
            elif error.code is Code.LOST:
                self._move(session, claim, S.GENERATED, S.PLANNED, code=error.code, message=error.message)
            else:
                self._let_go(session, claim, code=error.code, message=error.message)
            return decision

        def noted(session: Session) -> Decision | None:
            if not self._is_gone(session, claim):
                return None
            return decide(session.get_one(Generation, generation_id).archive_tries)

        return self.lasting(note, noted)

    @staticmethod
    def _is_gone(session: Session, claim: Claim) -> bool | None:
        """True when the claim does not exist any more: what was to end it has happened."""
        name = session.exec(select(ImageJob.claimed_by).where(ImageJob.id == claim.job_id)).one()
        return True if name != claim.job.claimed_by else None


def register_store(session: Session, bucket: str, endpoint_url: str, public_base_url: str) -> None:
    """Note where the bucket is today; assets point to it by name."""
    place = {"endpoint_url": endpoint_url, "public_base_url": public_base_url}
    session.execute(upsert(session, Store, ["bucket"], list(place)), [{"bucket": bucket, **place}])
