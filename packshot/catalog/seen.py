"""Which keys a catalog used already, in little memory."""

from __future__ import annotations

from packshot.catalog.records import Record

_LINE_BITS = 40


class KeyBook:
    """The keys of one pass over a catalog.

    Keeps 8-byte hashes, not texts: two of a million differing keys share one with a probability of about 3 in 100
    million. ``earlier`` is the book of a pass before this one, for rules that need to know the whole catalog.
    """

    def __init__(self, last_counts: bool = False, earlier: KeyBook | None = None) -> None:
        self._first: dict[int, int] = {}
        """Key -> line of its first record, and 24 bits of that record's hash above it."""
        self._products: set[int] = set()
        self._shared: set[int] = set()
        self._last: dict[int, int] | None = {} if last_counts and earlier is None else None
        self._earlier = earlier

    @staticmethod
    def key(*parts: str) -> int:
        """What these methods know a key by."""
        return hash(parts)

    def first(self, record: Record, key: int) -> tuple[int, bool] | None:
        """Line of the first record with this key, and whether its cells were the same; None when there is none."""
        known = self._first.get(key)
        if known is None:
            return None
        self._shared.add(key)
        return known & ((1 << _LINE_BITS) - 1), known >> _LINE_BITS == _digest(record)

    def add(self, record: Record, key: int) -> None:
        """Remember the record that came first with this key."""
        self._first.setdefault(key, _digest(record) << _LINE_BITS | record.line)

    def known_product(self, key: int) -> bool:
        return key in self._products

    def add_product(self, key: int) -> None:
        self._products.add(key)

    def is_shared(self, key: int) -> bool:
        """Did the earlier pass meet several records with this key?"""
        return self._earlier is not None and key in self._earlier._shared

    def counts(self, serial: int, key: int) -> bool:
        """False for a record after which another one with this key comes, where the last one counts.

        ``serial``: records before it, in all files of the catalog.
        """
        if self._last is not None:
            self._last[key] = serial
        if self._earlier is None or self._earlier._last is None:
            return True
        return self._earlier._last.get(key, serial) == serial


def _digest(record: Record) -> int:
    return hash(record.cells) & 0xFFFFFF
