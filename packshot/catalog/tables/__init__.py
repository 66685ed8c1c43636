"""From a file to records: what kind of file it is, and where its header stands.

A further kind of file is a module with a class like :class:`Table`, and a line in ``open_table``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from packshot.catalog.records import Record, Unreadable

TOP = 10
"""Rows at the beginning of a file among which its header is looked for."""


class TopRow(NamedTuple):
    """One of the first rows of a file: the physical line (or row) it begins on, and its stripped cells."""

    line: int
    cells: list[str]


class Table(Protocol):
    """Records below a header, from any kind of file; ``records`` may be called again and again."""

    name: str
    """As rows call the file."""
    label: str
    """As messages call it."""
    kind: str
    """For people: ``CSV``, ``Excel workbook``..."""
    encoding: str
    """Empty where the kind of file leaves no choice; so is ``delimiter``."""
    delimiter: str
    notes: list[str]
    """What had to be guessed or left out."""
    header: list[str]
    """The columns' names, stripped; for JSON the keys of the first objects. Known once ``begin_below`` was called."""
    objects: bool
    """True for JSON: a record's only cell is an object's text."""

    def top(self) -> list[TopRow]:
        """The first rows that may be the header, at most TOP, blank ones left out."""

    def begin_below(self, line: int) -> None:
        """The row that begins on this line is the header.

        Raises:
            ConfigError: it cannot be one (a name twice, an open quote...), or there is no such row.
        """

    def records(self) -> Iterator[Record | Unreadable]:
        """The data records below the header, in file order; blank ones come as they are.

        Memory does not grow with the file.
        """
