"""Delimited text: CSV, tab-separated and the like.

The standard library's ``csv`` reads cells well but says nothing about records that are too short, too long, cut off
at the end of the file or full of bytes that are no text. Those checks are made here, once for all formats.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TextIO

from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.source import Source
from packshot.catalog.tables import TOP, TopRow
from packshot.catalog.tables.dialect import find_delimiter, is_separator_line
from packshot.catalog.tables.encoding import DAMAGED, MARK_DAMAGED
from packshot.errors import Code

CELL_MAX = 1 << 20
"""Characters in one cell. The module's own limit of 128 Ki is met by descriptions with pictures inside them."""
LINE_MAX = 8 << 20
"""Characters in one physical line; the rest of a longer one is skipped, so that no file can fill the memory."""
SAMPLE = 1 << 16
_BLOCK = 1 << 16
_LINE_END = re.compile("\r\n?|\n")

# Google's attributes that text feeds may repeat instead of listing their values in one cell (support.google.com,
# merchants, answer 160567).
_REPEATABLE = re.compile(
    r"\b(additional_image_link|product_highlight|product_detail|product_type|shipping|tax|certification)\b",
    re.IGNORECASE,
)

Fault = tuple[Code, str]


@dataclass(frozen=True, slots=True)
class TextFile:
    """Where to read and as what; opens anew for each pass."""

    source: Source
    encoding: str

    @property
    def name(self) -> str:
        return self.source.name

    def open(self, newline: str = "") -> TextIO:
        """Line ends stay as they are: csv needs them inside quoted cells, and CR-only files split right. With the
        ``newline`` "\\n" they are not even looked for, which :class:`Lines` does itself."""
        return io.TextIOWrapper(self.source.open(), encoding=self.encoding, errors=MARK_DAMAGED, newline=newline)


class Lines:
    """Physical lines for ``csv``, remembering what was wrong with those of the record being read.

    They are looked at in blocks; only a block in which something is wrong is looked at line by line.
    """

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._before = 0  # lines in the blocks before this one
        self.ended = False
        self.fault: Fault | None = None

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._blocks())

    def _blocks(self) -> Iterator[Iterable[str]]:
        rest = ""  # the last line of a block, which the next one may go on with
        while block := self._text.read(min(max(_BLOCK, len(rest)), LINE_MAX)):  # a long line is not gone over often
            block = rest + block
            lines = _split(block)
            rest = "" if block[-1] == "\n" else lines.pop()  # behind "\r", too, a "\n" may follow
            is_endless = len(rest) >= LINE_MAX and rest[-1] != "\r"
            if is_endless:
                lines.append(rest)
                rest = self._behind_line()
            is_fine = not is_endless and "\x00" not in block and DAMAGED not in block
            yield lines if is_fine else self._looked_at(lines)
            self._before += len(lines)
        yield self._looked_at(_split(rest))
        self.ended = True

    def _behind_line(self) -> str:
        """Skip the rest of a line, and return what was read beyond its end."""
        while block := self._text.read(_BLOCK):
            if end := _LINE_END.search(block):
                return block[end.end() :]
        return ""

    def _looked_at(self, lines: list[str]) -> Iterator[str]:
        for number, line in enumerate(lines, start=self._before + 1):
            if len(line) >= LINE_MAX and line[-1] not in "\r\n":
                self.fault = Code.BAD_FIELD, f"line {number} is longer than {LINE_MAX:,} characters"
            elif DAMAGED in line:
                self.fault = Code.BAD_TEXT, f"line {number} holds bytes that are no text in this encoding"
            elif "\x00" in line:
                self.fault = Code.BAD_TEXT, f"line {number} holds a NUL character"
            yield line

    def take_fault(self) -> Fault | None:
        fault, self.fault = self.fault, None
        return fault


def _split(block: str) -> list[str]:
    """Lines as files have them. ``splitlines`` is quick, and would also split where these characters stand."""
    if any(sign in block for sign in "\v\f\x1c\x1d\x1e\x85\u2028\u2029"):
        return io.StringIO(block, newline="").readlines()
    return block.splitlines(keepends=True)


class DelimitedText:
    """A :class:`~packshot.catalog.tables.Table` of delimited text."""

    kind = "CSV"
    objects = False

    def __init__(self, source: Source, encoding: str, options: CatalogOptions) -> None:
        self._file = TextFile(source, encoding)
        self.name, self.label = source.name, source.label
        self.encoding = encoding
        self.notes: list[str] = []
        self.header: list[str] = []
        with self._file.open() as text:
            sample = text.read(SAMPLE + 1)
        self.delimiter = options.delimiter or find_delimiter(sample[:SAMPLE], whole=len(sample) <= SAMPLE)
        self._header_line = 0
        self._drop_surplus = options.on_bad_width == "drop_empty_surplus"

    def top(self) -> list[TopRow]:
        rows: list[TopRow] = []
        for record in self._records():
            if isinstance(record, Unreadable) and not rows:
                raise bad_catalog(self.label, f"has a header that cannot be read: {record.message}")
            if isinstance(record, Unreadable):
                break
            if any(record.cells) and not is_separator_line(self.delimiter.join(record.cells)):
                rows.append(TopRow(record.line, list(record.cells)))
            if len(rows) == TOP:
                break
        return rows

    def begin_below(self, line: int) -> None:
        for record in self._records():
            if record.line == line and isinstance(record, Unreadable):
                raise bad_catalog(self.label, f"has a header that cannot be read: {record.message}")
            if record.line == line:
                self._header_line, self.header = line, unique_names(self.label, record.cells)
                return
            if record.line > line:
                break
        raise bad_catalog(self.label, f"has no record that begins on line {line}, where its header was said to be")

    def records(self) -> Iterator[Record | Unreadable]:
        return self._records(self._header_line, len(self.header))

    def _records(self, below: int = 0, width: int | None = None) -> Iterator[Record | Unreadable]:
        """Logical records that begin below this line; of any width where none is asked for."""
        csv.field_size_limit(max(csv.field_size_limit(), CELL_MAX))
        source, strip, number, begins, more = self.name, str.strip, 0, 1, True
        with self._file.open("\n") as text:
            lines = Lines(text)
            reader = csv.reader(iter(lines), delimiter=self.delimiter, skipinitialspace=True)
            while more:
                try:
                    for row in reader:
                        line, begins = begins, reader.line_num + 1
                        fault = lines.take_fault() if lines.fault else None
                        if line <= below:
                            continue
                        number += 1
                        if lines.ended:  # csv asked for more lines to finish this record: only an open cell does that
                            told = f"a quoted cell that begins in this record (line {line}) never ends"
                            fault = Code.OPEN_QUOTE, told
                        cells = tuple(map(strip, row))
                        if fault:
                            yield Unreadable(source, number, line, *fault, cells)
                        elif width is None or len(cells) == width:
                            yield tuple.__new__(Record, (source, number, line, cells))
                        else:
                            yield self._misfit(number, line, cells, width)
                    more = False
                except csv.Error as error:
                    # Reading goes on at the next line: if the cell was open by mistake, the rest of the file is saved.
                    lines.take_fault()
                    line, begins = begins, reader.line_num + 1
                    if line > below:
                        number += 1
                        message = f"the record is not readable as CSV: {error}"
                        yield Unreadable(source, number, line, Code.BAD_FIELD, message)

    def _misfit(self, number: int, line: int, cells: tuple[str, ...], width: int) -> Record | Unreadable:
        if not any(cells):
            return Record(self.name, number, line, ())
        if self._drop_surplus and len(cells) > width and not any(cells[width:]):
            return Record(self.name, number, line, cells[:width])
        return Unreadable(self.name, number, line, Code.BAD_WIDTH, self._width_message(cells, width), cells)

    def _width_message(self, cells: tuple[str, ...], wanted: int) -> str:
        message = f"the record has {len(cells)} cells, the header {wanted}"
        if len(cells) < wanted:
            return f"{message}; a quote may be missing or misplaced"
        if any(cells[wanted:]):
            return f"{message}; a cell may hold an unquoted delimiter"
        return f"{message}; the surplus is empty: on_bad_width: drop_empty_surplus accepts it"


def unique_names(name: str, cells: tuple[str, ...] | list[str]) -> list[str]:
    """The header's cells; columns that product feeds may write several times are numbered: ``product_highlight (2)``.

    Raises:
        ConfigError: two other columns have the same name.
    """
    header: list[str] = []
    times: Counter[str] = Counter()
    for column in cells:
        times[column] += 1
        again = times[column] > 1 and _REPEATABLE.search(column)
        header.append(f"{column} ({times[column]})" if again else column)
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise bad_catalog(name, f"has two columns of the same name: {', '.join(map(repr, twice))}")
    return header
