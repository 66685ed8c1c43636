"""Where a catalog's bytes come from: something with a name that can be opened as often as needed."""

from __future__ import annotations

from typing import BinaryIO, Protocol


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
