"""Is this a catalog at all? Answers before anything is parsed, because a web page parses as CSV without complaint."""

from __future__ import annotations

import re
from pathlib import Path

from packshot.errors import Code, ConfigError

HEAD = 1 << 16

_BINARY = (
    (b"PK\x03\x04", "an Excel workbook or ZIP archive: save the sheet as CSV, or unpack the archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save the sheet as CSV"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"BZh", "compressed with bzip2: unpack it first"),
    (b"\xfd7zXZ", "compressed with xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"),
    (b"%PDF", "a PDF document: export the catalog as CSV"),
    (b"PAR1", "a Parquet file: export it as CSV or JSON lines"),
    (b"SQLite format 3", "an SQLite database: export the table as CSV"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
)
_ORDINARY_CONTROLS = b"\t\n\r\x0b\x0c\x1a\x1b"


def bad_catalog(path: Path, what: str) -> ConfigError:
    """The error for a file that cannot be read as a catalog."""
    return ConfigError(Code.CATALOG_INVALID, f"{path} {what}")


def read_head(path: Path) -> bytes:
    """The first bytes of a file that may be a catalog.

    Raises:
        ConfigError: it is missing, a folder, empty, unreadable, or plainly something else than a table.
    """
    if path.is_dir():
        raise bad_catalog(path, "is a folder, not a catalog file")
    if not path.exists():
        raise bad_catalog(path, "does not exist")
    if not path.is_file():
        raise bad_catalog(path, "is not a regular file")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise bad_catalog(path, f"cannot be read: {error.strerror}") from None
    reason = _not_a_table(head)
    if reason:
        raise bad_catalog(path, reason)
    return head


def _not_a_table(head: bytes) -> str:
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
        return "is a web page (HTML), perhaps a login or error page saved in its place"
    if start.startswith((b"<?xml", b"<rss", b"<feed")):
        return "is XML, which is not read: export the feed as CSV or tab-separated text"
    if re.match(rb"\[\s*[\[{]", start):
        return "is one JSON array: write one object a line instead (`jq -c '.[]' in.json > out.jsonl`)"
    controls = len(head) - len(head.translate(None, bytes(set(range(32)) - set(_ORDINARY_CONTROLS))))
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff")) or head.count(0) * 3 > len(head)
    if controls >= 8 and controls * 20 > len(head) and not wide:
        return "is a binary file, not text"
    return ""
