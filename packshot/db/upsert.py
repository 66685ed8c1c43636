"""Many rows in one statement, also rows that another process may be inserting at this very moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Insert, func, select, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session, SQLModel

from packshot.db.tables import table_of
from packshot.db.types import UtcDateTime

CHUNK = 900  # SQLite allows 32,766 parameters in a statement, older builds 999

T = TypeVar("T")


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in portions that fit into one statement's ``IN``."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def upsert(session: Session, table: type[SQLModel], key: Sequence[str], change: Sequence[str] = ()) -> Insert:
    """An INSERT for rows given as mappings. Where ``key``, a unique one, is there already, the columns ``change`` of
    that row take the new values; without ``change`` it stays as it is. It is plain SQL, past the session's unit of
    work."""
    dialect = session.get_bind().dialect.name
    into = table_of(table)
    statement = postgresql_insert(into) if dialect == "postgresql" else sqlite_insert(into)
    if not change:
        return statement.on_conflict_do_nothing(index_elements=key)
    return statement.on_conflict_do_update(index_elements=key, set_={name: statement.excluded[name] for name in change})


def add_rows(
    session: Session,
    table: type[SQLModel],
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    *,
    anew: bool = True,
) -> None:
    """INSERT rows that are given as the driver takes them: JSON as its text, times by :func:`stored_time`. SQLAlchemy
    would look at each value for longer than the database takes to store it. ``anew=False``: what is there stays as it
    is."""
    if not rows:
        return
    connection = session.connection()
    names, marks = _listed(connection, columns), ", ".join([_mark(connection)] * len(columns))
    unless = "" if anew else " ON CONFLICT DO NOTHING"
    insertion = f"INSERT INTO {table_of(table).name} ({names}) VALUES ({marks}){unless}"  # noqa: S608  (our own names)
    connection.exec_driver_sql(insertion, list(rows))


def change_rows(
    session: Session, table: type[SQLModel], columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """UPDATE of rows by their id, which is the last of the values; they are given as to :func:`add_rows`."""
    if not rows:
        return
    connection = session.connection()
    mark = _mark(connection)
    values = ", ".join([f"{_listed(connection, [name])} = {mark}" for name in columns])
    change = f"UPDATE {table_of(table).name} SET {values} WHERE id = {mark}"  # noqa: S608  (our own names)
    connection.exec_driver_sql(change, list(rows))


def with_list(session: Session, statement: str, *values: Any, among: Sequence[Any]) -> list[CursorResult[Any]]:
    """Results of a statement of plain SQL that ends in ``IN``: what follows is the list ``among``, in portions.
    ``values``: of its marks, which are written as ``?``. SQLAlchemy would take as long to write the list as the
    database takes to find what it names."""
    connection = session.connection()
    mark = _mark(connection)
    return [
        connection.exec_driver_sql(
            f"{statement.replace('?', mark)} ({', '.join([mark] * len(chunk))})", (*values, *chunk)
        )
        for chunk in chunks(among)
    ]


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.name == "sqlite" else "%s"


def _listed(connection: Connection, columns: Iterable[str]) -> str:
    return ", ".join(map(connection.dialect.identifier_preparer.quote, columns))


def stored_time(session: Session, time: datetime) -> Any:
    """As the driver takes it."""
    dialect = session.get_bind().dialect
    process = UtcDateTime().dialect_impl(dialect).bind_processor(dialect)
    return process(time) if process else time


def new_ids(session: Session, table: type[SQLModel], number: int) -> Sequence[int]:
    """Ids for new rows, so that nobody has to ask which ones they got. On SQLite for this transaction, which must be
    one that writes."""
    if not number:
        return ()
    into = table_of(table)
    if session.get_bind().dialect.name == "sqlite":
        last: int = session.execute(select(func.coalesce(func.max(into.c.id), 0))).scalar_one()
        return range(last + 1, last + 1 + number)
    of_sequence = select(func.nextval(func.pg_get_serial_sequence(into.name, "id")))
    return sorted(session.execute(of_sequence.select_from(func.generate_series(1, number))).scalars())


def one_at_a_time(session: Session, what: str) -> None:
    """Wait until no other transaction is at this. SQLite has one writer at a time anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))"), {"what": f"packshot {what}"})
