"""The ledger: every change of a job's state, each one transaction, in this one place.

It decides what may be bought. A call goes out only between :meth:`Ledger.begin`, which commits the attempt and reserves
its price, and one of :meth:`received` and :meth:`not_received`, which settle it. An illegal move changes nothing and
raises, so two workers can never own the same job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, case, func, or_, update
from sqlmodel import Session, col, select

from packshot.db.moves import Claim, Moves, Received, Stored, table_of
from packshot.db.tables import Asset, Attempt, Generation, ImageJob, Product, Run, Store
from packshot.db.types import JobState as S
from packshot.db.upsert import upsert
from packshot.errors import Billed, Code, PackshotError
from packshot.policy import Decision, Past, Verdict
from packshot.worker import is_dead, new_claim

_JOB, _RUN, _GENERATION = table_of(ImageJob), table_of(Run), table_of(Generation)
_CLAIM = (
    update(_JOB)
    .where(_JOB.c.id == bindparam("of_id"))
    .where(
        or_(
            (_JOB.c.state == S.PLANNED) & (_JOB.c.retry_at.is_(None) | (_JOB.c.retry_at <= bindparam("now"))),
            (_JOB.c.state == S.GENERATED) & (_JOB.c.lease_until.is_(None) | (_JOB.c.lease_until < bindparam("now"))),
        )
    )
    .values(
        state=case((_JOB.c.state == S.PLANNED, S.CLAIMED), else_=S.GENERATED),
        claimed_by=bindparam("claim"),
        lease_until=bindparam("until"),
        updated_at=bindparam("now"),
    )
)
_RESERVE = (
    update(_RUN)
    .where(_RUN.c.id == bindparam("of_id"))
    .where(
        or_(_RUN.c.max_cost_micro.is_(None), _RUN.c.spent_micro + bindparam("price") <= _RUN.c.max_cost_micro),
    )
    .values(spent_micro=_RUN.c.spent_micro + bindparam("price"), calls=_RUN.c.calls + 1)
)
_DONE = (
    update(_GENERATION)
    .where(_GENERATION.c.id == bindparam("of_id"))
    .values(archived_at=bindparam("now"), url=bindparam("unsigned"))
)


class Ledger(Moves):
    """State changes on one database, made by one worker. Safe to share between threads."""

    def state(self, job_id: int) -> S:
        """Where a job stands right now."""
        with Session(self.engine) as session:
            return S(session.exec(select(ImageJob.state).where(ImageJob.id == job_id)).one())

    # --- claiming ---------------------------------------------------------------------------------------------
    def claim(self, job_id: int) -> Claim | None:
        """Take a job to work on, or None when it is not free: done, held, waiting for ``retry_at``, or another's."""
        now = self.now()
        mine = {"of_id": job_id, "now": now, "claim": new_claim(self.worker), "until": now + self._lease}
        with self.write() as session:
            if not self._update(session, _CLAIM, mine):
                return None
            job, product = session.exec(select(ImageJob, Product).join(Product).where(col(ImageJob.id) == job_id)).one()
            generation = self._open_generation(session, job_id) if job.state == S.GENERATED else None
            return Claim(job, product, generation)

    def release(self, claim: Claim) -> None:
        """Give a job back untouched: nothing was bought."""
        with self.write() as session:
            if claim.generation:
                self._let_go(session, claim)
            else:
                self._move(session, claim, S.CLAIMED, S.PLANNED)

    # --- the call ---------------------------------------------------------------------------------------------
    def begin(self, claim: Claim, run_id: int, price_micro: int, wire_format: str, in_flight: int) -> int:
        """Commit the attempt and reserve its price; only then may the call go out. Returns the attempt's id.

        Raises:
            PackshotError: BUDGET_REACHED; the job is planned again and nothing was reserved.
        """
        with self.write() as session:
            if self._update(session, _RESERVE, {"of_id": run_id, "price": price_micro}):
                self._move(session, claim, S.CLAIMED, S.CALLING, keep=True)
                earlier = select(func.count()).where(col(Attempt.job_id) == claim.job_id).scalar_subquery()
                attempt = Attempt(
                    job_id=claim.job_id, run_id=run_id, number=0, model=claim.job.model, wire_format=wire_format,
                    price_micro=price_micro, cost_micro=price_micro, started_at=self.now(), in_flight=in_flight,
                )  # fmt: skip
                return self._insert(session, attempt, number=earlier + 1)
            self._move(session, claim, S.CLAIMED, S.PLANNED)
        raise PackshotError(Code.BUDGET_REACHED, "the next call would exceed the maximum cost of this run")

    def received(self, claim: Claim, attempt_id: int, answer: Received) -> Claim:
        """Settle a call that brought an image. From here on a failure costs bandwidth, never money.

        A call that came home after its lease, and was settled as lost meanwhile, counts all the same, unless another
        call for the job is on its way: what was paid for is not thrown away.
        """
        now = self.now()
        with self.write() as session:
            if not self._moved(session, claim, S.CALLING, S.GENERATED, keep=True):
                self._take_late(session, claim, attempt_id)
            self._update(
                session,
                update(Attempt)
                .where(col(Attempt.id) == attempt_id)
                .values(
                    settled_at=now, billed=Billed.YES, code=None, message="", seconds=answer.seconds,
                    http_status=answer.http_status, request_ids=answer.request_ids,
                ),
            )  # fmt: skip
            generation = Generation(
                job_id=claim.job_id, attempt_id=attempt_id, url=answer.url, expires_at=answer.expires_at,
                spool_path=answer.spool_path, body_path=answer.body_path, created_at=now,
            )  # fmt: skip
            generation.id = self._insert(session, generation)
            return Claim(claim.job, claim.product, generation)

    def not_received(
        self,
        claim: Claim,
        attempt_id: int,
        error: PackshotError,
        decide: Callable[[Past], Decision],
    ) -> Decision:
        """Settle a call that brought no image; ``decide`` gets the job's past and says what becomes of the job."""
        with self.write() as session:
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

    # --- bringing it home -------------------------------------------------------------------------------------
    def archived(self, claim: Claim, stored: Stored, *, hold_for: Code | None = None, message: str = "") -> None:
        """Record the permanent object. ``hold_for`` keeps the job for a person although the object exists."""
        generation = claim.generation
        assert generation is not None
        now = self.now()
        unsigned = generation.url and generation.url.partition("?")[0]  # the signature has done its duty
        facts: dict[str, Any] = asdict(stored)
        asset = Asset(job_id=claim.job_id, attempt_id=generation.attempt_id, created_at=now, **facts)
        with self.write() as session:
            target = S.HELD if hold_for else S.ARCHIVED
            self._move(session, claim, S.GENERATED, target, code=hold_for, message=message)
            self._update(session, _DONE, {"of_id": generation.id, "now": now, "unsigned": unsigned})
            self._insert(session, asset)

    def not_archived(self, claim: Claim, error: PackshotError, decide: Callable[[int], Decision]) -> Decision:
        """Note that the image is not home yet; ``decide`` gets the number of failed tries.

        On ``hold`` the image is lost (its URL is dead); otherwise it stays received, free for the next try.
        """
        assert claim.generation is not None
        with self.write() as session:
            generation = session.get_one(Generation, claim.generation.id)
            generation.archive_tries += 1
            decision = decide(generation.archive_tries)
            if decision.verdict is Verdict.HOLD:
                generation.lost_at = self.now()
                self._move(session, claim, S.GENERATED, S.HELD, code=error.code, message=error.message)
            else:
                self._let_go(session, claim, code=error.code, message=error.message)
            session.add(generation)
            return decision

    # --- after a crash ----------------------------------------------------------------------------------------
    def recover(self, decide: Callable[[PackshotError, Past], Decision]) -> dict[S, int]:
        """Take over what dead workers left: free their claims, settle their calls as unknown, and book the price.

        Returns how many jobs were found in each state.
        """
        now = self.now()
        found: dict[S, int] = {}
        taken = (S.CLAIMED, S.CALLING, S.GENERATED)
        with self.write() as session:
            claims = session.exec(select(ImageJob.claimed_by).where(col(ImageJob.state).in_(taken))).all()
            dead = [claim for claim in set(claims) if is_dead(claim)]
            abandoned = session.exec(
                select(ImageJob)
                .where(col(ImageJob.claimed_by).is_not(None), col(ImageJob.state).in_(taken))
                .where(or_(col(ImageJob.lease_until) < now, col(ImageJob.claimed_by).in_(dead)))
                .with_for_update(skip_locked=True)  # whoever holds a row is at work on it: it lives, or recovers too
            ).all()
            for job in abandoned:
                state = S(job.state)
                found[state] = found.get(state, 0) + 1
                job.claimed_by = job.lease_until = None
                job.updated_at = now
                if state is S.CLAIMED:
                    job.state = S.PLANNED
                elif state is S.CALLING:
                    error = PackshotError(Code.INTERRUPTED, "the process died while this call was in the air")
                    attempt = session.exec(
                        select(Attempt).where(Attempt.job_id == job.id, col(Attempt.settled_at).is_(None))
                    ).one()
                    self._settle(session, attempt, error)
                    # Nobody waits for this job any more, so a retry may begin at once.
                    job.state, _ = self._target(decide(error, self._past(session, attempt)))
                    job.code, job.message = error.code, error.message
                session.add(job)
        return found


def register_store(session: Session, bucket: str, endpoint_url: str, public_base_url: str) -> None:
    """Note where the bucket is today; assets point to it by name."""
    place = {"endpoint_url": endpoint_url, "public_base_url": public_base_url}
    session.execute(upsert(session, Store, ["bucket"], list(place)), [{"bucket": bucket, **place}])
