"""Formats in which a product's further rows stand below it and do not say whose they are.

Nothing but its place ties such a row to its product. So a row that cannot be read ends the product above it: it may
have been the first row of the next one, and what stands below it must not be given to the wrong product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from packshot.catalog.draft import KEY_HINT, Builder, Draft, Problem
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import EVERY_VARIANT
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.tables import Table
from packshot.catalog.text import KEY_MAX, attribute_name, plain_text
from packshot.errors import Code

ROWS_MAX, CHARACTERS_MAX = 10_000, 16 << 20
"""What is held of one product at most; more than this below one row is no product."""

_JOIN = " / "


@dataclass(slots=True)
class Row:
    """What one row says."""

    draft: Draft
    """Its ``image_refs`` are the variant's own. Of a row below a product only what it states itself."""
    begins: bool
    """It is a product's first row."""
    photos: list[str] = field(default_factory=list)
    """Photos of the product as a whole. A row below a product that has some is no variant, but a photo of it."""
    covers: bool = False
    """Its photos go before the others."""


def settle_following(
    table: Table, builder: Builder, read: Callable[[Record], Row | None], *, first_is_variant: bool
) -> Iterator[Product | Reject]:
    """Products and rejects in file order, each when the last row of its product has been read.

    ``read``: None for a row that only belongs to the product above and says nothing about its looks.
    ``first_is_variant``: a product's first row is one of its variants; otherwise it is only sold when none follow.
    """
    family: _Family | None = None
    orphaned = "there is none"
    for record in table.records():
        if isinstance(record, Record) and record.blank:
            builder.tally.blank()
            continue
        # A row that only was not wanted has all its cells, and may begin a product or belong to one.
        legible = isinstance(record, Record) or record.code is Code.NOT_SELECTED
        row = read(Record(*record[:3], record.cells)) if legible else None
        begins = row is not None and row.begins
        if family is not None and (begins or not legible or family.full):
            yield from family.settle(builder)
            orphaned = f"{family.name!r} has too many rows already"
            family = None
        if not legible:
            orphaned = f"line {record.line}, which could not be read, may have been its product"
        if row is not None and row.begins:
            family = _Family(record, row, first_is_variant, builder.options.variants_by)
        elif family is not None:
            family.add(record, row)
        elif isinstance(record, Unreadable):
            yield builder.tally.unreadable(record)
        else:
            key = row.draft.sku[:KEY_MAX] if row else ""
            message = f"the row belongs to the product above it, and {orphaned}"
            yield builder.tally.reject(record, Code.ORPHAN_VARIANT, message, key)
    if family is not None:
        yield from family.settle(builder)


@dataclass(slots=True)
class _Variant:
    record: Record
    draft: Draft


class _Family:
    """The rows of one product; knows what became of each when it is settled."""

    def __init__(
        self, record: Record | Unreadable, row: Row, first_is_variant: bool, variants_by: Sequence[str]
    ) -> None:
        self._head = row.draft
        self._head.clean_keys()
        self._photos = row.photos
        self._first_is_variant = first_is_variant
        self._variants_by = list(variants_by)
        self._rows: list[Record | Unreadable] = []
        self._variants: list[_Variant] = []
        self._characters = 0
        self._stated_below: set[str] = set()
        self._add(record, row.draft)

    @property
    def name(self) -> str:
        return (self._head.product_key or self._head.sku)[:KEY_MAX]

    @property
    def full(self) -> bool:
        return len(self._rows) >= ROWS_MAX or self._characters > CHARACTERS_MAX

    def add(self, record: Record | Unreadable, row: Row | None) -> None:
        """A further row."""
        if row is not None and row.photos:
            self._photos = row.photos + self._photos if row.covers else self._photos + row.photos
            row = None
        if row is not None:
            row.draft.clean_keys()
            self._stated_below |= {name for name, value in row.draft.attributes.items() if value}
        self._add(record, row.draft if row is not None else None)

    def _add(self, record: Record | Unreadable, draft: Draft | None) -> None:
        self._characters += sum(map(len, record.cells))
        self._rows.append(record)
        if draft is not None and isinstance(record, Record):
            self._variants.append(_Variant(record, draft))

    def settle(self, builder: Builder) -> Iterator[Product | Reject]:
        """Products and rejects in the order of their rows; every row is counted."""
        if not self._first_is_variant and self._variants_by:
            sold = [variant for variant in self._variants if variant.draft is not self._head]
            self._variants = sold or self._variants
        outcomes = self._outcomes(builder) if self._variants else {}
        for row in self._rows:
            outcome = outcomes.get(row.number)
            if isinstance(row, Unreadable):
                yield builder.tally.unreadable(row)
            elif outcome is None:
                builder.tally.continuation()
            elif isinstance(outcome, Product):
                yield builder.tally.accept(outcome)
            else:
                yield builder.tally.reject(row, *outcome, self.name)

    def _outcomes(self, builder: Builder) -> dict[int, Product | Problem]:
        """Record number -> what it became; records that are not named are continuations."""
        head, book, serial = self._head, builder.book, builder.tally.counts.records
        first = self._variants[0].record
        outcomes: dict[int, Product | Problem] = {}
        chosen = [(name, rows[0].record, self._merged(rows)) for name, rows in self._chosen(builder, outcomes).items()]
        good = any(builder.problem(draft) is None for _, _, draft in chosen)
        problem = self._named(builder, first, good, serial) or builder.key_problem(head)
        if problem:
            return {first.number: problem}
        identity = book.key(head.product_key)
        if builder.options.on_duplicate == "last" and good:
            if book.lesson == "last":
                book.learn(first, serial, identity)
            elif not book.lesson and not book.counts(serial, identity):
                builder.tally.remark("product with a key that comes again further down, left out", self.name)
                return {}
        earlier = book.first(first, identity)
        if earlier is not None:
            return self._again(builder, first, earlier[0])
        if good:
            book.add(first, identity)
        for name, record, draft in chosen:
            draft.product_key, draft.variant_key = head.product_key, name
            problem = builder.key_problem(draft) or builder.problem(draft)
            outcomes[record.number] = problem or builder.product(draft, record, name)
        return outcomes

    def _named(self, builder: Builder, first: Record, good: bool, serial: int) -> Problem | None:
        """Gives the product the key of ``key_fallback`` where its own is missing or shared; what is wrong with that."""
        head, book = self._head, builder.book
        if not builder.options.key_fallback:
            return None
        own = book.key(head.product_key)
        if head.product_key and not book.is_shared(own):
            if book.lesson == "shared" and good:
                book.learn(first, serial, own)
            return None
        fallback = builder.fallback_key(self._merged(self._variants))
        if not fallback:
            return Code.MISSING_KEY, f"the product has no key; {KEY_HINT}"
        head.product_key = fallback
        return builder.taken_key(fallback) if book.is_owned(book.key(fallback)) else None

    def _again(self, builder: Builder, first: Record, line: int) -> dict[int, Product | Problem]:
        if builder.options.on_duplicate == "first":
            builder.tally.remark("another product with a key that was used already, left out", self.name)
            return {}
        message = f"key {self.name!r} was used already, by the product on line {line}"
        return {first.number: (Code.DUPLICATE_KEY, f"{message}; on_duplicate says which one counts, and {KEY_HINT}")}

    def _chosen(self, builder: Builder, outcomes: dict[int, Product | Problem]) -> dict[str, list[_Variant]]:
        """Variant key -> its rows, by the user's choice of variants; rows that repeat one are settled here."""
        on_duplicate = builder.options.on_duplicate
        chosen: dict[str, list[_Variant]] = {}
        if not self._variants_by:
            chosen[""] = self._variants
            for name, values in _values(self._variants).items():
                if len(values) > 1:
                    builder.tally.remark(
                        f"product with several values of {name!r} made one (see variants_by)", self.name
                    )
            return chosen
        for variant in self._variants:
            if self._variants_by != [EVERY_VARIANT]:
                chosen.setdefault(self._picked(variant), []).append(variant)
                continue
            key = self._own_key(variant.draft)
            if key not in chosen or on_duplicate == "last":
                chosen[key] = [variant]
            elif on_duplicate == "reject":
                message = f"variant {key[:KEY_MAX]!r} was used already, on line {chosen[key][0].record.line}"
                outcomes[variant.record.number] = Code.DUPLICATE_KEY, f"{message}; on_duplicate says which one counts"
            else:
                builder.tally.remark("another variant with a key that was used already, left out", key)
        return chosen

    def _own_key(self, draft: Draft) -> str:
        alone = draft is self._head and not self._first_is_variant and draft.sku == draft.product_key
        return draft.variant_key or ("" if alone else draft.sku)

    def _picked(self, variant: _Variant) -> str:
        values = {attribute_name(name): value for name, value in self._merged([variant]).attributes.items()}
        picked = (plain_text(values.get(attribute_name(name), "")) for name in self._variants_by)
        return _JOIN.join(value for value in picked if value)

    def _merged(self, variants: list[_Variant]) -> Draft:
        """The product as these of its variants show it: what they say themselves, then what its first row says."""
        head = self._head
        draft = replace(variants[0].draft)
        draft.attributes = {name: ", ".join(values) for name, values in _values(variants).items()}
        own = [ref for variant in variants for ref in variant.draft.image_refs]
        draft.image_refs = own + self._photos if self._variants_by else self._photos + own
        draft.sku = next((variant.draft.sku for variant in variants if variant.draft.sku), "")
        # What rows below state for themselves is not the product's: a size left out is no other variant's size.
        shared = {name: value for name, value in head.attributes.items() if name not in self._stated_below}
        draft.fill_from(replace(head, attributes=shared))
        draft.product_key = head.product_key
        return draft


def _values(variants: Iterable[_Variant]) -> dict[str, list[str]]:
    """Attribute -> its distinct values, in order; those without a value are absent."""
    found: dict[str, dict[str, None]] = {}
    for variant in variants:
        for name, value in variant.draft.attributes.items():
            if value:
                found.setdefault(name, {})[value] = None
    return {name: list(values) for name, values in found.items()}
