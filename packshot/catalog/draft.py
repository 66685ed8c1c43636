"""From the cells of a record to a Product: the cleaning, checks and limits all formats share."""

from __future__ import annotations

from dataclasses import dataclass, field

from packshot.catalog.images import refusal
from packshot.catalog.model import Product
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.tally import Tally
from packshot.catalog.text import ATTRIBUTE_MAX, DESCRIPTION_MAX, KEY_MAX, TITLE_MAX, one_line, plain_text, shorten
from packshot.errors import Code

Problem = tuple[Code, str]


@dataclass(slots=True)
class Draft:
    """What a record says about a product, as text, not yet checked."""

    product_key: str = ""
    variant_key: str = ""
    sku: str = ""
    title: str = ""
    description: str = ""
    category: str = ""
    brand: str = ""
    status: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    image_refs: list[str] = field(default_factory=list)

    def clean_keys(self) -> None:
        """Keys decide identity: they are cleaned before anything is compared."""
        self.product_key = one_line(self.product_key)
        self.variant_key = one_line(self.variant_key)
        self.sku = one_line(self.sku)


class Builder:
    """Checks drafts and turns them into Products of one catalog."""

    def __init__(self, catalog: str, options: CatalogOptions, tally: Tally) -> None:
        self.options = options
        self.tally = tally
        self._catalog = catalog
        self._statuses = {status.strip().casefold() for status in options.statuses}

    def key_problem(self, draft: Draft) -> Problem | None:
        """What is wrong with the keys (cleaned already)."""
        if not draft.product_key:
            return Code.MISSING_KEY, "the record has no product key"
        for name, value in (
            ("product key", draft.product_key),
            ("variant key", draft.variant_key),
            ("SKU", draft.sku),
        ):
            if len(value) > KEY_MAX:
                return Code.BAD_FIELD, f"the {name} has {len(value):,} characters, at most {KEY_MAX} are allowed"
        return None

    def problem(self, draft: Draft) -> Problem | None:
        """What keeps a draft with good keys from becoming a Product."""
        status = one_line(draft.status)
        if status.casefold() not in self._statuses:
            allowed = ", ".join(sorted(repr(s) for s in self._statuses))
            return Code.NOT_SELECTED, f"the status is {shorten(status, 60)!r} (accepted: {allowed})"
        if not plain_text(draft.title):
            return Code.MISSING_TITLE, f"product {draft.product_key!r} has no title"
        return None

    def product(self, draft: Draft, record: Record, variant_key: str) -> Product:
        """The Product; what had to be shortened or left out is remarked."""
        name = draft.product_key
        attributes = {}
        for attribute, value in draft.attributes.items():
            text = self._text(value, ATTRIBUTE_MAX, "attribute", name)
            if text:
                attributes[attribute] = text
        return Product(
            catalog=self._catalog,
            product_key=draft.product_key,
            variant_key=variant_key,
            sku=draft.sku or None,
            title=self._text(draft.title, TITLE_MAX, "title", name),
            description=self._text(draft.description, DESCRIPTION_MAX, "description", name),
            category=self._text(draft.category, ATTRIBUTE_MAX, "category", name),
            brand=self._text(draft.brand, ATTRIBUTE_MAX, "brand", name),
            attributes=attributes,
            image_refs=self._image_refs(draft.image_refs, name),
            status=one_line(draft.status).casefold(),
            source=record.source,
            record=record.number,
            line=record.line,
        )

    def _text(self, raw: str, limit: int, what: str, name: str) -> str:
        text = plain_text(raw)
        if len(text) > limit:
            self.tally.remark(f"{what} shortened to {limit:,} characters, product", name)
        return shorten(text, limit)

    def _image_refs(self, refs: list[str], name: str) -> tuple[str, ...]:
        good: dict[str, None] = {}
        for ref in refs:
            reason = refusal(ref)
            if reason:
                # The reference itself is not repeated: it may hold a password.
                self.tally.remark(f"image reference left out ({reason}), product", name)
            else:
                good[ref] = None
        return tuple(good)
