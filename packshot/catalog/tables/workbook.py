"""Excel workbooks: one sheet is a table."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

from packshot.catalog.columns import listed
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.source import Source
from packshot.catalog.tables import TOP, TopRow
from packshot.catalog.tables.encoding import MARK_DAMAGED
from packshot.catalog.tables.text import unique_names
from packshot.catalog.tables.workbook_cells import ERROR, Raw, iso_text, number_text, unescaped
from packshot.catalog.tables.workbook_package import DTD_REFUSED, Package, Sheet, read_package
from packshot.catalog.tables.workbook_sheet import ROW_TEXT_MAX, Row, sheet_rows
from packshot.catalog.tables.xml_stream import MARK, DoctypeFound, XmlFault
from packshot.errors import Code

_ERRORS = "cell that holds an error such as #N/A, read as empty"
_UNCACHED = "cell with a formula whose result was never saved, read as empty: open the file in Excel and save it"
_BEYOND = "cell to the right of the header's last column, left out"

IsHeader = Callable[[list[str]], bool]


class Workbook:
    """A :class:`~packshot.catalog.tables.Table` of one sheet; a record's line is the sheet's row.

    Rows below the last one that holds anything are no records: Excel keeps the borders of a million of them. Blank
    rows between records count as blank. Merged cells: the first one holds the value, the others are empty.

    ``is_header`` tells whether these cells can be a catalog's header; it chooses among the visible sheets.
    """

    kind = "Excel workbook"
    objects = False
    encoding = ""
    delimiter = ""

    def __init__(self, source: Source, options: CatalogOptions, is_header: IsHeader) -> None:
        self._source = source
        self.name, self.label = source.name, source.label
        self._package: Package = read_package(source)
        self.notes: list[str] = []
        self._counted: list[str] = []
        self.header: list[str] = []
        self._header_row = 0
        self._sheet = self._choose(options, is_header)

    def _choose(self, options: CatalogOptions, is_header: IsHeader) -> Sheet:
        sheets = self._package.sheets
        visible = [sheet for sheet in sheets if sheet.visible]
        wanted = options.sheet.strip().casefold()
        if wanted:
            named = [sheet for sheet in sheets if sheet.name.strip().casefold() == wanted]
            if not named:
                found = listed(sheet.name for sheet in visible)
                raise bad_catalog(self.label, f"has no sheet {options.sheet!r}. Found: {found}")
            return named[0]
        if not visible:
            raise bad_catalog(self.label, "has no visible sheet; the option `sheet` opens a hidden one by its name")
        chosen = None
        filled = []
        for sheet in visible:
            rows = [row for row in self._top(sheet) if options.header_row in (0, row.line)]
            filled += [sheet] if rows else []
            if any(is_header(row.cells) for row in rows):
                chosen = sheet
                break
        chosen = chosen or (filled or visible)[0]
        others = [sheet.name for sheet in sheets if sheet is not chosen]
        if others:
            self.notes.append(f"the sheet {chosen.name!r} was read; the option `sheet` chooses: {listed(others)}")
        return chosen

    def top(self) -> list[TopRow]:
        return self._top(self._sheet)

    def _top(self, sheet: Sheet) -> list[TopRow]:
        return list(islice(self._filled(sheet), TOP))

    def _filled(self, sheet: Sheet) -> Iterator[TopRow]:
        """Rows that hold anything; the ones that can be read."""
        none_yet = True
        try:
            for number, cells in self._rows(sheet):
                if cells is None:
                    continue
                texts = [""] * (max(cells, default=-1) + 1)
                for column, cell in cells.items():
                    texts[column] = self._text_or_nothing(cell)
                while texts and not texts[-1]:
                    texts.pop()
                if texts:
                    none_yet = False
                    yield TopRow(number, texts)
        except XmlFault as fault:
            if none_yet:  # below rows that could be read a reject says so
                raise bad_catalog(
                    self.label, f"has a sheet {sheet.name!r} that cannot be read: {fault.reason}"
                ) from None

    def begin_below(self, line: int) -> None:
        for row in self._filled(self._sheet):
            if row.line == line:
                self.header, self._header_row = unique_names(self.label, row.cells), line
                return
        raise bad_catalog(self.label, f"has nothing in row {line} of the sheet {self._sheet.name!r}")

    def records(self) -> Iterator[Record | Unreadable]:
        counts: Counter[str] = Counter()
        number, expected = 0, self._header_row + 1
        below = False
        try:
            for line, cells in self._rows(self._sheet):
                if not below:
                    below = line == self._header_row
                    continue
                texts, fault = self._cells(cells, line, counts)
                if not fault and not any(texts):
                    continue
                # Rows that are missing, or hold nothing, are known to be blank records once another one follows.
                for blank in range(expected, line):
                    number += 1
                    yield Record(self.name, number, blank, ())
                number += 1
                expected = line + 1
                if fault:
                    yield Unreadable(self.name, number, line, *fault, texts)
                else:
                    yield Record(self.name, number, line, texts)
        except XmlFault as error:
            message = f"below row {expected - 1}: {error.reason}; the rest of the sheet was not read"
            yield Unreadable(self.name, number + 1, expected, Code.FILE_DAMAGED, message)
        self._tell(counts)

    def _tell(self, counts: Counter[str]) -> None:
        """The counts of the latest whole pass become notes, in the place of those of the one before."""
        for note in self._counted:
            self.notes.remove(note)
        self._counted = [f"{count:,} x {what}" for what, count in counts.items() if count]
        self.notes += self._counted

    def _rows(self, sheet: Sheet) -> Iterator[Row]:
        try:
            with (
                self._source.open() as file,
                zipfile.ZipFile(file) as archive,
                archive.open(sheet.part) as member,
                io.TextIOWrapper(member, encoding="utf-8-sig", errors=MARK_DAMAGED, newline="") as text,
            ):
                yield from sheet_rows(text)
                while member.read(1 << 20):  # the ZIP's checksum is compared at the end
                    pass
        except DoctypeFound:
            raise bad_catalog(self.label, DTD_REFUSED) from None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise XmlFault(0, f"the file is damaged ({error})") from None

    def _cells(
        self, cells: dict[int, Raw] | None, line: int, counts: Counter[str]
    ) -> tuple[tuple[str, ...], tuple[Code, str] | None]:
        """The row's texts under the header, and why it cannot be taken."""
        if cells is None:
            return (), (Code.BAD_FIELD, f"the row is longer than {ROW_TEXT_MAX:,} characters")
        width = len(self.header)
        texts = [""] * width
        fault = None
        for column, cell in cells.items():
            if column >= width:
                counts[_BEYOND] += 1 if cell.value.strip() else 0
                continue
            if cell.type == ERROR or cell.uncached:
                counts[_ERRORS if cell.type == ERROR else _UNCACHED] += 1
                continue
            try:
                texts[column] = self._text(cell)
            except ValueError as error:
                fault = Code.BAD_FIELD, f"column {self.header[column]!r}: {error}"
            if MARK in texts[column]:
                fault = Code.BAD_TEXT, f"column {self.header[column]!r} holds characters that are no text"
        return tuple(texts), fault

    def _text_or_nothing(self, cell: Raw) -> str:
        try:
            return "" if cell.type == ERROR else self._text(cell)
        except ValueError:
            return ""

    def _text(self, cell: Raw) -> str:
        """The cell as stripped text.

        Raises:
            ValueError: it holds what its type cannot be.
        """
        value = cell.value
        if not value.strip():
            return ""
        if cell.type == "n":
            styles = self._package.styles
            if cell.style >= len(styles):
                raise ValueError(f"the cell has a style {cell.style} that the workbook does not have")
            return number_text(value.strip(), styles[cell.style], self._package.epoch)
        if cell.type == "s":
            place, texts = int(value), self._package.texts
            if not 0 <= place < len(texts):
                raise ValueError(f"the cell refers to a text {place} that the workbook does not have")
            return unescaped(texts[place]).strip()
        if cell.type == "b":
            return "true" if value.strip() == "1" else "false"
        if cell.type == "d":
            return iso_text(value.strip())
        return unescaped(value).strip()
