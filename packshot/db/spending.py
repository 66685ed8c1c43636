"""Money of runs and days: reserved before a call, given back when it cost nothing, in the transaction of the call.

Everybody locks the run first, then the day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache

from sqlalchemy import Connection, bindparam, or_, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.dml import ReturningInsert

from packshot.db.tables import DailySpend, Run, table_of

_RUN, _DAY = table_of(Run), table_of(DailySpend)
_NO_LIMIT = 2**62

# Built once: putting a statement together costs more than running it.
_RESERVE = (
    update(_RUN)
    .where(_RUN.c.id == bindparam("of_id"))
    .where(or_(_RUN.c.max_cost_micro.is_(None), _RUN.c.spent_micro + bindparam("price") <= _RUN.c.max_cost_micro))
    .values(spent_micro=_RUN.c.spent_micro + bindparam("price"), calls=_RUN.c.calls + 1)
)
_SPENT_LESS = (
    update(_RUN)
    .where(_RUN.c.id == bindparam("of_id"))
    .values(spent_micro=_RUN.c.spent_micro - bindparam("price"), calls=_RUN.c.calls - bindparam("calls"))
)
_DAY_SPENT_LESS = (
    update(_DAY).where(_DAY.c.day == bindparam("of_day")).values(spent_micro=_DAY.c.spent_micro - bindparam("price"))
)
_DAY_SPENT_MORE = (
    update(_DAY)
    .where(_DAY.c.day == bindparam("of_day"), _DAY.c.spent_micro + bindparam("price") <= bindparam("most"))
    .values(spent_micro=_DAY.c.spent_micro + bindparam("price"))
)


@lru_cache(maxsize=2)
def _reserve_day(dialect: str) -> ReturningInsert[tuple[date]]:
    insert = postgresql_insert(_DAY) if dialect == "postgresql" else sqlite_insert(_DAY)
    total = _DAY.c.spent_micro + insert.excluded.spent_micro
    return insert.on_conflict_do_update(
        index_elements=["day"], set_={"spent_micro": total}, where=total <= bindparam("most")
    ).returning(_DAY.c.day)


def reserve(connection: Connection, run_id: int, day: date, price_micro: int, day_limit_micro: int | None) -> str:
    """Count one call and its price. Returns whose maximum forbids it, in words; then nothing was changed."""
    if not connection.execute(_RESERVE, {"of_id": run_id, "price": price_micro}).rowcount:
        return "this run"
    most = _NO_LIMIT if day_limit_micro is None else day_limit_micro
    if connection.execute(_DAY_SPENT_MORE, {"of_day": day, "price": price_micro, "most": most}).rowcount:
        return ""
    # The day's first call; or there is no room. Not for every call: SQLAlchemy compiles an upsert anew each time.
    row = {"day": day, "spent_micro": price_micro, "most": most}
    if price_micro <= most and connection.execute(_reserve_day(connection.dialect.name), row).first():
        return ""
    connection.execute(_SPENT_LESS, {"of_id": run_id, "price": price_micro, "calls": 1})
    return f"this day ({day}, UTC)"


def give_back(connection: Connection, run_id: int, began: datetime, price_micro: int) -> None:
    """Undo the reservation of a call that cost nothing; as a call it counts."""
    connection.execute(_SPENT_LESS, {"of_id": run_id, "price": price_micro, "calls": 0})
    connection.execute(_DAY_SPENT_LESS, {"of_day": began.astimezone(UTC).date(), "price": price_micro})
