"""What dead workers left behind: their claims are taken over, so that somebody can settle their calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from packshot.db.ledger import Ledger
from packshot.db.moves import ALLOWED, Claim
from packshot.db.tables import Attempt, Generation, ImageJob, Product
from packshot.db.types import JobState as S
from packshot.db.upsert import chunks
from packshot.errors import Code
from packshot.worker import claims_of, life_of, new_claim

_TAKEN = (S.CLAIMED, S.CALLING, S.GENERATED)


@dataclass(slots=True)
class Abandoned:
    """How many jobs were found in each state, and the calls among them: ours now, and still to be settled."""

    found: dict[S, int] = field(default_factory=dict)
    calls: list[tuple[Claim, Attempt]] = field(default_factory=list)


def is_abandoned(claim: str, lease_until: datetime | None, now: datetime) -> bool:
    """Certain on the machine of the process. Of another one's claim, the lease decides, which the living renew."""
    life = life_of(claim)
    return life == "dead" or (life == "unknown" and (lease_until is None or lease_until < now))


def take_over(ledger: Ledger, given_up: int | None = None) -> Abandoned:
    """Free what dead workers had claimed or received, and take their calls. Two at once share the work; a claim is
    taken once.

    ``given_up``: a run of this very worker, which will not go on with it: its claims are taken instead.
    """

    def wanted(name: str, lease_until: datetime | None) -> bool:
        if given_up is not None:
            return name.startswith(claims_of(ledger.worker, given_up))
        return is_abandoned(name, lease_until, ledger.now())

    def take(session: Session) -> Abandoned:
        result = Abandoned()
        claims = select(ImageJob.claimed_by, ImageJob.lease_until).where(
            col(ImageJob.state).in_(_TAKEN), col(ImageJob.claimed_by).is_not(None)
        )
        names = sorted({name for name, lease_until in session.exec(claims) if name and wanted(name, lease_until)})
        for chunk in chunks(names):
            jobs = session.exec(
                select(ImageJob, Product)
                .join(Product)
                .where(col(ImageJob.claimed_by).in_(chunk), col(ImageJob.state).in_(_TAKEN))
                # Whoever holds a row is at work on it: it lives, or recovers too.
                .with_for_update(skip_locked=True, of=ImageJob)
            ).all()
            for job, product in jobs:
                _take(session, ledger, job, product, given_up, result)
        return result

    return ledger.lasting(take)


def _take(
    session: Session, ledger: Ledger, job: ImageJob, product: Product, run_id: int | None, result: Abandoned
) -> None:
    state = S(job.state)
    result.found[state] = result.found.get(state, 0) + 1
    job.claimed_by = job.lease_until = None
    if state is S.CLAIMED:
        job.state = S.PLANNED
    elif state is S.CALLING:
        job.claimed_by, job.lease_until = new_claim(ledger.worker, run_id), ledger.lease_end()
        attempt = session.exec(select(Attempt).where(Attempt.job_id == job.id, col(Attempt.settled_at).is_(None))).one()
        result.calls.append((Claim(job, product, None), attempt))
    job.updated_at = ledger.now()
    session.add(job)


def calls_of_files(ledger: Ledger, spool_names: Sequence[str]) -> dict[str, tuple[Attempt, Claim, Generation | None]]:
    """The settled calls that these files of the spool belong to, by name. Of calls still in the air, and of other
    databases, nothing is said."""
    found: dict[str, tuple[Attempt, Claim, Generation | None]] = {}
    for chunk in chunks(spool_names):
        query = (
            select(Attempt, ImageJob, Product, Generation)
            .join(ImageJob, col(Attempt.job_id) == col(ImageJob.id))
            .join(Product, col(ImageJob.product_id) == col(Product.id))
            .outerjoin(Generation, col(Generation.attempt_id) == col(Attempt.id))
            .where(col(Attempt.spool_name).in_(chunk), col(Attempt.settled_at).is_not(None))
        )
        with Session(ledger.engine, expire_on_commit=False) as session:
            rows = session.exec(query).all()
        for attempt, job, product, generation in rows:
            job.claimed_by = new_claim(ledger.worker)  # the name it gets if its answer is taken late
            found[attempt.spool_name] = (attempt, Claim(job, product, None), generation)
    return found


def return_to_received(ledger: Ledger, is_here: Callable[[str], bool]) -> int:
    """Free the jobs that were held because their image was on another machine, and is on this one; how many."""
    assert S.GENERATED in ALLOWED[S.HELD]

    def find(session: Session) -> int:
        rows = session.exec(
            select(ImageJob, Attempt.spool_name)
            .join(Generation, col(Generation.job_id) == col(ImageJob.id))
            .join(Attempt, col(Attempt.id) == col(Generation.attempt_id))
            .where(ImageJob.state == S.HELD, ImageJob.code == Code.SPOOL_MISSING)
            .where(col(Generation.archived_at).is_(None), col(Generation.lost_at).is_(None))
            .with_for_update(skip_locked=True, of=ImageJob)
        ).all()
        here = [job for job, name in rows if is_here(name)]
        for job in here:
            job.state, job.code, job.message, job.updated_at = S.GENERATED, None, "", ledger.now()
            session.add(job)
        return len(here)

    return ledger.lasting(find)


def received_jobs(ledger: Ledger) -> list[tuple[int, str]]:
    """(job, label) of every image that was paid for and is nobody's, the one whose URL ends first before the others."""

    def find(session: Session) -> list[tuple[int, str]]:
        rows = session.exec(
            select(ImageJob.id, Product.product_key, ImageJob.shot, Generation.expires_at)
            .join(Product, col(ImageJob.product_id) == col(Product.id))
            .join(Generation, col(Generation.job_id) == col(ImageJob.id))
            .where(ImageJob.state == S.GENERATED, col(ImageJob.claimed_by).is_(None))
            .where(col(Generation.archived_at).is_(None), col(Generation.lost_at).is_(None))
        ).all()
        ordered = sorted(rows, key=lambda row: (row[3] is None, row[3]))
        return [(job_id, f"{product_key} {shot}") for job_id, product_key, shot, _ in ordered if job_id is not None]

    return ledger.read(find)


def price_of_lost(ledger: Ledger, job_ids: Sequence[int]) -> int:
    """Micro-dollars that the lost images of these jobs cost."""
    query = select(func.coalesce(func.sum(Attempt.cost_micro), 0)).join(
        Generation, col(Generation.attempt_id) == col(Attempt.id)
    )
    lost = query.where(col(Generation.lost_at).is_not(None))
    return sum(
        ledger.read(lambda session, ids=chunk: session.exec(lost.where(col(Attempt.job_id).in_(ids))).one())  # type: ignore[misc]
        for chunk in chunks(job_ids)
    )
