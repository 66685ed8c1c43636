"""The file that keeps refused records as they were, with the reasons: to be mended, and read again as a catalog.

A CSV file that spreadsheets open: UTF-8 with a byte order mark, and no cell that would be run as a formula, for
catalogs are written by strangers. A cell that begins with = + - @, a tab or a line end (after any apostrophes) gets one
apostrophe more at its front; reading the file as a catalog takes it away again, so nothing is changed by the detour.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.model import Reject
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.tables import Table, TopRow

COLUMNS = ("reject_line", "reject_code", "reject_reason")
"""They stand first: the cells of a record that is too wide go on to its right."""

JSON_COLUMN = "record"
"""The only column of a JSON catalog: the object's text."""

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def neutral(cell: str) -> str:
    """The cell, never a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def restored(cell: str) -> str:
    """What :func:`neutral` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


class RejectsWriter:
    """Writes records under the header of the catalog they come from."""

    def __init__(self, file: TextIO, tables: Sequence[Table], delimiter: str) -> None:
        self._csv = csv.writer(file, delimiter=delimiter, lineterminator="\r\n")
        self._places: dict[int, list[int | None]] = {}
        columns: dict[tuple[str, int], int] = {}
        for index, table in enumerate(tables):
            names = [JSON_COLUMN] if table.objects else table.header
            # A rejects file that is inspected itself brings its old reasons along: the new ones replace them.
            keys = [None if name in COLUMNS else (name, names[:place].count(name)) for place, name in enumerate(names)]
            self._places[index] = [None if key is None else columns.setdefault(key, len(columns)) for key in keys]
        self._width = len(columns)
        self._csv.writerow([*COLUMNS, *(neutral(name) for name, _ in columns)])

    def write(self, reject: Reject, table: int, cells: Sequence[str]) -> None:
        """``cells`` of the record as read, of the table with this number; surplus ones are kept at the end."""
        places = self._places[table]
        row = [""] * self._width
        end = self._width
        for place, cell in zip(places, cells, strict=False):
            if place is not None:
                row[place] = neutral(cell)
        if len(cells) < len(places):
            # Filled up, a record that lacks a cell would be read the next time, each cell in the wrong column.
            end = max((place + 1 for place in places[: len(cells)] if place is not None), default=0)
        surplus = map(neutral, cells[len(places) :])
        self._csv.writerow([str(reject.line), str(reject.code), neutral(reject.message), *row[:end], *surplus])


class RefusedCells:
    """Finds the cells of rejects, by reading the tables once more in step with the reader.

    Rejects do not carry their cells, which most who meet them have no use for. They come in file order, so memory is
    constant.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self._records = _numbered(tables)

    def of(self, reject: Reject) -> tuple[int, tuple[str, ...]]:
        """(number of the table, cells): each call must name a record behind the one before.

        Raises:
            ConfigError: it is not there any more.
        """
        for index, record in self._records:
            if (record.source, record.number) == (reject.source, reject.record):
                return index, record.cells
        raise bad_catalog(reject.source, f"was changed while it was read: record {reject.record} is not there any more")


def _numbered(tables: Sequence[Table]) -> Iterator[tuple[int, Record | Unreadable]]:
    for index, table in enumerate(tables):
        for record in table.records():
            yield index, record


def is_rejects_file(header: Iterable[str]) -> bool:
    """Was the file with this header written here?"""
    return set(COLUMNS) <= set(header)


class Mended:
    """A :class:`~packshot.catalog.tables.Table` out of a rejects file: the cells as they were before it was written."""

    def __init__(self, table: Table) -> None:
        self.name, self.label, self.kind, self.objects = table.name, table.label, table.kind, table.objects
        self.encoding, self.delimiter, self.notes = table.encoding, table.delimiter, table.notes
        self.header = [*map(restored, table.header)]
        self._table = table

    def top(self) -> list[TopRow]:
        return [TopRow(row.line, [*map(restored, row.cells)]) for row in self._table.top()]

    def begin_below(self, line: int) -> None:
        self._table.begin_below(line)

    def records(self) -> Iterator[Record | Unreadable]:
        for record in self._table.records():
            yield record._replace(cells=tuple(map(restored, record.cells)))
