"""Catalogs that lie on this machine: one file, those that a pattern stands for, or one in an archive."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from packshot.catalog.archives import UNPACKED_MAX, unpacked
from packshot.catalog.source import Source
from packshot.catalog.text import slug
from packshot.errors import Code, ConfigError

_MEMBER = re.compile(r"(.+\.zip)#(.+)", re.IGNORECASE | re.DOTALL)
_WILDCARDS = re.compile(r"\[[^]]*\]|[*?]")


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine, as it is. ``max_unpacked``: bytes that a compressed file beside it may grow to.
    ``called``: the catalog's name where it is not the file's."""

    path: Path
    max_unpacked: int = UNPACKED_MAX
    called: str = ""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def stem(self) -> str:
        return self.called or stem_of(self.path.name)

    def open(self) -> BinaryIO:
        return self.path.open("rb")

    def beside(self, name: str) -> Source:
        return unpacked(local_file(self.path.parent / name, self.max_unpacked), max_bytes=self.max_unpacked)


def local_file(path: Path, max_unpacked: int = UNPACKED_MAX) -> LocalFile:
    """The file at ``path``.

    Raises:
        ConfigError: it is missing, or no regular file.
    """
    try:
        if path.is_dir():
            raise ConfigError(Code.CATALOG_INVALID, f"{path} is a folder, not a catalog file")
        if not path.exists():
            raise ConfigError(Code.CATALOG_INVALID, f"{path} does not exist")
        if not path.is_file():
            raise ConfigError(Code.CATALOG_INVALID, f"{path} is not a regular file")
    except (OSError, ValueError):  # a folder that may not be entered, a NUL, a loop of links
        raise ConfigError(Code.CATALOG_INVALID, f"{str(path)!r} cannot be opened as a file") from None
    return LocalFile(path, max_unpacked)


def local_sources(typed: str, max_unpacked: int = UNPACKED_MAX) -> list[Source]:
    """The files that a path, ``folder/*.csv`` or ``file.zip#member.csv`` names, unpacked where they are compressed.

    A pattern's files come sorted by name, and the catalog is called after the pattern, whatever files there are today:
    its name is a part of each product's identity. Patterns stop at the file's name, because relative photo paths start
    in the one folder of the catalog. A file that is really called like a pattern is that file.

    Raises:
        ConfigError: there is no such file, it is no regular one, or it cannot be unpacked.
    """
    path, member = Path(typed), ""
    if not _exists(path):
        if glob.has_magic(typed):
            return [unpacked(file, max_bytes=max_unpacked) for file in _matching(path, max_unpacked)]
        path, member = Path(split_member(typed)[0]), split_member(typed)[1]
    return [unpacked(local_file(path, max_unpacked), member, max_unpacked)]


def split_member(typed: str) -> tuple[str, str]:
    """``shop.zip#products.csv`` -> the archive and the file in it; anything else -> itself and an empty text."""
    match = _MEMBER.fullmatch(typed)
    return (match[1], match[2]) if match else (typed, "")


def stem_of(name: str) -> str:
    """A file's name without its endings: ``shop.csv.gz`` -> ``shop``."""
    path = PurePosixPath(name)
    return PurePosixPath(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def stem_of_pattern(pattern: Path) -> str:
    """``exports/shop-*.csv`` -> ``shop-``; a pattern that says nothing is called like its folder."""
    fixed = _WILDCARDS.sub("", stem_of(pattern.name))
    return fixed if slug(fixed) else pattern.absolute().parent.name


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _matching(pattern: Path, max_unpacked: int) -> list[LocalFile]:
    if glob.has_magic(str(pattern.parent)):
        raise ConfigError(
            Code.CATALOG_INVALID, f"{pattern}: a pattern may stand for files of one folder only, such as folder/*.csv"
        )
    try:
        names = sorted(found.name for found in pattern.parent.glob(pattern.name) if found.is_file())
        names = [name for name in names if not name.startswith(".") or pattern.name.startswith(".")]
    except (OSError, ValueError, re.error):
        names = []
    if not names:
        raise ConfigError(Code.CATALOG_INVALID, f"{pattern}: no file is named like this")
    called = stem_of_pattern(pattern)
    return [replace(local_file(pattern.parent / name, max_unpacked), called=called) for name in names]
