"""What every kind of file is read as: records that know where they stood."""

from __future__ import annotations

from typing import NamedTuple

from packshot.errors import Code

NO_COLUMN = ("",)
"""Put behind a record's cells: what the table has no column for is read from there."""


# Named tuples, not dataclasses: a million of them are made in a second less.
class Record(NamedTuple):
    """A data record that could be read: ``number`` from 1, ``line`` is the physical line (or row) it began on.

    ``cells`` are stripped, and as many as the header has; a record of a JSON file has one cell, its text.
    """

    source: str
    number: int
    line: int
    cells: tuple[str, ...]

    @property
    def blank(self) -> bool:
        return not any(self.cells)


class Unreadable(NamedTuple):
    """A data record that is refused before any format looks at it, and why."""

    source: str
    number: int
    line: int
    code: Code
    message: str
    cells: tuple[str, ...] = ()
    """What could be read of it."""
