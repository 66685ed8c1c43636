"""A file as a stream of records: every cell is text, every record knows its number and physical line.

The standard library's ``csv`` reads cells well but says nothing about records that are too short, too long, cut off
at the end of the file or full of bytes that are no text. Those checks are made here, once for all formats.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from packshot.catalog.dialect import is_separator_line
from packshot.catalog.encoding import DAMAGED, MARK_DAMAGED
from packshot.errors import Code

CELL_MAX = 1 << 20
"""Characters in one cell. The module's own limit of 128 Ki is met by descriptions with pictures inside them."""
LINE_MAX = 8 << 20
"""Characters in one physical line; the rest of a longer one is skipped, so that no file can fill the memory."""


@dataclass(frozen=True, slots=True)
class Record:
    """A data record that could be read: ``number`` from 1, ``line`` is the physical line it began on."""

    source: str
    number: int
    line: int
    cells: tuple[str, ...]

    @property
    def blank(self) -> bool:
        return not any(self.cells)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A data record that could not be read, and why."""

    source: str
    number: int
    line: int
    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class TextFile:
    """Where to read and as what; opens anew for each pass."""

    path: Path
    encoding: str

    @property
    def source(self) -> str:
        return self.path.name

    def open(self) -> TextIO:
        # newline="" keeps line ends as they are: csv needs them inside quoted cells, and CR-only files split right.
        return self.path.open(encoding=self.encoding, errors=MARK_DAMAGED, newline="")


class _Lines:
    """Physical lines for ``csv``, remembering what was wrong with those of the record being read."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self.number = 0
        self.ended = False
        self._fault: tuple[Code, str] | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LINE_MAX)
        if not line:
            self.ended = True
            raise StopIteration
        self.number += 1
        if len(line) == LINE_MAX and line[-1] not in "\r\n":
            self._fault = Code.BAD_FIELD, f"line {self.number} is longer than {LINE_MAX:,} characters"
            while (rest := self._text.readline(LINE_MAX)) and rest[-1] not in "\r\n":
                pass
        elif DAMAGED in line:
            self._fault = Code.BAD_TEXT, f"line {self.number} holds bytes that are no text in this encoding"
        elif "\x00" in line:
            self._fault = Code.BAD_TEXT, f"line {self.number} holds a NUL character"
        return line

    def take_fault(self) -> tuple[Code, str] | None:
        fault, self._fault = self._fault, None
        return fault


def _rows(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str], tuple[Code, str] | None]]:
    """(first line, stripped cells, fault) for each logical record, the header included."""
    csv.field_size_limit(max(csv.field_size_limit(), CELL_MAX))
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    while True:
        line = lines.number + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            # Reading goes on at the next line: if the cell was open by mistake, the rest of the file is saved.
            lines.take_fault()
            yield line, [], (Code.BAD_FIELD, f"the record is not readable as CSV: {error}")
            continue
        fault = lines.take_fault()
        if lines.ended:  # csv asked for more lines to finish this record: only a cell still open does that
            fault = Code.OPEN_QUOTE, f"a quoted cell that begins in this record (line {line}) never ends"
        yield line, cells, fault


def _header_and_rest(
    rows: Iterator[tuple[int, list[str], tuple[Code, str] | None]], delimiter: str
) -> tuple[list[str], tuple[Code, str] | None]:
    for _, cells, fault in rows:
        if fault or (any(cells) and not is_separator_line(delimiter.join(cells))):
            return cells, fault
    return [], None


def read_header(file: TextFile, delimiter: str) -> tuple[list[str], tuple[Code, str] | None]:
    """The first record that is not blank, and what is wrong with it, if anything."""
    with file.open() as text:
        return _header_and_rest(_rows(_Lines(text), delimiter), delimiter)


def table_records(file: TextFile, delimiter: str) -> Iterator[Record | Unreadable]:
    """The data records below the header, in file order; blank ones come as they are."""
    source = file.source
    with file.open() as text:
        rows = _rows(_Lines(text), delimiter)
        width = len(_header_and_rest(rows, delimiter)[0])
        for number, (line, cells, fault) in enumerate(rows, start=1):
            if fault:
                yield Unreadable(source, number, line, *fault)
            elif len(cells) != width and any(cells):
                yield Unreadable(source, number, line, Code.BAD_WIDTH, _width_message(len(cells), width))
            else:
                yield Record(source, number, line, tuple(cells))


def _width_message(found: int, wanted: int) -> str:
    few = "; a quote may be missing or misplaced" if found < wanted else "; a cell may hold an unquoted delimiter"
    return f"the record has {found} cells, the header {wanted}{few}"


def line_records(file: TextFile) -> Iterator[Record | Unreadable]:
    """One record a physical line, the line being its only cell."""
    source = file.source
    with file.open() as text:
        lines = _Lines(text)
        for number, line in enumerate(lines, start=1):
            fault = lines.take_fault()
            if fault:
                yield Unreadable(source, number, number, *fault)
            else:
                yield Record(source, number, number, (line.strip(),))
