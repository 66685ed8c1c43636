"""What a workbook consists of: its sheets, shared texts and number formats, by way of openpyxl.

A workbook is a ZIP of XML files. Their sizes are looked at before anything is unpacked, because openpyxl holds all
but the sheets in memory.
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, BinaryIO

from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.source import Source
from packshot.catalog.tables.workbook_cells import NumberFormat, digit_mask
from packshot.errors import ConfigError

CONTENT_TYPES = "[Content_Types].xml"
DTD_REFUSED = "is a workbook with a DTD or entities in it, which is refused"

_EMPTY_SHEET = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"/>'
_TOTAL_MAX = 4 << 30
_TEXTS_MAX = 256 << 20
_PART_MAX = 64 << 20
_RATIO_MAX, _RATIO_FROM = 200, 16 << 20
"""How much smaller a part may be in the ZIP, if it is longer than this: real sheets shrink to a fortieth at most."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet's name, where in the package it is, and whether people see it."""

    name: str
    part: str
    visible: bool


@dataclass(frozen=True, slots=True)
class Package:
    """A workbook without its sheets' cells."""

    sheets: list[Sheet]
    texts: list[str]
    """What cells of the type ``s`` refer to."""
    styles: list[NumberFormat]
    epoch: datetime
    """The day from which dates are counted."""


def zip_members(file: BinaryIO) -> set[str]:
    """The names in a ZIP; empty when it is none."""
    try:
        with zipfile.ZipFile(file) as archive:
            return set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return set()


def read_package(source: Source) -> Package:
    """Everything of a workbook but its cells.

    Raises:
        ConfigError: openpyxl is missing; the file is damaged, encrypted, or unpacks to more than a workbook can be.
    """
    try:
        import openpyxl
        from openpyxl.cell.read_only import ReadOnlyCell
        from openpyxl.styles.numbers import is_date_format, is_timedelta_format
    except ImportError:
        what = 'is an Excel workbook, and reading one needs openpyxl: pip install --editable ".[excel]"'
        raise bad_catalog(source.label, what) from None
    if not openpyxl.DEFUSEDXML:
        raise bad_catalog(source.label, "is not opened while OPENPYXL_DEFUSEDXML=False is set: it lets XML bombs in")
    with source.open() as file, tempfile.TemporaryFile() as skeleton:
        try:
            _copy_without_cells(source, file, skeleton)
            book: Any = openpyxl.load_workbook(skeleton, read_only=True, data_only=True, keep_links=False)
            sheets = book.worksheets
            texts: list[str] = sheets[0]._shared_strings if sheets else []
            found = [Sheet(sheet.title, sheet._worksheet_path, sheet.sheet_state == "visible") for sheet in sheets]
            codes = [
                str(ReadOnlyCell(sheets[0], 1, 1, None, "n", style).number_format)
                for style in range(len(book._cell_styles) if sheets else 0)
            ]
            styles = [
                NumberFormat(bool(is_date_format(code)), bool(is_timedelta_format(code)), digit_mask(code))
                for code in codes
            ]
            epoch = book.epoch
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - it meets a damaged file with whatever that trips it up with
            raise _unreadable(source, error) from None
    return Package(found, texts, styles, epoch)


def _copy_without_cells(source: Source, file: BinaryIO, skeleton: IO[bytes]) -> None:
    """The XML of a workbook, its sheets empty: openpyxl looks into each, and one damaged cell would cost the file.

    Sizes are those the ZIP declares: Python's zipfile unpacks no byte more.
    """
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(skeleton, "w") as copy:
        parts = [part for part in archive.infolist() if part.filename.lower().endswith((".xml", ".rels"))]
        _check_sizes(source, parts)
        for part in parts:
            data = _EMPTY_SHEET if _is_sheet(part) else archive.read(part)
            if b"<!DOCTYPE" in data:
                raise bad_catalog(source.label, DTD_REFUSED)
            copy.writestr(part.filename, data)


def _is_sheet(part: zipfile.ZipInfo) -> bool:
    return "/worksheets/" in part.filename.lower() and part.filename.lower().endswith(".xml")


def _check_sizes(source: Source, parts: list[zipfile.ZipInfo]) -> None:
    for part in parts:
        if part.flag_bits & 1:
            raise bad_catalog(source.label, "is encrypted: save it without a password")
        if part.file_size > _RATIO_FROM and part.file_size > _RATIO_MAX * part.compress_size:
            raise _bomb(source, f"{part.filename!r} to more than {_RATIO_MAX} times its size")
        texts = "sharedstrings" in part.filename.lower()
        limit = _TOTAL_MAX if _is_sheet(part) else _TEXTS_MAX if texts else _PART_MAX
        if part.file_size > limit:
            raise _bomb(source, f"{part.filename!r} to {part.file_size:,} bytes (allowed: {limit:,})")
    total = sum(part.file_size for part in parts)
    if total > _TOTAL_MAX:
        raise _bomb(source, f"to {total:,} bytes (allowed: {_TOTAL_MAX:,})")


def _bomb(source: Source, what: str) -> ConfigError:
    return bad_catalog(source.label, f"is not opened, because it unpacks {what}")


def _unreadable(source: Source, error: Exception) -> ConfigError:
    kind = type(error).__name__
    if kind in ("DTDForbidden", "EntitiesForbidden", "ExternalReferenceForbidden"):
        return bad_catalog(source.label, DTD_REFUSED)
    reason = " ".join(str(error).split())[:200] or kind
    return bad_catalog(
        source.label, f"is a workbook that cannot be read ({reason}): open it in Excel and save it again"
    )
