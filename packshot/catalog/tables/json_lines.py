"""JSON lines: one object a physical line."""

from __future__ import annotations

from collections.abc import Iterator

from packshot.catalog.records import Record, Unreadable
from packshot.catalog.source import Source
from packshot.catalog.tables import TopRow
from packshot.catalog.tables.json_text import keys_of
from packshot.catalog.tables.text import Lines, TextFile


class JsonLines:
    """A :class:`~packshot.catalog.tables.Table` of JSON objects, one a line."""

    kind = "JSON lines"
    objects = True
    delimiter = ""

    def __init__(self, source: Source, encoding: str) -> None:
        self._file = TextFile(source, encoding)
        self.name, self.label = source.name, source.label
        self.encoding = encoding
        self.notes: list[str] = []
        self.header: list[str] = []

    def top(self) -> list[TopRow]:
        return [TopRow(0, keys_of(self.label, self.records()))]

    def begin_below(self, line: int) -> None:
        self.header = keys_of(self.label, self.records())

    def records(self) -> Iterator[Record | Unreadable]:
        with self._file.open("\n") as text:
            lines = Lines(text)
            for number, line in enumerate(lines, start=1):
                fault = lines.take_fault()
                if fault:
                    yield Unreadable(self.name, number, number, *fault, (line.strip()[:1000],))
                else:
                    yield Record(self.name, number, number, (line.strip(),))
