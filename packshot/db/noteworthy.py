"""What is worth telling others: an image that got home or waits for a person, and received ones that may be lost soon.

Asked once, without patience: whoever tells must not hold up the images when the database is away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Engine, exists, func
from sqlmodel import Session, col, select

from packshot.catalog.model import product_name
from packshot.db.moves import Claim, Stored
from packshot.db.tables import Asset, Attempt, Generation, ImageJob, Product, Run, RunJob
from packshot.db.types import JobState
from packshot.errors import Code

NEAR_END = timedelta(hours=12)
"""From when on the end of a temporary URL is near. They live for 10 minutes to 24 hours, and an image is home seconds
after it was made: one that is still out in the second half of a day has been tried by every hourly rescue, so a person
is needed; and half a day outlasts a night."""
NAMED = 20  # images that are named; all of them are counted


@dataclass(frozen=True, slots=True)
class Picture:
    """A job as others know it. ``asset_id`` and what follows: of its permanent object, if it has one."""

    job_key: str
    state: str
    code: str | None
    catalog: str
    product_key: str
    variant_key: str
    sku: str | None
    shot: str
    variant: int
    asset_id: int | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    run_id: int | None = None
    """The run that paid for it."""

    @property
    def product(self) -> str:
        """Product and variant, as task runs are named."""
        return product_name(self.product_key, self.variant_key)


@dataclass(frozen=True, slots=True)
class EndingUrls:
    """Images that were paid for, are not permanent, and will be out of reach when their temporary URLs end."""

    number: int
    paid_micro: int
    nearest_end: datetime
    seconds_left: float
    named: tuple[tuple[Picture, datetime], ...]
    """The first of them with the end of each URL, the nearest first."""


def picture(engine: Engine, job_id: int) -> Picture:
    """The job with its current asset."""
    query = (
        select(ImageJob, Product, Asset, Attempt)
        .join(Product, col(ImageJob.product_id) == col(Product.id))
        .outerjoin(Asset, (col(Asset.job_id) == col(ImageJob.id)) & col(Asset.replaced_at).is_(None))
        .outerjoin(Attempt, col(Attempt.id) == col(Asset.attempt_id))
        .where(ImageJob.id == job_id)
    )
    with Session(engine) as session:
        return _picture(*session.exec(query).one())


def picture_of(claim: Claim, asset_id: int, stored: Stored, run_id: int) -> Picture:
    """What :func:`picture` would say of a job that was archived with this claim, and paid for by this run."""
    return replace(
        _picture(claim.job, claim.product), state=JobState.ARCHIVED, code=None, asset_id=asset_id,
        sha256=stored.sha256, width=stored.width, height=stored.height, run_id=run_id,
    )  # fmt: skip


def held_in_planning(engine: Engine, run_id: int, limit: int) -> list[Picture]:
    """Images that are held since this run because a photo cannot be read: no task run ever saw them."""
    # Not a join with the run's jobs: what is held so is little, and the index of states has it.
    began = select(Run.started_at).where(Run.id == run_id).scalar_subquery()
    of_run = exists().where(col(RunJob.run_id) == run_id, col(RunJob.job_id) == col(ImageJob.id))
    query = (
        select(ImageJob, Product)
        .join(Product, col(ImageJob.product_id) == col(Product.id))
        .where(ImageJob.state == JobState.HELD, ImageJob.code == Code.REFERENCE_UNAVAILABLE)
        .where(col(ImageJob.updated_at) >= began, of_run)
        .order_by(col(ImageJob.id))
        .limit(limit)
    )
    with Session(engine) as session:
        return [_picture(job, product) for job, product in session.exec(query)]


def ending_urls(engine: Engine, now: datetime, within: timedelta = NEAR_END) -> EndingUrls | None:
    """Received images whose temporary URL ends ``within`` this time from ``now``, and that nobody is bringing home at
    this moment; None if there are none. Those that have ended are for the rescue to settle."""
    near = (
        col(Generation.archived_at).is_(None),
        col(Generation.lost_at).is_(None),
        col(Generation.url).is_not(None),
        col(Generation.expires_at).between(now, now + within),
        col(ImageJob.claimed_by).is_(None),
    )
    counted = (
        select(func.count(), func.coalesce(func.sum(Attempt.cost_micro), 0))
        .select_from(Generation)
        .join(ImageJob, col(ImageJob.id) == col(Generation.job_id))
        .join(Attempt, col(Attempt.id) == col(Generation.attempt_id))
        .where(*near)
    )
    nearest = (
        select(ImageJob, Product, Generation.expires_at)
        .join(Generation, col(Generation.job_id) == col(ImageJob.id))
        .join(Product, col(ImageJob.product_id) == col(Product.id))
        .where(*near)
        .order_by(col(Generation.expires_at), col(Generation.id))
        .limit(NAMED)
    )
    with Session(engine) as session:
        number, paid = session.exec(counted).one()
        rows = session.exec(nearest).all()
    named = tuple((_picture(job, product), end) for job, product, end in rows if end is not None)
    if not named:
        return None
    end = named[0][1]
    return EndingUrls(number, int(paid), end, (end - now).total_seconds(), named)


def _picture(job: ImageJob, product: Product, asset: Asset | None = None, attempt: Attempt | None = None) -> Picture:
    known = Picture(
        job_key=job.key, state=job.state, code=job.code, catalog=product.catalog, product_key=product.product_key,
        variant_key=product.variant_key, sku=product.sku, shot=job.shot, variant=job.variant,
    )  # fmt: skip
    if asset is None or attempt is None:
        return known
    return replace(
        known, asset_id=asset.id, sha256=asset.sha256, width=asset.width, height=asset.height, run_id=attempt.run_id
    )  # fmt: skip
