"""What was spent, on what, and what came of it. Reads only; micro-dollars inside, dollars in what it returns."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, Date, Engine, and_, case, cast, func
from sqlalchemy import select as select_columns
from sqlalchemy.orm import load_only
from sqlmodel import Session, col, select

from packshot.db.tables import Attempt, Generation, ImageJob, Product
from packshot.errors import Billed

By = Literal["run", "day", "shot", "model"]
BY: tuple[By, ...] = get_args(By)

_SETTLED = col(Attempt.settled_at).is_not(None)
_IMAGE = col(Generation.id).is_not(None)
_WITHOUT = and_(_SETTLED, col(Generation.id).is_(None))
_ARCHIVED = col(Generation.archived_at).is_not(None)
_LOST = col(Generation.lost_at).is_not(None)
_COST = col(Attempt.cost_micro)
_COUNTS: dict[str, ColumnElement[Any]] = {
    "calls": func.count(col(Attempt.id)),
    "images": func.count(col(Generation.id)),
    "not_billed": func.sum(case((and_(_WITHOUT, col(Attempt.billed) == Billed.NO), 1), else_=0)),
    "billed_without_image": func.sum(case((and_(_WITHOUT, col(Attempt.billed) == Billed.YES), 1), else_=0)),
    "unknown": func.sum(case((and_(_WITHOUT, col(Attempt.billed) == Billed.UNKNOWN), 1), else_=0)),
    "in_the_air": func.sum(case((~_SETTLED, 1), else_=0)),
    "archived": func.sum(case((_ARCHIVED, 1), else_=0)),
    "lost": func.sum(case((_LOST, 1), else_=0)),
}
_MONEY: dict[str, ColumnElement[Any]] = {
    "unknown": func.sum(case((and_(_WITHOUT, col(Attempt.billed) == Billed.UNKNOWN), _COST), else_=0)),
    "lost": func.sum(case((_LOST, _COST), else_=0)),
    "spent": func.sum(_COST),
}

_FOR_THE_LOG = (
    "id", "run_id", "model", "started_at", "settled_at", "code", "billed", "cost_micro", "request_ids",
)  # fmt: skip


def costs(
    engine: Engine,
    by: By = "run",
    since: datetime | None = None,
    until: datetime | None = None,
    run_id: int | None = None,
) -> list[dict[str, Any]]:
    """Calls and money of the calls that began in ``since <= time < until``, one row for each run, day (UTC)...

    ``calls`` = ``images`` (those that brought one) + ``not_billed`` + ``billed_without_image`` + ``unknown`` +
    ``in_the_air``. What is unknown or in the air is booked, hence part of ``spent_usd``. ``lost``: images whose
    temporary URL died. ``usd_per_archived`` is all that was spent, failures included, for each permanent image; None
    where there is none.
    """
    group = _group(engine, by)
    query = (
        select_columns(
            group.label(by),
            *(column.label(name) for name, column in _COUNTS.items()),
            *(column.label(f"{name}_micro") for name, column in _MONEY.items()),
        )
        .select_from(Attempt)
        .outerjoin(Generation, col(Generation.attempt_id) == col(Attempt.id))
        .group_by(group)
        .order_by(group)
    )
    if by == "shot":
        query = query.join(ImageJob, col(Attempt.job_id) == col(ImageJob.id))
    if run_id is not None:
        query = query.where(col(Attempt.run_id) == run_id)
    with engine.connect() as connection:
        query = query.where(*_period(connection, since, until))
        return [_with_dollars(by, dict(row)) for row in connection.execute(query).mappings()]


def total(rows: list[dict[str, Any]], by: By) -> dict[str, Any]:
    """One more row like those of :func:`costs`, with their sums."""
    sums = {name: sum(row[name] for row in rows) for name in _COUNTS}
    micro = {f"{name}_micro": sum(round(row[f"{name}_usd"] * 1e6) for row in rows) for name in _MONEY}
    return _with_dollars(by, {by: "total", **sums, **micro})


def refunds(engine: Engine, since: datetime | None = None, until: datetime | None = None) -> list[dict[str, Any]]:
    """Calls that were billed and brought no image, oldest first, as the provider's reimbursement plan asks for them."""
    query = (
        select(Attempt, ImageJob, Product)
        .join(ImageJob, col(Attempt.job_id) == col(ImageJob.id))
        .join(Product, col(ImageJob.product_id) == col(Product.id))
        .outerjoin(Generation, col(Generation.attempt_id) == col(Attempt.id))
        .where(_WITHOUT)
        .where(col(Attempt.billed) == Billed.YES, col(Attempt.code).is_not(None))
        .order_by(col(Attempt.started_at), col(Attempt.id))
    )
    with Session(engine) as session:
        return [
            {
                "started_at": attempt.started_at.isoformat(),
                # The gateway's own comes first; that is the one its support can look up.
                "request_id": next(iter(attempt.request_ids.values()), ""),
                "request_ids": attempt.request_ids,
                "model": attempt.model,
                "code": attempt.code,
                "cost_usd": attempt.cost_micro / 1e6,
                "product_key": product.product_key,
                "variant_key": product.variant_key,
                "shot": job.shot,
                "run_id": attempt.run_id,
                "attempt_id": attempt.id,
            }
            for attempt, job, product in session.exec(query.where(*_period(session, since, until)))
        ]


def attempts_between(engine: Engine, since: datetime, until: datetime) -> list[Attempt]:
    """The calls that began in ``since <= time < until``, with what it takes to find them in the provider's log."""
    needed = load_only(*(getattr(Attempt, name) for name in _FOR_THE_LOG))
    with Session(engine) as session:
        return list(session.exec(select(Attempt).where(*_period(session, since, until)).options(needed)).all())


def _period(
    connection: Connection | Session, since: datetime | None, until: datetime | None
) -> list[ColumnElement[bool]]:
    """Naming every model leaves no call out, and lets the index of models and times serve. (One of times alone would
    also serve the forecast badly: of a model that is new, it would be read from end to end.)"""
    if since is None and until is None:
        return []
    began = col(Attempt.started_at)
    bounds = [*([began >= since] if since else []), *([began < until] if until else [])]
    return [col(Attempt.model).in_(_models(connection)), *bounds]


def _models(connection: Connection | Session) -> list[str]:
    """The models that calls were made of: one look into the index for each, however many calls there are."""
    found = [""]
    while following := connection.scalar(select(func.min(Attempt.model)).where(col(Attempt.model) > found[-1])):
        found.append(following)
    return found


def _group(engine: Engine, by: By) -> Any:
    match by:
        case "run":
            return col(Attempt.run_id)
        case "shot":
            return col(ImageJob.shot)
        case "model":
            return col(Attempt.model)
        case "day":
            began = col(Attempt.started_at)
            if engine.dialect.name == "postgresql":
                return cast(func.timezone("UTC", began), Date)
            return func.date(began)  # SQLite stores UTC


def _with_dollars(by: By, row: dict[str, Any]) -> dict[str, Any]:
    money = {f"{name}_usd": int(row[f"{name}_micro"]) / 1e6 for name in _MONEY}
    counts = {name: int(row[name]) for name in _COUNTS}
    archived = counts["archived"]
    key = row[by] if isinstance(row[by], int) else str(row[by])
    per_image = round(int(row["spent_micro"]) / archived / 1e6, 6) if archived else None
    return {by: key, **counts, **money, "usd_per_archived": per_image}
