"""What people ask the asset database, as plain rows ready for a table or for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, func, literal_column, text, union
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from packshot.db.tables import Asset, ImageJob, Product, Reject, Run, RunJob, Store
from packshot.db.types import JobState
from packshot.db.upsert import chunks
from packshot.errors import Code, code_of

_ASSET: tuple[Any, ...] = (
    col(Asset.id).label("asset_id"), col(Product.catalog), col(Product.product_key), col(Product.variant_key),
    col(Product.sku), col(Product.title), col(ImageJob.shot), col(ImageJob.variant),
    (col(Store.public_base_url) + "/" + col(Asset.key)).label("url"), col(Asset.bucket), col(Asset.key),
    col(Asset.sha256), col(Asset.bytes), col(Asset.mime), col(Asset.width), col(Asset.height),
    col(Asset.size_as_ordered), col(ImageJob.model), col(ImageJob.remark), col(ImageJob.key).label("job_key"),
    col(Asset.attempt_id), col(Asset.created_at),
)  # fmt: skip
"""What a list of assets says of each. Columns, not objects: prompts and the facts of a product are long."""


def job_states(engine: Engine, keys: Sequence[str]) -> dict[str, JobState]:
    """The states of the jobs with these keys, as far as the ledger knows them. What a person skipped is ``held``
    here: no run takes it up."""
    found: dict[str, JobState] = {}
    with Session(engine) as session:
        for chunk in chunks(keys):
            rows = session.exec(select(ImageJob.key, ImageJob.state, ImageJob.code).where(col(ImageJob.key).in_(chunk)))
            found |= {key: JobState.HELD if code == Code.SKIPPED else JobState(state) for key, state, code in rows}
    return found


def assets(
    engine: Engine,
    *,
    catalog: str = "",
    product: str = "",
    shot: str = "",
    run_id: int | None = None,
    limit: int | None = None,
    newest: bool = False,
) -> list[dict[str, Any]]:
    """Assets with what they show. ``product`` is a product key or a SKU.

    Each order is one that an index has, so that the first of a million come at once: ``newest`` first; a run's in the
    order of the run; a catalog's by product key; others as the products came, and the shots of each.
    """
    query = (
        select_columns(*_ASSET)
        .join(ImageJob, col(Asset.job_id) == col(ImageJob.id))
        .join(Product, col(ImageJob.product_id) == col(Product.id))
        .join(Store, col(Asset.bucket) == col(Store.bucket))
        .where(col(Asset.replaced_at).is_(None))
        .limit(limit)
    )
    order: list[Any] = [col(ImageJob.product_id), col(ImageJob.id)]
    if catalog:
        query = query.where(col(Product.catalog) == catalog)
        order = [col(Product.product_key), col(Product.variant_key), col(ImageJob.id)]
    if product:
        # Two look-ups, each in an index of its own: an OR of both beside joins is often read as a scan.
        ids = union(
            select_columns(col(Product.id)).where(col(Product.product_key) == product),
            select_columns(col(Product.id)).where(col(Product.sku) == product),
        )
        query = query.where(col(Product.id).in_(ids))
    if shot:
        query = query.where(col(ImageJob.shot) == shot)
    if run_id is not None:
        query = query.join(RunJob, col(RunJob.job_id) == col(ImageJob.id)).where(col(RunJob.run_id) == run_id)
        order = [col(RunJob.position)]
    if newest:
        order = [col(Asset.id).desc()]
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query.order_by(*order)).mappings()]
    return [row | {"created_at": row["created_at"].isoformat()} for row in rows]


def number_of_assets(engine: Engine, run_id: int) -> int:
    """How many assets the run's jobs have."""
    of_run = select(func.count()).select_from(Asset).join(RunJob, col(RunJob.job_id) == col(Asset.job_id))
    with Session(engine) as session:
        return session.exec(of_run.where(RunJob.run_id == run_id, col(Asset.replaced_at).is_(None))).one()


def runs(engine: Engine, limit: int = 20, run_id: int | None = None) -> list[dict[str, Any]]:
    """The latest runs, newest first, or one alone. Money in US dollars."""
    query = select(Run).order_by(col(Run.id).desc()).limit(limit)
    with Session(engine) as session:
        rows = session.exec(query if run_id is None else query.where(Run.id == run_id)).all()
    return [run_facts(run) for run in rows]


def run_facts(run: Run) -> dict[str, Any]:
    """One run as plain values; dollars instead of micro-dollars, times as ISO text."""
    facts = run.model_dump(mode="json", exclude={"spent_micro", "max_cost_micro"})
    facts["spent_usd"] = run.spent_micro / 1e6
    facts["max_cost_usd"] = None if run.max_cost_micro is None else run.max_cost_micro / 1e6
    return facts


def rejects(engine: Engine, run_id: int | None = None) -> list[dict[str, Any]]:
    """What a run's catalog reading refused; without ``run_id``, of the latest run."""
    with Session(engine) as session:
        run_id = run_id if run_id is not None else session.exec(select(func.max(Run.id))).one()
        rows = session.exec(select(Reject).where(Reject.run_id == run_id).order_by(col(Reject.id))).all()
    return [row.model_dump(mode="json") | {"next_step": code_of(row.code).next_step} for row in rows]


def unfinished(engine: Engine, run_id: int | None = None) -> list[dict[str, Any]]:
    """A run's jobs that are not archived, each with its reason; without ``run_id``, of the latest run."""
    latest = select(func.max(Run.id)).scalar_subquery()
    unarchived = col(RunJob.outcome) != literal_column("'archived'")  # as the index of these has it
    # Columns, not objects: a run that stopped early has thousands of these, and prompts are long.
    columns: tuple[Any, ...] = (
        col(RunJob.outcome), col(Product.product_key), col(Product.variant_key), col(ImageJob.shot),
        col(ImageJob.variant), col(RunJob.code), col(ImageJob.message), col(ImageJob.key).label("job_key"),
    )  # fmt: skip
    query = (
        select_columns(*columns)
        .join(ImageJob, col(RunJob.job_id) == col(ImageJob.id))
        .join(Product, col(ImageJob.product_id) == col(Product.id))
        .where(col(RunJob.run_id) == (latest if run_id is None else run_id), unarchived)
        .order_by(col(RunJob.position))
    )
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [row | {"next_step": code_of(row["code"]).next_step if row["code"] else "run again"} for row in rows]


def lineage(engine: Engine, asset_id: int) -> dict[str, Any] | None:
    """One row of the view ``asset_lineage``: the object, the call that made it, the job, the product."""
    with engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM asset_lineage WHERE asset_id = :id"), {"id": asset_id}).first()
    return dict(row._mapping) if row else None
