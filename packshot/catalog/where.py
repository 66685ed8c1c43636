"""Which records the user wants at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from packshot.catalog.columns import missing_columns
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.tables import Table, TopRow
from packshot.catalog.text import one_line, shorten
from packshot.errors import Code

_SHOWN = 60

Begins = Callable[[tuple[str, ...]], bool]
"""Does a product begin with these cells?"""


def not_accepted(column: str, value: str, accepted: list[str]) -> str:
    """Why a record with this value is left out; empty when it is wanted."""
    unwanted = bool(accepted) and accepted[0].startswith("!")
    patterns = [pattern.removeprefix("!").strip().casefold() for pattern in accepted]
    folded = one_line(value).casefold()
    if any(fnmatchcase(folded, pattern) for pattern in patterns) is not unwanted:
        return ""
    return f"{column!r} is {shorten(one_line(value), _SHOWN)!r} (where: {', '.join(accepted)})"


class Selected:
    """A table of which only the records are wanted whose columns hold accepted values.

    ``begins``: made for each reading, tells whether a product begins with these cells; an empty cell of a further row
    then means what the product's rows above it say. None: an empty cell is empty.
    """

    def __init__(self, table: Table, where: dict[str, list[str]], begins: Callable[[], Begins] | None) -> None:
        self.name, self.label, self.kind, self.objects = table.name, table.label, table.kind, table.objects
        self.encoding, self.delimiter, self.notes, self.header = (
            table.encoding,
            table.delimiter,
            table.notes,
            table.header,
        )
        self._table = table
        self._begins = begins
        missing = [column for column in where if column not in table.header]
        if missing:
            raise missing_columns(table.label, missing, table.header)
        self._where = [(table.header.index(column), column, accepted) for column, accepted in where.items()]

    def top(self) -> list[TopRow]:
        return self._table.top()

    def begin_below(self, line: int) -> None:
        self._table.begin_below(line)

    def records(self) -> Iterator[Record | Unreadable]:
        begins = self._begins() if self._begins else None
        above: dict[int, str] = {}
        for record in self._table.records():
            if isinstance(record, Unreadable) or record.blank:
                yield record
                continue
            if begins and begins(record.cells):
                above.clear()
            reason = ""
            for place, column, accepted in self._where:
                value = record.cells[place]
                if begins:
                    value = above[place] = value or above.get(place, "")
                reason = reason or not_accepted(column, value, accepted)
            yield Unreadable(*record[:3], Code.NOT_SELECTED, reason, record.cells) if reason else record
