"""What waits for a person, and a person's decisions about it.

A job is held when going on by itself might spend money twice, or when only eyes can tell whether a picture is good.
Whoever looks decides: buy it again, leave it out, or take the picture as it is. What was paid for and may still be
brought home is brought home first: it is bought again only when somebody says that it is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, and_, case, exists, func, or_, select, true, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from packshot.catalog.model import product_name
from packshot.db.ledger import Ledger
from packshot.db.moves import ALLOWED, IllegalMove
from packshot.db.tables import Asset, Attempt, Generation, ImageJob, Product, Store
from packshot.db.types import JobState as S
from packshot.errors import Code, ConfigError, code_of

SHORTEST = 6  # characters of a key that are enough to name a job, if they name one only
SHOWN = 8  # characters of a key that a list shows, or as many more as it takes
NAMED = 5  # candidates that an error lists


class Answer(StrEnum):
    """What a person decided. ``retry`` brings home what was received, and buys only where nothing was; ``rebuy``
    gives the received image up."""

    RETRY = "retry"
    REBUY = "rebuy"
    SKIP = "skip"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job as a person sees it."""

    job_id: int
    key: str
    catalog: str
    product_key: str
    variant_key: str
    shot: str
    variant: int
    model: str
    state: S
    code: str
    message: str
    calls: int
    """0: it was held before anything could be bought, because a photo is missing."""
    cost_micro: int
    received: bool
    """An image was paid for that is not home yet, and not known to be gone."""
    url: str | None
    """The picture that the bucket has, and that waits for a verdict."""
    since: datetime

    @property
    def waits(self) -> bool:
        """As against one that is made, or failed and is tried again by itself; what was skipped can be taken back."""
        return self.state is S.HELD or self.skipped

    @property
    def skipped(self) -> bool:
        return self.state is S.FAILED and self.code == Code.SKIPPED

    @property
    def name(self) -> str:
        """For messages: what it shows, and a key to copy."""
        number = f" {self.variant}" if self.variant > 1 else ""
        return f"{product_name(self.product_key, self.variant_key)} {self.shot}{number} ({self.key[:SHOWN]})"


# --- looking --------------------------------------------------------------------------------------------------
def holds(engine: Engine, catalog: str = "", code: str = "", limit: int | None = None) -> list[dict[str, Any]]:
    """The jobs that wait for a person, longest waiting first; only of this catalog or code, where given.

    ``key`` is short and names this job only; ``job_key`` is whole. ``url`` is the picture to look at, where
    there is one. Money in US dollars.
    """
    query = _facts(_HELD & _of(catalog, code), limit).add_columns(_BEFORE, _AFTER)
    with engine.connect() as connection:
        found = [(_waiting(facts), before, after) for *facts, before, after in connection.execute(query)]
    return [
        {
            "key": short_key(job.key, before, after),
            "job_key": job.key,
            "catalog": job.catalog,
            "product_key": job.product_key,
            "variant_key": job.variant_key,
            "shot": job.shot,
            "variant": job.variant,
            "model": job.model,
            "code": job.code,
            "message": job.message,
            "calls": job.calls,
            "cost_usd": job.cost_micro / 1e6,
            "received": job.received,
            "url": job.url,
            "since": job.since.isoformat(),
            "next_step": code_of(job.code).next_step,
        }
        for job, before, after in found
    ]


def short_key(key: str, *beside: str | None) -> str:
    """The shortest beginning of the key, of ``SHOWN`` characters or more, that no other one has. ``beside``: its
    neighbours in the order of all keys; no other one has as much in common with it."""
    shown = SHOWN
    while any(other and other.startswith(key[:shown]) for other in beside):
        shown += 1
    return key[:shown]


def find(engine: Engine, given: Sequence[str]) -> list[Waiting]:
    """The jobs that these keys, or beginnings of keys, name, each once. One that waits goes before one that does not.

    Raises:
        ConfigError: a key is too short, unknown, or names several jobs.
    """
    found: dict[int, Waiting] = {}
    with Session(engine) as session:
        for text in given:
            wanted = text.strip().lower()
            if len(wanted) < SHORTEST:
                raise _refuse(f"the key {text!r} is too short: give {SHORTEST} characters or more")
            key = col(ImageJob.key)
            # As a range too, which the index of the keys serves in any collation; "g" is beyond the last hex digit.
            begins = (key >= wanted) & (key < wanted + "g") & key.startswith(wanted, autoescape=True)
            jobs = _load(session, _facts(begins, NAMED + 1, _WAITING_FIRST))
            if not jobs:
                raise _refuse(f"no image has a key that begins with {text!r}")
            jobs = [job for job in jobs if job.waits] or jobs
            if len(jobs) > 1:
                several = ", ".join(f"{job.key[: len(wanted) + SHOWN]} is {job.name}" for job in jobs[:NAMED])
                more = " and more" if len(jobs) > NAMED else ""
                raise _refuse(f"{text!r} is the beginning of several keys: {several}{more}. Give more of it")
            found[jobs[0].job_id] = jobs[0]
    return list(found.values())


def find_all(engine: Engine, code: Code, catalog: str = "") -> list[Waiting]:
    """All jobs held with this code; with :attr:`Code.SKIPPED`, those that were skipped."""
    with Session(engine) as session:
        return _load(session, _facts(_WAITS & _of(catalog, code)))


# --- deciding -------------------------------------------------------------------------------------------------
def way(job: Waiting, answer: Answer) -> list[S]:
    """The states a decision leads a job through, its present one first. Pure.

    Raises:
        ConfigError: this cannot be decided about this job; says why, and what can.
    """
    if job.skipped and answer in (Answer.SKIP, Answer.ACCEPT):
        raise _refuse(f"{job.name} was skipped already; --retry takes that back")
    if not job.skipped and job.state is not S.HELD:
        raise _refuse(f"{job.name} is not held: it is {job.state}")
    match answer:
        case Answer.SKIP:
            return [job.state, S.FAILED]
        case Answer.ACCEPT:
            if job.code == Code.WRONG_SIZE and job.url:
                return [job.state, S.ARCHIVED]
            raise _refuse(f"{job.name} has no picture to accept: it is held as {job.code}. Allowed: --retry or --skip")
        case Answer.RETRY | Answer.REBUY:
            if not job.calls:
                raise _refuse(
                    f"{job.name} lacks its photo, and is not bought without it: each run tries to read the photo "
                    "again. Allowed: --skip"
                )
            if answer is Answer.RETRY and job.received:
                return [job.state, *([S.PLANNED] if job.skipped else []), S.GENERATED]
            return [job.state, S.PLANNED]


def resolve(ledger: Ledger, job: Waiting, answer: Answer) -> Waiting | None:
    """Carry out a decision, in one transaction, and return the job as it is then; None, and nothing was changed, when
    it is no longer as the person saw it.

    Raises:
        ConfigError: this cannot be decided about this job.
    """
    states = way(job, answer)
    for source, target in pairwise(states):
        if target not in ALLOWED[source]:
            raise IllegalMove(f"{source} -> {target} is not a move a job can make")
    now = ledger.now()
    of_job = col(ImageJob.id) == job.job_id
    skip = answer is Answer.SKIP
    with ledger.write() as session:
        # The job first, as everybody does; the lock also keeps what hangs on it from changing.
        session.execute(select(col(ImageJob.id)).where(of_job).with_for_update())
        if _load(session, _facts(of_job)) != [job]:
            return None
        changed = session.connection().execute(
            update(ImageJob)
            .where(of_job, col(ImageJob.state) == job.state)
            .values(
                state=states[-1],
                code=Code.SKIPPED if skip else None,
                message=f"{job.code}: {job.message}" if skip else "",
                retry_at=None, claimed_by=None, lease_until=None, updated_at=now,
            )
        )  # fmt: skip
        assert changed.rowcount == 1
        if answer in (Answer.RETRY, Answer.REBUY):
            current = (col(Asset.job_id) == job.job_id) & col(Asset.replaced_at).is_(None)
            session.connection().execute(update(Asset).where(current).values(replaced_at=now))
        if answer is Answer.REBUY:
            session.connection().execute(update(Generation).where(_open(job.job_id)).values(lost_at=now))
        return _load(session, _facts(of_job))[0]


# --- the parts ------------------------------------------------------------------------------------------------
def _open(job_id: Any) -> ColumnElement[bool]:
    """A received image that is not home yet, and not given up."""
    return and_(
        col(Generation.job_id) == job_id, col(Generation.archived_at).is_(None), col(Generation.lost_at).is_(None)
    )


_HELD: ColumnElement[bool] = col(ImageJob.state) == S.HELD
_WAITS = or_(_HELD, (col(ImageJob.state) == S.FAILED) & (col(ImageJob.code) == Code.SKIPPED))
_CALLS = select(func.count()).where(col(Attempt.job_id) == col(ImageJob.id)).scalar_subquery()
_COST = (
    select(func.coalesce(func.sum(col(Attempt.cost_micro)), 0))
    .where(col(Attempt.job_id) == col(ImageJob.id))
    .scalar_subquery()
)
# Counted for each: an EXISTS, PostgreSQL would answer by reading all that are open.
_RECEIVED = select(func.count()).where(_open(col(ImageJob.id))).scalar_subquery() > 0
_FACTS = (
    select(
        *(
            getattr(ImageJob, name)
            for name in ("id", "key", "shot", "variant", "model", "state", "code", "message", "updated_at")
        ),
        col(Product.catalog),
        col(Product.product_key),
        col(Product.variant_key),
        col(Asset.key),
        col(Store.public_base_url),
        _CALLS,
        _COST,
        _RECEIVED,
    )
    .join(Product, col(ImageJob.product_id) == col(Product.id))
    .outerjoin(Asset, (col(Asset.job_id) == col(ImageJob.id)) & col(Asset.replaced_at).is_(None))
    .outerjoin(Store, col(Asset.bucket) == col(Store.bucket))
)
_WAITING_FIRST = case((_WAITS, 0), else_=1)

_OTHER = aliased(ImageJob)
_BEFORE = select(func.max(col(_OTHER.key))).where(col(_OTHER.key) < col(ImageJob.key)).scalar_subquery()
_AFTER = select(func.min(col(_OTHER.key))).where(col(_OTHER.key) > col(ImageJob.key)).scalar_subquery()


def _of(catalog: str, code: str) -> ColumnElement[bool]:
    chosen: ColumnElement[bool] = true()
    if code:
        chosen = chosen & (col(ImageJob.code) == code)
    if catalog:
        is_of_it = exists().where(col(Product.id) == col(ImageJob.product_id), col(Product.catalog) == catalog)
        chosen = chosen & is_of_it
    return chosen


def _facts(which: ColumnElement[bool], limit: int | None = None, *before: ColumnElement[Any]) -> Select[Any]:
    """What is to be known of the first of these jobs, the longest waiting first."""
    order = (*before, col(ImageJob.updated_at), col(ImageJob.id))
    chosen = select(col(ImageJob.id)).where(which).order_by(*order).limit(limit).correlate(None)
    return _FACTS.where(col(ImageJob.id).in_(chosen)).order_by(*order)


def _load(session: Session, query: Select[Any]) -> list[Waiting]:
    return [_waiting(row) for row in session.execute(query)]


def _waiting(row: Sequence[Any]) -> Waiting:
    """``row``: the columns of ``_FACTS``."""
    (
        job_id, key, shot, variant, model, state, code, message, since, catalog, product_key, variant_key,
        object_key, base_url, calls, cost, received,
    ) = row  # fmt: skip
    return Waiting(
        job_id=job_id, key=key, catalog=catalog, product_key=product_key, variant_key=variant_key, shot=shot,
        variant=variant, model=model, state=S(state), code=code or "", message=message, calls=calls,
        cost_micro=int(cost), received=received, url=f"{base_url}/{object_key}" if object_key else None, since=since,
    )  # fmt: skip


def _refuse(why: str) -> ConfigError:
    return ConfigError(Code.HOLD_INVALID, why)
