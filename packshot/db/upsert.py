"""Many rows in one statement, also rows that another process may be inserting at this very moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Insert, case, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session, SQLModel

from packshot.db.tables import table_of

CHUNK = 900  # SQLite allows 32,766 parameters in a statement, older builds 999

T = TypeVar("T")


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in portions that fit into one statement's ``IN``."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def upsert(
    session: Session, table: type[SQLModel], key: Sequence[str], change: Sequence[str] = (), raised: Sequence[str] = ()
) -> Insert:
    """An INSERT for rows given as mappings. Where ``key``, a unique one, is there already, the columns ``change`` of
    that row take the new values, and ``raised`` those that are higher; without ``change`` it stays as it is. It is
    plain SQL, past the session's unit of work."""
    dialect = session.get_bind().dialect.name
    into = table_of(table)
    statement = postgresql_insert(into) if dialect == "postgresql" else sqlite_insert(into)
    if not change:
        return statement.on_conflict_do_nothing(index_elements=key)
    new, old = statement.excluded, into.c
    values: dict[str, Any] = {name: new[name] for name in change}
    values |= {name: case((new[name] > old[name], new[name]), else_=old[name]) for name in raised}
    return statement.on_conflict_do_update(index_elements=key, set_=values)


def one_at_a_time(session: Session, what: str) -> None:
    """Wait until no other transaction is at this. SQLite has one writer at a time anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))"), {"what": f"packshot {what}"})
