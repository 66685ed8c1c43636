"""A table, a view or a query of a database, read only and page by page.

Each page is a short transaction of its own that begins after the last key of the page before: no cursor stays open
while pictures are planned, and memory does not grow with the table. That needs a column (or a primary key) whose
values are never empty and never the same, which is checked before the first record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    Row,
    TableClause,
    TextClause,
    bindparam,
    column,
    func,
    inspect,
    or_,
    select,
    table,
    text,
    tuple_,
)  # fmt: skip
from sqlalchemy.sql import quoted_name
from sqlalchemy.types import NullType

from packshot.catalog.columns import listed, missing_columns
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.tables import TopRow
from packshot.catalog.tables.database import ReadOnlyDatabase, cell_text
from packshot.catalog.tables.encoding import DAMAGED
from packshot.catalog.tables.text import unique_names
from packshot.catalog.text import one_line, shorten
from packshot.did_you_mean import did_you_mean
from packshot.errors import Code

PAGE = 500
"""Rows at once."""
_READS = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:SELECT|WITH)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class SqlSource:
    """A table or view of the database at ``url``, which may hold a password: it is in no text made of this object."""

    url: str = field(repr=False)
    table: str
    """``name`` or ``schema.name``; with a query, what the catalog is called."""
    second: bool = False
    """The catalog's other half: the query and the key column are not about it."""

    @property
    def name(self) -> str:
        return self.table

    @property
    def label(self) -> str:
        return f"sql:{self.table}"

    @property
    def stem(self) -> str:
        return self.table

    def open(self) -> BinaryIO:
        """Raises ConfigError: a table has no bytes; :class:`SqlTable` reads it."""
        raise bad_catalog(self.label, "is a table of a database, not a file")

    def beside(self, name: str) -> SqlSource:
        return SqlSource(self.url, name, second=True)


class SqlTable:
    """A :class:`~packshot.catalog.tables.Table` of a database's rows, in the order of their keys.

    Raises:
        ConfigError: there is no such table or column, no key to go by, or the database cannot be reached.
    """

    kind = "SQL"
    encoding = ""
    delimiter = ""
    objects = False

    def __init__(self, source: SqlSource, options: CatalogOptions) -> None:
        self.name, self.label = source.name, source.label
        self.notes: list[str] = []
        self._database = ReadOnlyDatabase(source.url, source.label)
        self._primary_key: list[str] = []
        query = "" if source.second else options.query
        with self._database.connection() as connection:
            self._rows: TextClause | TableClause = (
                self._query(query) if query else self._table(connection, source.table)
            )
            self._columns, _ = self._database.rows(connection, select(text("*")).select_from(self._rows).limit(0))
            self.header = unique_names(self.label, [name.strip() for name in self._columns])
            self._key = self._key_columns(options.key_column, source.second)
            self._check_keys(connection)

    def top(self) -> list[TopRow]:
        return [TopRow(0, self.header)]

    def begin_below(self, line: int) -> None:
        """The header is what it is."""

    def records(self) -> Iterator[Record | Unreadable]:
        for number, row in enumerate(self._pages(), start=1):
            cells = tuple([self._cell(place, value) for place, value in enumerate(row)])
            text_of_row = "".join(cells)
            if DAMAGED in text_of_row or "\x00" in text_of_row:
                message = f"row {number} holds a NUL character or bytes that are no text"
                yield Unreadable(self.name, number, number, Code.BAD_TEXT, message, cells)
            else:
                yield Record(self.name, number, number, cells)

    def _pages(self) -> Iterator[Row[Any]]:
        wanted = select(*map(_column, self._columns)).select_from(self._rows)
        wanted = wanted.order_by(*map(_column, self._key)).limit(PAGE)
        places = [self._columns.index(name) for name in self._key]
        page = wanted
        with self._database.connection() as connection:
            while True:
                _, rows = self._database.rows(connection, page)
                yield from rows
                if len(rows) < PAGE:
                    return
                page = wanted.where(self._after([rows[-1][place] for place in places]))

    def _after(self, last: list[Any]) -> ColumnElement[bool]:
        # Without a type nothing is cast on the way: the database compares the value it gave with its own column.
        values = [bindparam(None, value, type_=NullType()) for value in last]
        if len(values) == 1:
            return _column(self._key[0]) > values[0]
        return tuple_(*map(_column, self._key)) > tuple_(*values)

    def _cell(self, place: int, value: Any) -> str:
        found = cell_text(value)
        if found is None:
            note = f"column {self.header[place]!r} holds binary data, which is left out"
            self.notes += [note] if note not in self.notes else []
            return ""
        return found.strip()

    def _query(self, query: str) -> TextClause:
        if not _READS.match(query):
            raise bad_catalog(
                self.label, "has a query that is no SELECT (allowed: one that begins with SELECT or WITH)"
            )
        # On lines of its own, because the query may end in a comment; colons would be taken for parameters.
        inner = query.strip().rstrip(";").replace(":", r"\:")
        return text(f"(\n{inner}\n) AS catalog_rows")

    def _table(self, connection: Connection, typed: str) -> TableClause:
        with connection.begin():
            found = inspect(connection)
            name, schema = typed, None
            if not found.has_table(name) and "." in typed:
                schema, _, name = typed.partition(".")
            if not found.has_table(name, schema):
                names = [*found.get_table_names(schema), *found.get_view_names(schema)]
                raise bad_catalog(self.label, f"has no table or view {name!r}{did_you_mean(name, names)}")
            self._primary_key = found.get_pk_constraint(name, schema)["constrained_columns"]
        return table(quoted_name(name, quote=True), schema=schema)

    def _key_columns(self, named: str, second: bool) -> list[str]:
        if named and not (second and self._primary_key):
            if named not in self._columns:
                raise missing_columns(self.label, [named], self._columns)
            return [named]
        if not self._primary_key:
            what = "has no primary key to read it by, page by page: name a column whose values are all there and all"
            raise bad_catalog(self.label, f"{what} different with key_column. Found: {listed(self._columns)}")
        return self._primary_key

    def _check_keys(self, connection: Connection) -> None:
        """Rows without a key, or with the same one, could be left out between two pages."""
        key = [*map(_column, self._key)]
        empty = or_(*(part.is_(None) for part in key))
        twice = select(*key).select_from(self._rows).group_by(*key).having(or_(func.count() > 1, empty)).limit(1)
        _, rows = self._database.rows(connection, twice)
        if rows:
            shown = ", ".join(shorten(one_line(str(cell_text(value))), 60) or "empty" for value in rows[0])
            what = f"cannot be read by {', '.join(map(repr, self._key))}: {shown!r} is there more than once"
            if any(value is None for value in rows[0]):
                what = f"cannot be read by {', '.join(map(repr, self._key))}, which is empty in some rows"
            raise bad_catalog(self.label, f"{what}; name another column with key_column")


def _column(name: str) -> ColumnClause[Any]:
    return column(quoted_name(name, quote=True))
