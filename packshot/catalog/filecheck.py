"""Is this a catalog at all? Answers before anything is parsed, because a web page parses as CSV without complaint."""

from __future__ import annotations

from packshot.catalog.source import Source
from packshot.errors import Code, ConfigError

HEAD = 1 << 16
ZIP, PARQUET = b"PK\x03\x04", b"PAR1"

_BINARY = (
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls), or one with a password: save it as .xlsx, without a password"),
    (b"BZh", "compressed with bzip2: unpack it first"),
    (b"\xfd7zXZ", "compressed with xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"),
    (b"%PDF", "a PDF document: export the catalog as CSV"),
    (b"SQLite format 3", "an SQLite database: export the table as CSV"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
)
WEB_PAGE = "is a web page (HTML), perhaps a login or error page saved in its place"
_ORDINARY_CONTROLS = b"\t\n\r\x0b\x0c\x1a\x1b"


def bad_catalog(name: object, what: str) -> ConfigError:
    """The error for a file that cannot be read as a catalog."""
    return ConfigError(Code.CATALOG_INVALID, f"{name} {what}")


def read_head(source: Source) -> bytes:
    """The first bytes of a file that may be a catalog.

    Raises:
        ConfigError: it is empty, unreadable, or plainly something else than a catalog.
    """
    try:
        with source.open() as file:
            head = file.read(HEAD)
    except OSError as error:
        raise bad_catalog(source.label, f"cannot be read: {error.strerror}") from None
    reason = _not_a_catalog(head)
    if reason:
        raise bad_catalog(source.label, reason)
    return head


def _not_a_catalog(head: bytes) -> str:
    if not head:
        return "is empty (0 bytes)"
    for magic, what in _BINARY:
        if head.startswith(magic):
            return f"is {what}"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not start:
        return "holds nothing but blanks"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself: run `git lfs pull`"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return WEB_PAGE
    if head.startswith((ZIP, PARQUET)):
        return ""
    controls = len(head) - len(head.translate(None, bytes(set(range(32)) - set(_ORDINARY_CONTROLS))))
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff")) or head.count(0) * 3 > len(head)
    if controls >= 8 and controls * 20 > len(head) and not wide:
        return "is a binary file, not text"
    return ""
