"""Where a catalog's bytes come from: something with a name that can be opened as often as needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from packshot.errors import Code, ConfigError


class Source(Protocol):
    """One catalog file, wherever it is."""

    @property
    def name(self) -> str:
        """As rows call it: short, and never with a password or a signature in it."""

    @property
    def label(self) -> str:
        """As messages call it: with the way to it, and as little a secret."""

    @property
    def stem(self) -> str:
        """What the catalog is named after, if nobody names it: the file's name without its endings."""

    def open(self) -> BinaryIO:
        """The bytes, from the first one; each call begins anew, and what it returns can seek."""

    def beside(self, name: str) -> Source:
        """Another file in the same place, as a catalog's second half."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def stem(self) -> str:
        return self.path.stem

    def open(self) -> BinaryIO:
        return self.path.open("rb")

    def beside(self, name: str) -> LocalFile:
        return local_file(self.path.parent / name)


def local_file(path: Path) -> LocalFile:
    """The file at ``path``.

    Raises:
        ConfigError: it is missing, or no regular file.
    """
    if path.is_dir():
        raise ConfigError(Code.CATALOG_INVALID, f"{path} is a folder, not a catalog file")
    if not path.exists():
        raise ConfigError(Code.CATALOG_INVALID, f"{path} does not exist")
    if not path.is_file():
        raise ConfigError(Code.CATALOG_INVALID, f"{path} is not a regular file")
    return LocalFile(path)
