"""The rows of one Shopify product, gathered, and the Products they make."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from packshot.catalog.draft import Builder, Draft
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import ATTRIBUTE_PREFIX, EVERY_VARIANT, TEXT_TARGETS
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.text import KEY_MAX, attribute_name, one_line, plain_text
from packshot.errors import Code

OPTION_COUNT = 3
ROWS_MAX = 10_000
"""Rows held for one product; Shopify allows 2,048 variants and 250 images. More rows than this are no product."""

_NO_OPTION = "default title"
_JOIN = " / "


@dataclass(frozen=True, slots=True)
class Row:
    """One row's cells by target."""

    record: Record
    texts: dict[str, str]
    images: list[str]

    @property
    def is_variant(self) -> bool:
        targets = ("sku", "price", "variant_image", *(f"option{n}_value" for n in range(1, OPTION_COUNT + 1)))
        return any(self.texts.get(target) for target in targets)


@dataclass(frozen=True, slots=True)
class _Variant:
    record: Record
    sku: str
    image: str
    values: tuple[str, ...]


@dataclass(slots=True)
class _Images:
    placed: list[tuple[float, str]] = field(default_factory=list)

    def add(self, refs: list[str], position: str) -> None:
        try:
            place = float(position)
        except ValueError:
            place = math.inf
        self.placed.extend((math.inf if math.isnan(place) else place, ref) for ref in refs)

    def in_order(self) -> list[str]:
        return [ref for _, ref in sorted(self.placed, key=lambda pair: pair[0])]


class ShopifyProduct:
    """Gathers neighbouring rows of one handle; knows what became of each when it is settled."""

    def __init__(self, handle: str, row: Row) -> None:
        self.handle = handle
        self._first = row
        self._names = [""] * OPTION_COUNT
        self._variants: list[_Variant] = []
        self._images = _Images()
        self._further: list[Record] = []
        self._unplaced: list[Record | Unreadable] = []
        self._take(row, is_variant=True)

    @property
    def full(self) -> bool:
        return len(self._variants) + len(self._further) + len(self._unplaced) >= ROWS_MAX

    def add(self, row: Row) -> None:
        """A further row of this handle."""
        if not row.is_variant:
            self._further.append(row.record._replace(cells=()))
        self._take(row, is_variant=row.is_variant)

    def add_unplaced(self, record: Record | Unreadable) -> None:
        """A row between this product's rows that cannot be told to belong to it."""
        self._unplaced.append(record)

    def _take(self, row: Row, is_variant: bool) -> None:
        for place in range(OPTION_COUNT):
            self._names[place] = self._names[place] or row.texts.get(f"option{place + 1}_name", "")
        self._images.add(row.images, row.texts.get("image_position", ""))
        if is_variant:
            values = (one_line(row.texts.get(f"option{n}_value", "")) for n in range(1, OPTION_COUNT + 1))
            self._variants.append(
                _Variant(
                    row.record._replace(cells=()),
                    # Spreadsheets keep leading zeros only behind an apostrophe; exports carry it along.
                    row.texts.get("sku", "").removeprefix("'"),
                    row.texts.get("variant_image", ""),
                    tuple("" if value.casefold() == _NO_OPTION else value for value in values),
                )
            )

    def settle(self, builder: Builder) -> Iterator[Product | Reject]:
        """Products and rejects in the order of their records; every row is counted."""
        outcomes: dict[int, tuple[Record, Product | tuple[Code, str]]] = {}
        problem = self._problem(builder)
        if problem:
            outcomes[self._first.record.number] = self._first.record, problem
        else:
            outcomes = self._products(builder)
        settled = [(v.record.number, v.record) for v in self._variants]
        settled += [(record.number, record) for record in self._further]
        unplaced = {record.number: record for record in self._unplaced}
        for number in sorted([number for number, _ in settled] + list(unplaced)):
            if number in unplaced:
                yield refuse_unplaced(unplaced[number], builder)
            elif number not in outcomes:
                builder.tally.continuation()
            else:
                record, outcome = outcomes[number]
                if isinstance(outcome, Product):
                    yield builder.tally.accept(outcome)
                else:
                    yield builder.tally.reject(record, *outcome, self.handle[:KEY_MAX])

    def _problem(self, builder: Builder) -> tuple[Code, str] | None:
        record = self._first.record
        key = builder.book.key(self.handle)
        known = builder.book.first(record, key)
        if known is not None:
            first_line, _ = known
            return (
                Code.DUPLICATE_KEY,
                f"handle {self.handle[:KEY_MAX]!r} was used already, by the product on line {first_line}; "
                "the rows of one product must stand together",
            )
        builder.book.add(record, key)
        draft = self._draft(self._variants)
        return builder.key_problem(draft) or builder.problem(draft)

    def _products(self, builder: Builder) -> dict[int, tuple[Record, Product | tuple[Code, str]]]:
        outcomes: dict[int, tuple[Record, Product | tuple[Code, str]]] = {}
        chosen: dict[str, list[_Variant]] = {}
        every = builder.options.variants_by == [EVERY_VARIANT]
        for variant in self._variants:
            key = self._chosen(variant, builder.options.variants_by)
            if every and key in chosen:
                line = chosen[key][0].record.line
                message = f"variant {key!r} of {self.handle!r} was used already, on line {line}"
                outcomes[variant.record.number] = variant.record, (Code.DUPLICATE_KEY, message)
            else:
                chosen.setdefault(key, []).append(variant)
        for key, variants in chosen.items():
            record = variants[0].record
            draft = self._draft(variants)
            draft.variant_key = key
            problem = builder.key_problem(draft)
            outcomes[record.number] = record, problem or builder.product(draft, record, key)
        self._remark_choice(builder)
        return outcomes

    def _chosen(self, variant: _Variant, variants_by: list[str]) -> str:
        if variants_by == [EVERY_VARIANT]:
            values = _JOIN.join(value for value in variant.values if value)
            return values or (one_line(variant.sku) if len(self._variants) > 1 else "")
        values_by_name = dict(zip((attribute_name(name) for name in self._names), variant.values, strict=True))
        picked = (values_by_name.get(attribute_name(name), "") for name in variants_by)
        return _JOIN.join(value for value in picked if value)

    def _draft(self, variants: list[_Variant]) -> Draft:
        """The product as these of its variants show it."""
        texts = self._first.texts
        draft = Draft()
        for target in TEXT_TARGETS:
            setattr(draft, target, texts.get(target, ""))
        draft.product_key = self.handle
        draft.sku = next((variant.sku for variant in variants if variant.sku), "")
        for name, values in self._values(variants).items():
            draft.attributes[name] = ", ".join(values)
        for target, value in texts.items():
            if target.startswith(ATTRIBUTE_PREFIX):
                draft.attributes.setdefault(target.removeprefix(ATTRIBUTE_PREFIX), value)
        draft.image_refs = self._image_refs(variants)
        draft.clean_keys()
        return draft

    def _values(self, variants: list[_Variant]) -> dict[str, list[str]]:
        """Option name -> its distinct values, in order; options without a value are absent."""
        found: dict[str, list[str]] = {}
        for place, name in enumerate(self._names):
            values = dict.fromkeys(plain_text(variant.values[place]) for variant in variants)
            kept = [value for value in values if value]
            if kept:
                found[attribute_name(name) or f"option{place + 1}"] = kept
        return found

    def _image_refs(self, variants: list[_Variant]) -> list[str]:
        shared = self._images.in_order()
        own = [variant.image for variant in variants if variant.image]
        if len(variants) == len(self._variants):
            return shared + own
        # Another colour's photo would make the model paint the wrong colour.
        others = {variant.image for variant in self._variants} - set(own)
        return own + [ref for ref in shared if ref not in others]

    def _remark_choice(self, builder: Builder) -> None:
        if not builder.options.variants_by:
            for name, values in self._values(self._variants).items():
                if len(values) > 1:
                    remark = f"product with several values of {name!r} made one (see variants_by)"
                    builder.tally.remark(remark, self.handle)


def refuse_unplaced(record: Record | Unreadable, builder: Builder) -> Reject:
    """A row that could not be read, or that has no handle."""
    if isinstance(record, Unreadable):
        return builder.tally.unreadable(record)
    return builder.tally.reject(record, Code.MISSING_KEY, "the row has no handle, so it belongs to no product")
