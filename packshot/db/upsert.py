"""Many rows in one statement, also rows that another process may be inserting at this very moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from sqlalchemy import Insert, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session, SQLModel

CHUNK = 300  # of up to three parameters; SQLite allows 32,766 in a statement, older builds 999

T = TypeVar("T")


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in portions that fit into one statement's ``IN``."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def upsert(session: Session, table: type[SQLModel], key: Sequence[str], change: Sequence[str] = ()) -> Insert:
    """An INSERT for rows given as mappings. Where ``key``, a unique one, is there already, the columns ``change`` of
    that row take the new values; without ``change`` it stays as it is."""
    dialect = session.get_bind().dialect.name
    statement = postgresql_insert(table) if dialect == "postgresql" else sqlite_insert(table)
    if not change:
        return statement.on_conflict_do_nothing(index_elements=key)
    return statement.on_conflict_do_update(index_elements=key, set_={name: statement.excluded[name] for name in change})


def one_at_a_time(session: Session, what: str) -> None:
    """Wait until no other transaction is at this. SQLite has one writer at a time anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))"), {"what": f"packshot {what}"})
