"""The asset database. Money is integer micro-dollars, times are UTC-aware.

Tables are made by the Alembic migrations in this package; a test holds the two against each other.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, cast

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, String, Table, Text, UniqueConstraint, inspect, text
from sqlmodel import Field, SQLModel

from packshot.db.types import JobState, RunState, UtcDateTime


def _time(nullable: bool = True, index: bool = False) -> Any:
    """A column of its own for each field: SQLAlchemy columns cannot be shared."""
    return Field(
        default=None,
        sa_type=UtcDateTime,
        nullable=nullable,
        index=index,
    )


# Written as the queries say it: a partial index serves those only whose conditions imply its own.
_CURRENT = text("replaced_at IS NULL")
_UNFINISHED = text("outcome != 'archived'")
_OPEN = text("archived_at IS NULL AND lost_at IS NULL")


class Run(SQLModel, table=True):
    """One flow run. records = accepted + rejected + blank + continuation; planned = archived + failed + held."""

    id: int | None = Field(default=None, primary_key=True)
    catalog: str = Field(index=True)
    source: str = Field(sa_type=Text)
    parameters: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    flow_run_id: str | None = Field(default=None, index=True, description="Prefect's id of the flow run")
    state: str = Field(default=RunState.RUNNING, sa_type=String(16))
    code: str | None = Field(default=None, description="Why it was stopped")
    message: str = Field(default="", sa_type=Text)
    worker: str = Field(default="", description="The process that drives it")
    seen_at: datetime | None = _time()
    stop_requested_at: datetime | None = _time()
    stop_code: str | None = Field(default=None, description="Why one of its processes stopped, when it has several")
    stop_message: str = Field(default="", sa_type=Text)
    started_at: datetime = _time(nullable=False)
    ended_at: datetime | None = _time()
    records: int = 0
    accepted: int = 0
    rejected: int = 0
    blank: int = 0
    continuation: int = 0
    products_new: int = Field(default=0, description="Since earlier runs over this catalog, as far as it was read")
    products_changed: int = Field(default=0, description="In something that decides their pictures")
    products_same: int = 0
    products_refused: int | None = Field(default=None, description="Known before, and refused by this reading")
    products_gone: int | None = Field(default=None, description="Known before, and not in this reading")
    gone_unknown: str = Field(default="planning did not end", sa_type=Text, description="Why those two are empty")
    reading: str | None = Field(default=None, sa_type=String(16), description="How all of the catalog was read: a hash")
    planned: int = Field(default=0, description="Jobs that the catalog and the shot list ask for")
    already: int = Field(default=0, description="Of those, archived before this run began")
    archived: int = Field(default=0, description="Of those, archived when it ended, earlier ones included")
    failed: int = 0
    held: int = Field(default=0, description="Held for a person, or held back because the run stopped")
    calls: int = 0
    spent_micro: int = Field(default=0, sa_type=BigInteger, description="Reserved before each call, settled after it")
    max_cost_micro: int | None = Field(default=None, sa_type=BigInteger)


class Product(SQLModel, table=True):
    """One sellable thing of a catalog, as last read."""

    __table_args__ = (UniqueConstraint("catalog", "product_key", "variant_key"),)

    id: int | None = Field(default=None, primary_key=True)
    catalog: str
    product_key: str = Field(index=True)
    variant_key: str = ""
    sku: str | None = Field(default=None, index=True, description="May be missing or shared")
    title: str = Field(default="", sa_type=Text)
    category: str = Field(default="", sa_type=Text)
    brand: str = ""
    attributes: dict[str, str] = Field(default_factory=dict, sa_type=JSON)
    image_refs: list[str] = Field(default_factory=list, sa_type=JSON)
    picture: dict[str, Any] = Field(default_factory=dict, sa_type=JSON, description="Hashes of what decides pictures")
    first_run_id: int = Field(foreign_key="run.id")
    last_run_id: int = Field(foreign_key="run.id", description="The latest run that read it")
    gone_run_id: int | None = Field(default=None, foreign_key="run.id", description="While it is gone: who missed it")


class CatalogChange(SQLModel, table=True):
    """What a run found different in the catalog. A product without a row in a run was the same, or was not read."""

    __tablename__ = "catalog_change"

    run_id: int = Field(foreign_key="run.id", primary_key=True)
    product_id: int = Field(foreign_key="product.id", primary_key=True, index=True)
    change: str = Field(sa_type=String(16), description="new, changed, refused or gone")
    what: str = Field(default="", description="What of it changed; of a new one: back, if it was gone")


class Reject(SQLModel, table=True):
    """A catalog record that was refused, with the reason."""

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = Field(foreign_key="run.id", index=True)
    source: str = Field(sa_type=Text)
    record: int = Field(description="Counted from 1, the header not included")
    line: int = Field(description="Physical line it begins on")
    key: str | None = None
    code: str
    message: str = Field(sa_type=Text)


class ImageJob(SQLModel, table=True):
    """One image to make. ``key`` covers everything that decides the picture and is unique."""

    __tablename__ = "image_job"
    __table_args__ = (
        CheckConstraint(f"state in ({', '.join(repr(s.value) for s in JobState)})", name="image_job_state"),
        Index("ix_image_job_state_code", "state", "code", "updated_at", "id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True, sa_type=String(64))
    product_id: int = Field(foreign_key="product.id", index=True)
    shot: str
    variant: int
    model: str
    prompt: str = Field(sa_type=Text)
    aspect_ratio: str
    image_size: str
    reference_photos: list[dict[str, str]] = Field(default_factory=list, sa_type=JSON)
    shot_list_hash: str
    template_hash: str = Field(sa_type=String(12), description="Equal for prompts in the same words")
    template_version: int = Field(description="What the shot list calls that wording")
    state: str = Field(default=JobState.PLANNED, sa_type=String(16))
    code: str | None = Field(default=None, description="Why it failed, is held, or waits")
    message: str = Field(default="", sa_type=Text)
    remark: str = Field(default="", sa_type=Text, description="What it is made without: photos that cannot be read")
    claimed_by: str | None = None
    lease_until: datetime | None = _time()
    retry_at: datetime | None = _time()
    created_at: datetime = _time(nullable=False)
    updated_at: datetime = _time(nullable=False)


class RunJob(SQLModel, table=True):
    """A job that a run set out to make, and what became of it in that run."""

    __tablename__ = "run_job"
    __table_args__ = (
        UniqueConstraint("run_id", "position"),
        Index("ix_run_job_unfinished", "run_id", "position", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
    )

    run_id: int = Field(foreign_key="run.id", primary_key=True)
    job_id: int = Field(foreign_key="image_job.id", primary_key=True, index=True)
    position: int = Field(description="Order within the run; shards are ranges of it")
    outcome: str | None = Field(default=None, description="archived, failed or held; empty while open")
    code: str | None = None


class Attempt(SQLModel, table=True):
    """One API call: written before the call, settled after it. ``settled_at`` empty means: still in the air."""

    __table_args__ = (Index("ix_attempt_model_started_at", "model", "started_at"),)

    id: int | None = Field(default=None, primary_key=True)
    job_id: int = Field(foreign_key="image_job.id", index=True)
    run_id: int = Field(foreign_key="run.id", index=True)
    number: int = Field(description="1 for the job's first call")
    model: str
    wire_format: str
    price_micro: int = Field(description="Price of one call when it went out")
    spool_name: str = Field(
        default="", index=True, description="What its files in the spool of that machine begin with"
    )
    started_at: datetime = _time(nullable=False)
    settled_at: datetime | None = _time()
    code: str | None = Field(default=None, description="Empty on success")
    billed: str = Field(default="unknown", description="no, yes or unknown")
    cost_micro: int = Field(description="Booked: the price, or 0 when it was not billed")
    http_status: int | None = None
    request_ids: dict[str, str] = Field(default_factory=dict, sa_type=JSON)
    seconds: float | None = None
    in_flight: int = Field(default=0, description="Calls of this process in the air when it began, itself included")
    reconciled_at: datetime | None = _time()
    message: str = Field(default="", sa_type=Text)
    excerpt: str = Field(default="", sa_type=Text, description="Beginning of the raw answer, when it was an error")


class Generation(SQLModel, table=True):
    """What a paid call brought back: a temporary URL with its end; without one, the image is in the spool."""

    __table_args__ = (Index("ix_generation_open", "expires_at", sqlite_where=_OPEN, postgresql_where=_OPEN),)

    id: int | None = Field(default=None, primary_key=True)
    job_id: int = Field(foreign_key="image_job.id", index=True)
    attempt_id: int = Field(foreign_key="attempt.id", unique=True)
    url: str | None = Field(default=None, sa_type=Text)
    expires_at: datetime | None = _time()
    spool_name: str = Field(default="", description="What its files in the spool of that machine begin with")
    created_at: datetime = _time(nullable=False)
    archived_at: datetime | None = _time()
    archive_tries: int = 0
    lost_at: datetime | None = _time()


class Asset(SQLModel, table=True):
    """A permanent object. Its URL is the store's public base URL + / + key; the view ``asset_lineage`` has it whole.

    A job has one asset at a time. ``replaced_at`` marks those that a person had made anew: their objects remain.
    """

    __table_args__ = (
        Index("ix_asset_current", "job_id", unique=True, sqlite_where=_CURRENT, postgresql_where=_CURRENT),
    )

    id: int | None = Field(default=None, primary_key=True)
    job_id: int = Field(foreign_key="image_job.id", index=True)
    attempt_id: int = Field(foreign_key="attempt.id", unique=True)
    bucket: str = Field(foreign_key="store.bucket")
    key: str = Field(sa_type=String(1024))
    sha256: str = Field(index=True, sa_type=String(64))
    bytes: int
    mime: str
    width: int
    height: int
    size_as_ordered: bool = True
    created_at: datetime = _time(nullable=False)
    replaced_at: datetime | None = _time()


class DailySpend(SQLModel, table=True):
    """What all runs together spent on one day (UTC): reserved before each call, settled after it."""

    __tablename__ = "daily_spend"

    day: date = Field(primary_key=True)
    spent_micro: int = Field(default=0, sa_type=BigInteger)


class Timesheet(SQLModel, table=True):
    """Where the time of one process went while it made images of a run. Written whole, every few seconds; a run's
    figures are the sums over its sheets."""

    name: str = Field(primary_key=True, description="The process, and its work on this run")
    run_id: int = Field(foreign_key="run.id", index=True)
    began_at: datetime = _time(nullable=False)
    seen_at: datetime = _time(nullable=False)
    seconds: float = Field(description="From began_at to seen_at")
    cpu_seconds: float = Field(description="Of the processor, for this process as a whole")
    slots: int = Field(description="Calls at once that it may make")
    images: int = Field(description="Brought home")
    rate_limited: int = Field(description="Calls that were answered with 429")
    slot_seconds: dict[str, float] = Field(sa_type=JSON, description="What its slots did: five for 2 s are 10")
    steps: dict[str, dict[str, Any]] = Field(sa_type=JSON, description="times, seconds and classes of lengths of each")


class Store(SQLModel, table=True):
    """Where a bucket is today. Moving the images elsewhere changes this row, not a row for each asset."""

    bucket: str = Field(primary_key=True)
    endpoint_url: str = ""
    public_base_url: str = ""


def table_of(kind: type[SQLModel]) -> Table:
    """The plain table behind a class, for statements that need no objects."""
    mapper = inspect(kind)
    assert mapper is not None
    return cast(Table, mapper.local_table)
