"""Keeps the counts of one pass over a catalog, and the remarks a person should read afterwards."""

from __future__ import annotations

from packshot.catalog.model import Counts, Product, Reject
from packshot.catalog.records import Record, Unreadable
from packshot.errors import Code

_EXAMPLES = 3


class Tally:
    """Every record is settled here exactly once, so the counts add up at any moment."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._remarks: dict[str, tuple[int, list[str]]] = {}

    def accept(self, product: Product) -> Product:
        self.counts.records += 1
        self.counts.accepted += 1
        return product

    def reject(self, record: Record | Unreadable, code: Code, message: str, key: str | None = None) -> Reject:
        self.counts.records += 1
        self.counts.rejected += 1
        return Reject(record.source, record.number, record.line, key or None, code, message)

    def unreadable(self, record: Unreadable) -> Reject:
        return self.reject(record, record.code, record.message)

    def blank(self) -> None:
        self.counts.records += 1
        self.counts.blank += 1

    def continuation(self, rows: int = 1) -> None:
        self.counts.records += rows
        self.counts.continuation += rows

    def remark(self, what: str, example: str) -> None:
        """Count something worth knowing; the first few examples are kept."""
        count, examples = self._remarks.get(what, (0, []))
        if len(examples) < _EXAMPLES and example not in examples:
            examples.append(example)
        self._remarks[what] = count + 1, examples

    @property
    def notes(self) -> list[str]:
        """One sentence for each kind of remark."""
        return [
            f"{count:,} x {what}: {', '.join(examples)}{', ...' if count > len(examples) else ''}"
            for what, (count, examples) in self._remarks.items()
        ]
