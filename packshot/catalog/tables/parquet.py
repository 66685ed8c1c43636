"""Parquet files, in batches of rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.source import Source
from packshot.catalog.tables import TopRow
from packshot.catalog.tables.encoding import DAMAGED
from packshot.catalog.tables.text import unique_names
from packshot.errors import Code

_BATCH = 1000
_BYTES = "cell with bytes that are no text, read as empty, in column"


class ParquetFile:
    """A :class:`~packshot.catalog.tables.Table` of a Parquet file's rows; a record's line is its row, from 1."""

    kind = "Parquet"
    objects = False
    encoding = ""
    delimiter = ""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name, self.label = source.name, source.label
        self.notes: list[str] = []
        self._counted: list[str] = []
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            what = 'is a Parquet file, and reading one needs pyarrow: pip install --editable ".[parquet]"'
            raise bad_catalog(self.label, what) from None
        self._pyarrow = pyarrow
        try:
            with source.open() as stream, self._opened(stream) as file:
                self._rows: int = file.metadata.num_rows
                names = [str(name).strip() for name in file.schema_arrow.names]
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise bad_catalog(self.label, f"is a Parquet file that cannot be read: {_reason(error)}") from None
        self.header = unique_names(self.label, names)

    def _opened(self, stream: Any) -> Any:
        # Without pre-buffering only a batch's pages are in memory, not whole row groups.
        return self._pyarrow.parquet.ParquetFile(stream, pre_buffer=False, page_checksum_verification=True)

    def top(self) -> list[TopRow]:
        return [TopRow(0, self.header)]

    def begin_below(self, line: int) -> None:
        """The header is known: the file names its columns."""

    def records(self) -> Iterator[Record | Unreadable]:
        counts: Counter[str] = Counter()
        number = 0
        try:
            with self._source.open() as stream, self._opened(stream) as file:
                for batch in file.iter_batches(batch_size=_BATCH):
                    columns = [self._texts(batch.column(place), name, counts) for place, name in enumerate(self.header)]
                    # One column at least: a batch knows its rows even without any.
                    for cells in zip(*columns, strict=True):
                        number += 1
                        if any(DAMAGED in cell for cell in cells):
                            message = "the record holds bytes that are no text, or a date that no calendar has"
                            yield Unreadable(self.name, number, number, Code.BAD_TEXT, message, cells)
                        else:
                            yield Record(self.name, number, number, cells)
        except (self._pyarrow.ArrowException, OSError, ValueError) as error:
            message = f"row {number + 1:,} of {self._rows:,}: {_reason(error)}; the rest of the file was not read"
            yield Unreadable(self.name, number + 1, number + 1, Code.FILE_DAMAGED, message)
        for note in self._counted:
            self.notes.remove(note)
        self._counted = [f"{count:,} x {_BYTES} {name!r}" for name, count in counts.items()]
        self.notes += self._counted

    def _texts(self, column: Any, name: str, counts: Counter[str]) -> list[str]:
        """One column's cells as stripped text."""
        types = self._pyarrow.types
        kind = column.type
        if types.is_dictionary(kind):
            column, kind = column.dictionary_decode(), kind.value_type
        if types.is_timestamp(kind):
            # Python knows no nanoseconds, and a time zone's name may mean nothing to this machine.
            column = column.cast(self._pyarrow.timestamp("us", kind.tz and "UTC"), safe=False)
        try:
            values = column.to_pylist()
        except (ValueError, OverflowError):
            values = [_value_or_damage(value) for value in column]
        texts = []
        for value in values:
            text = _text(value)
            if text is None:
                counts[name] += 1
            texts.append((text or "").strip())
        return texts


def _value_or_damage(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):  # bytes that are no text, a date that no calendar has
        return DAMAGED


def _text(value: Any) -> str | None:
    """A cell; None for bytes that are no text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        # Older writers leave out that a column of bytes is text.
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    if isinstance(value, list | dict | tuple):
        return json.dumps(_json(value), ensure_ascii=False) if value else ""
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return ""
        # Numbers that may be missing are stored as floats by data frames: 4006381333931.0 is a barcode.
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else ""
    if isinstance(value, datetime):
        return (value.date() if value.time() == time() else value).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}"
    return str(value)


def _json(value: Any) -> Any:
    """Lists, structs and maps (lists of pairs) as JSON has them; bytes inside them are left out."""
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(pair, tuple) for pair in value):
            return {_scalar(name): _json(inner) for name, inner in value}
        return [_json(inner) for inner in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    return None if isinstance(value, bytes) else _scalar(value)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
