"""Remembers keys in little memory."""

from __future__ import annotations

from hashlib import blake2b


class SeenKeys:
    """Key -> the line it was first met on. Keeps 8-byte hashes, not texts: two of a million differing keys share one
    with a probability of about 3 in 100 million."""

    def __init__(self) -> None:
        self._lines: dict[int, int] = {}

    def line(self, *parts: str) -> int | None:
        """The line where this key was added, or None."""
        return self._lines.get(_hash(parts))

    def add(self, line: int, *parts: str) -> None:
        self._lines.setdefault(_hash(parts), line)


def _hash(parts: tuple[str, ...]) -> int:
    return int.from_bytes(blake2b("\x00".join(parts).encode("utf-8"), digest_size=8).digest(), "big")
