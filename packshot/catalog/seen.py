"""Which keys a catalog used already, in little memory."""

from __future__ import annotations

from typing import Literal

from packshot.catalog.records import Record

Lesson = Literal["shared", "last"]

_LINE_BITS = 40


class KeyBook:
    """The keys of one pass over a catalog.

    Keeps 8-byte hashes, not texts: two of a million differing keys share one with a probability of about 3 in 100
    million. Some rules need to know the whole catalog: their passes go before (``lesson`` names what such a pass is
    to learn), and each book hands what it learnt to the next, as ``earlier``. Only records that would become products
    teach anything, so a draft or a row without a title takes no key away from a good one.
    """

    def __init__(self, lesson: Lesson | None = None, earlier: KeyBook | None = None) -> None:
        self.lesson = lesson
        self._first: dict[int, int] = {}
        """Key -> line of its first record, and 24 bits of that record's hash above it."""
        self._products: set[int] = set()
        self._owners: dict[int, int] = earlier._owners if earlier else {}
        """Key -> hash of the first record that has it."""
        self._shared: set[int] = earlier._shared if earlier else set()
        self._last: dict[int, int] = earlier._last if earlier else {}
        """Key -> serial of the last record that has it."""

    @staticmethod
    def key(*parts: str) -> int:
        """What these methods know a key by."""
        return hash(parts)

    def learn(self, record: Record, serial: int, key: int) -> None:
        """A record has this key and is good enough for a product. ``serial``: records before it, in all files."""
        if self.lesson == "last":
            self._last[key] = serial
        elif self._owners.setdefault(key, _digest(record)) != _digest(record):
            self._shared.add(key)

    def first(self, record: Record, key: int) -> tuple[int, bool] | None:
        """Line of the first record with this key, and whether its cells were the same; None when there is none."""
        known = self._first.get(key)
        if known is None:
            return None
        return known & ((1 << _LINE_BITS) - 1), known >> _LINE_BITS == _digest(record)

    def add(self, record: Record, key: int) -> None:
        """Remember the record that came first with this key."""
        self._first.setdefault(key, _digest(record) << _LINE_BITS | record.line)

    def take(self, record: Record, key: int) -> bool:
        """:meth:`add` it, if it is the first record with this key."""
        if key in self._first:
            return False
        self.add(record, key)
        return True

    def known_product(self, key: int) -> bool:
        return key in self._products

    def add_product(self, key: int) -> None:
        self._products.add(key)

    def is_shared(self, key: int) -> bool:
        """Do several records have this key, that are not the same record several times?"""
        return key in self._shared

    def is_owned(self, key: int) -> bool:
        """Is this some record's own key, and nobody else's?"""
        return key in self._owners and key not in self._shared

    def counts(self, serial: int, key: int) -> bool:
        """False for a record after which another one with this key comes, where the last one counts."""
        return self._last.get(key, serial) <= serial


def _digest(record: Record) -> int:
    return hash(record.cells) & 0xFFFFFF
