"""What a person typed as the catalog: which kind of place it names, and what messages, rows and runs may call it.

Nothing is opened here. Whatever may be a secret (a user, a password, a signature in a query string) stays out of
``label``, ``name`` and ``stem``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from glob import has_magic
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packshot.catalog.local_files import split_member, stem_of, stem_of_pattern
from packshot.errors import Code, ConfigError

ALLOWED = "a file, folder/*.csv, https://..., s3://BUCKET/KEY, sql:TABLE or - for standard input"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


class Place(Enum):
    FILE = "file"
    URL = "url"
    S3 = "s3"
    SQL = "sql"
    STDIN = "stdin"


@dataclass(frozen=True, slots=True)
class CatalogAddress:
    """``target``: the path or pattern, the whole URL, ``bucket/key``, or the table's name; empty for standard input.
    ``member``: the file to take from a ZIP archive that is fetched; in a path it is still part of ``target``."""

    place: Place
    target: str
    label: str
    name: str
    stem: str
    member: str = ""

    @property
    def folder(self) -> Path | None:
        """Where relative photo paths start; None where the catalog lies in no folder of this machine."""
        return Path(self.target).absolute().parent if self.place is Place.FILE else None


def read_address(typed: str) -> CatalogAddress:
    """What ``typed`` names.

    Raises:
        ConfigError: it names no place that a catalog can be read from.
    """
    match = _SCHEME.match(typed)
    scheme = match[1].lower() if match else ""
    if typed == "-":
        return CatalogAddress(Place.STDIN, "", "standard input", "stdin", "stdin")
    if scheme in ("http", "https"):
        return _url(typed)
    if scheme == "s3":
        return _s3(typed)
    if scheme == "sql":
        name = typed[len("sql:") :].strip()
        if not name or not name.isprintable() or "//" in name:
            raise _refused("sql: must be followed by the name of a table or view; its database is a setting")
        return CatalogAddress(Place.SQL, name, f"sql:{name}", name, name)
    if match and typed[match.end() :].startswith("//"):
        raise _refused(f"{scheme}:// addresses cannot be read")  # the rest may hold a password
    path, member = split_member(typed)
    name = Path(path).name
    stem = stem_of_pattern(Path(typed)) if has_magic(typed) else stem_of(member or name)
    return CatalogAddress(Place.FILE, typed, typed, name, stem)


def _url(typed: str) -> CatalogAddress:
    try:
        parts = urlsplit(typed)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise _refused("the catalog's URL cannot be used: it has no host, or is not written like a URL")
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if "@" in parts.netloc:
        raise _refused(f"{place}: a catalog's URL may hold neither a user nor a password, which every log would show")
    name = unquote(parts.path.rstrip("/").rpartition("/")[2]) or host
    member = unquote(parts.fragment) if name.lower().endswith(".zip") else ""
    label = f"{place}#{member}" if member else place
    return CatalogAddress(Place.URL, typed.partition("#")[0], label, name, stem_of(member or name), member)


def _s3(typed: str) -> CatalogAddress:
    address, member = split_member(typed)
    bucket, _, key = address[len("s3:") :].removeprefix("//").partition("/")
    if not address[len("s3:") :].startswith("//") or not _BUCKET.fullmatch(bucket) or not key or key.endswith("/"):
        raise _refused("an S3 address is written s3://BUCKET/KEY, where the key is that of a file")
    name = key.rpartition("/")[2]
    return CatalogAddress(Place.S3, f"{bucket}/{key}", typed, name, stem_of(member or name), member)


def _refused(why: str) -> ConfigError:
    return ConfigError(Code.CATALOG_INVALID, f"{why}. Allowed: {ALLOWED}")
