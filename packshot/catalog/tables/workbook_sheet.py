"""One sheet of a workbook as a stream of rows: cells by their column, as they are stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TextIO

from packshot.catalog.tables.workbook_cells import Raw
from packshot.catalog.tables.xml_stream import XmlFault, XmlReader

ROWS_MAX, COLUMNS_MAX = 1_048_576, 16_384
"""Excel's own limits."""

ROW_TEXT_MAX = 8 << 20
_REFERENCE = re.compile(r"([A-Za-z]{1,3})(\d{1,7})")

Row = tuple[int, dict[int, Raw] | None]
"""(number of the sheet's row, column from 0 -> cell); None for a row of more than ROW_TEXT_MAX characters."""


class _Rows(XmlReader):
    def __init__(self) -> None:
        super().__init__()
        self.ready: list[Row] = []
        self.ended = False
        self.number = 0
        self._column = -1
        self._cells: dict[int, Raw] = {}
        self._size = 0
        self._inside_row = False
        self._type = ""
        self._style = 0
        self._formula = False
        self._value: list[str] = []
        self._taking = False
        self._phonetic = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "c" and self._inside_row:
            self._column = self._place(attributes.get("r", ""))
            self._type = attributes.get("t", "n")
            self._style = self._integer(attributes.get("s", "0"))
            self._formula = False
            self._value = []
        elif name in ("v", "t"):
            self._taking = not self._phonetic
        elif name == "f":
            self._formula = True
        elif name == "row":
            number = attributes.get("r")
            self.number = self._integer(number) if number else self.number + 1
            if not 0 < self.number <= ROWS_MAX:
                raise self._fault(f"row {self.number} is none that a sheet can have")
            self._cells, self._size, self._column, self._inside_row = {}, 0, -1, True
        elif name == "rPh":
            self._phonetic = True

    def text(self, data: str) -> None:
        if self._taking:
            self._size += len(data)
            if self._size <= ROW_TEXT_MAX:
                self._value.append(data)

    def end(self, name: str) -> None:
        name = name.rpartition(":")[2]
        if name in ("v", "t"):
            self._taking = False
        elif name == "c" and self._inside_row:
            self._cells[self._column] = Raw(self._type, self._style, "".join(self._value), self._formula)
        elif name == "row":
            self._inside_row = False
            self.ready.append((self.number, self._cells if self._size <= ROW_TEXT_MAX else None))
        elif name == "rPh":
            self._phonetic = False
        elif name == "sheetData":
            self.ended = True

    def _place(self, reference: str) -> int:
        if not reference:
            column = self._column + 1
        else:
            match = _REFERENCE.fullmatch(reference)
            if not match:
                raise self._fault(f"{reference[:40]!r} is no cell")
            column = 0
            for letter in match[1].upper():
                column = column * 26 + ord(letter) - 64
            column -= 1
        if column >= COLUMNS_MAX:
            raise self._fault(f"{reference or 'a cell'} stands beyond the columns that a sheet can have")
        return column

    def _integer(self, text: str) -> int:
        try:
            return int(float(text))
        except (ValueError, OverflowError):
            raise self._fault(f"{text[:40]!r} is no number") from None

    def _fault(self, reason: str) -> XmlFault:
        return XmlFault(self.number, reason)


def sheet_rows(stream: TextIO) -> Iterator[Row]:
    """The rows that the sheet stores, in its order; what follows its data is not parsed.

    Raises:
        XmlFault: there is no going on; its line is the number of the last row that was begun.
        DoctypeFound: the sheet's XML has a document type.
    """
    rows = _Rows()
    steps = rows.read(stream)
    while True:
        fault = None
        more = False
        try:
            more = next(steps, steps) is None
        except XmlFault as error:
            fault = error
        ready, rows.ready = rows.ready, []
        yield from ready
        if rows.ended:
            return
        if fault:
            raise XmlFault(rows.number, fault.reason)
        if not more:
            return
