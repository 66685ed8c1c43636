"""From the cells of a record to a Product: the cleaning, checks and limits all formats share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from packshot.catalog.images import refusal, under_root
from packshot.catalog.model import Product
from packshot.catalog.options import CatalogOptions
from packshot.catalog.price import read_price
from packshot.catalog.records import Record
from packshot.catalog.seen import KeyBook
from packshot.catalog.tables import Table
from packshot.catalog.tally import Tally
from packshot.catalog.text import ATTRIBUTE_MAX, DESCRIPTION_MAX, KEY_MAX, TITLE_MAX, one_line, plain_text, shorten
from packshot.errors import Code

Problem = tuple[Code, str]

_REMEMBERED, _REMEMBERED_LENGTH = 20_000, 100
"""Cleaned texts kept, and how long a text is kept at most."""

KEY_HINT = "key_fallback names what to use instead, for example title"


@dataclass(slots=True)
class Draft:
    """What a record says about a product, as text, not yet checked. Its first fields are TEXT_TARGETS, in order."""

    product_key: str = ""
    """The same for all records of one product; of a variant that names its parent: left empty, or the own key."""
    variant_key: str = ""
    sku: str = ""
    title: str = ""
    description: str = ""
    category: str = ""
    brand: str = ""
    status: str = ""
    price: str = ""
    currency: str = ""
    link: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    image_refs: list[str] = field(default_factory=list)
    is_parent: bool = False
    """It has, or may have, variants in other records, and is not sold itself when it has."""
    parent: str = ""
    """Of a variant: any of its parent's names."""
    names: tuple[str, ...] = ()
    """Of a parent: what variants may call it, besides its ``product_key``."""
    children: tuple[str, ...] = ()
    """Of a parent that lists them: its variants' SKUs."""

    def clean_keys(self) -> None:
        """Keys decide identity: they are cleaned before anything is compared."""
        self.sku, same = one_line(self.sku), self.sku == self.product_key
        self.product_key = self.sku if same else one_line(self.product_key)
        if self.variant_key:
            self.variant_key = one_line(self.variant_key)
        if self.parent or self.names or self.children:
            self.parent = one_line(self.parent)
            self.names = tuple(filter(None, map(one_line, self.names)))
            self.children = tuple(filter(None, map(one_line, self.children)))

    def fill_texts_from(self, other: Draft) -> None:
        """Take texts and price from ``other`` where this draft has none."""
        for name in _SHARED:
            if not getattr(self, name):
                setattr(self, name, getattr(other, name))

    def fill_from(self, other: Draft) -> None:
        """Take from ``other`` what this draft does not say itself; photos all or none, attributes one by one."""
        self.fill_texts_from(other)
        self.attributes = other.attributes | {name: value for name, value in self.attributes.items() if value}
        self.image_refs = self.image_refs or list(other.image_refs)

    def packed(self) -> list[Any]:
        """The draft as plain values, for the disk."""
        return [getattr(self, name) for name in _FIELDS]

    @classmethod
    def unpacked(cls, values: list[Any]) -> Draft:
        return cls(**dict(zip(_FIELDS, values, strict=True)))


_SHARED = ("title", "description", "category", "brand", "status", "price", "currency", "link")
_FIELDS = tuple(f.name for f in fields(Draft))


class Cleaned(dict[str, str]):
    """Raw text -> clean text, for texts that many products share: each is cleaned once."""

    def __missing__(self, raw: str) -> str:
        text = plain_text(raw)
        if len(raw) <= _REMEMBERED_LENGTH:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[raw] = text
        return text


class Builder:
    """Checks drafts and turns them into Products of one catalog."""

    def __init__(
        self,
        catalog: str,
        options: CatalogOptions,
        tally: Tally,
        book: KeyBook,
        beside: Callable[[str], Table],
    ) -> None:
        self.options = options
        self.tally = tally
        self.book = book
        self.beside = beside
        """Opens another file in the catalog's place, its header found."""
        self.catalog = catalog
        self.cleaned = Cleaned()
        self.statuses = {status.strip().casefold() for status in options.statuses}
        """Those accepted, in lower case."""

    def fallback_key(self, draft: Draft) -> str:
        """What the record is known by when its own key is missing or shared; empty when that is not there either."""
        parts = {
            "handle": draft.product_key,
            "sku": draft.sku,
            "title": plain_text(draft.title),
            "options": "/".join(plain_text(draft.attributes[name]) for name in sorted(draft.attributes)),
            "url": one_line(draft.link),
            "image": one_line(draft.image_refs[0]) if draft.image_refs else "",
        }
        found = [parts[name] for name in self.options.key_fallback.split("#")]
        return "#".join(found) if any(found) else ""

    def key_problem(self, draft: Draft) -> Problem | None:
        """What is wrong with the keys (cleaned already)."""
        if not draft.product_key:
            return Code.MISSING_KEY, f"the record has no product key; {KEY_HINT}"
        if len(draft.product_key) <= KEY_MAX >= len(draft.variant_key) and len(draft.sku) <= KEY_MAX:
            return None
        named = (("product key", draft.product_key), ("variant key", draft.variant_key), ("SKU", draft.sku))
        name, value = next((name, value) for name, value in named if len(value) > KEY_MAX)
        return Code.BAD_FIELD, f"the {name} has {len(value):,} characters, at most {KEY_MAX} are allowed"

    def taken_key(self, key: str) -> Problem:
        """The problem of a record whose key by ``key_fallback`` is another record's own."""
        parts = self.options.key_fallback
        return (
            Code.DUPLICATE_KEY,
            f"key_fallback ({parts}) makes {shorten(key, KEY_MAX)!r} its key, another record's own",
        )

    def wants(self, status: str) -> bool:
        """Is this an accepted status?"""
        return one_line(status).casefold() in self.statuses

    def problem(self, draft: Draft) -> Problem | None:
        """What keeps a draft with good keys from becoming a Product."""
        if draft.status.casefold() not in self.statuses and not self.wants(draft.status):
            allowed = ", ".join(sorted(repr(s) for s in self.statuses))
            return Code.NOT_SELECTED, f"the status is {shorten(one_line(draft.status), 60)!r} (accepted: {allowed})"
        if not plain_text(draft.title):
            return Code.MISSING_TITLE, f"product {draft.product_key!r} has no title"
        return None

    def product(self, draft: Draft, record: Record, variant_key: str) -> Product:
        """The Product; what had to be shortened or left out is remarked."""
        name, known = draft.product_key, self.cleaned.get
        amount, currency = self._price(draft) if draft.price else (None, "")
        stated = {key: known(raw) or self._repeated(raw, "attribute", name) for key, raw in draft.attributes.items()}
        return Product(  # by position, in the order of the fields: by name it takes three times as long
            self.catalog,
            name,
            variant_key,
            draft.sku or None,
            self._text(plain_text(draft.title), TITLE_MAX, "title", name),
            self._text(plain_text(draft.description), DESCRIPTION_MAX, "description", name),
            known(draft.category) or self._repeated(draft.category, "category", name),
            known(draft.brand) or self._repeated(draft.brand, "brand", name),
            stated if all(stated.values()) else {key: text for key, text in stated.items() if text},
            self._image_refs(draft.image_refs, name),
            (known(draft.status) or self._repeated(draft.status, "status", name)).casefold(),
            amount,
            currency,
            record.source,
            record.number,
            record.line,
        )

    def _price(self, draft: Draft) -> tuple[Decimal | None, str]:
        price = read_price(draft.price, draft.currency or self.options.currency)
        if price is None:
            self.tally.remark("price that is no amount left out, product", draft.product_key)
            return None, ""
        return price

    def _repeated(self, raw: str, what: str, name: str) -> str:
        return self._text(self.cleaned[raw], ATTRIBUTE_MAX, what, name)

    def _text(self, text: str, limit: int, what: str, name: str) -> str:
        if len(text) <= limit:
            return text
        self.tally.remark(f"{what} shortened to {limit:,} characters, product", name)
        return shorten(text, limit)

    def _image_refs(self, refs: list[str], name: str) -> tuple[str, ...]:
        good: dict[str, None] = {}
        root = self.options.media_root
        for ref in refs:
            ref = under_root(ref, root) if root else ref
            reason = refusal(ref)
            if reason:
                # The reference itself is not repeated: it may hold a password.
                self.tally.remark(f"image reference left out ({reason}), product", name)
            else:
                good[ref] = None
        return tuple(good)
