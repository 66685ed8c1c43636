"""Formats in which each record stands for itself: one record is one product, or one variant of one."""

from __future__ import annotations

from packshot.catalog.draft import Builder, Draft
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import EVERY_VARIANT
from packshot.catalog.records import Record
from packshot.catalog.seen import SeenKeys
from packshot.catalog.text import KEY_MAX, attribute_name, plain_text
from packshot.errors import Code

VARIANT_JOIN = " / "


class FlatCatalog:
    """Settles drafts one by one: a Product, a further variant of one that was yielded already, or a Reject.

    The records of one product need not be neighbours. Its first acceptable record is the one that counts.
    """

    def __init__(self, builder: Builder, has_variants: bool) -> None:
        self._builder = builder
        self._tally = builder.tally
        self._variants_by = builder.options.variants_by
        self._records = SeenKeys()
        self._products = SeenKeys()
        self._has_variants = has_variants or bool(self._variants_by)
        self._last = Draft()

    def settle(self, record: Record, draft: Draft) -> Product | Reject | None:
        """None means: counted as a continuation."""
        draft.clean_keys()
        key = draft.product_key
        problem = self._builder.key_problem(draft)
        if problem:
            return self._tally.reject(record, *problem, key[:KEY_MAX])
        # What tells the records of one product apart, where the file has no variant keys, is their SKU.
        variant = draft.variant_key or (draft.sku if draft.sku != key else "")
        chosen = self._chosen(draft, variant)
        identity = (key, variant, chosen)
        first = self._records.line(*identity)
        if first is not None:
            name = f"{key}/{variant}" if variant else key
            return self._tally.reject(
                record, Code.DUPLICATE_KEY, f"key {name!r} was used already, on line {first}", key
            )
        if self._has_variants and self._products.line(key, chosen) is not None:
            self._records.add(record.line, *identity)
            self._tally.continuation()
            hint = "a further variant, no product of its own (see variants_by), of"
            self._tally.remark(hint, key)
            return None
        self._inherit(draft)
        problem = self._builder.problem(draft)
        if problem:
            return self._tally.reject(record, *problem, key)
        if len(chosen) > KEY_MAX:
            message = f"the variant's values have {len(chosen):,} characters, at most {KEY_MAX} are allowed"
            return self._tally.reject(record, Code.BAD_FIELD, message, key)
        self._records.add(record.line, *identity)
        self._last = draft
        if self._has_variants:
            self._products.add(record.line, key, chosen)
        return self._tally.accept(self._builder.product(draft, record, chosen))

    def _inherit(self, draft: Draft) -> None:
        """Exports that list variants below their product state its texts and photos once: in the first record."""
        last = self._last
        if self._variants_by and draft.product_key == last.product_key:
            draft.title = draft.title or last.title
            draft.description = draft.description or last.description
            draft.category = draft.category or last.category
            draft.brand = draft.brand or last.brand
            draft.image_refs = draft.image_refs or last.image_refs

    def _chosen(self, draft: Draft, variant: str) -> str:
        """The variant key of the Product this record belongs to, by the user's choice of variants."""
        if not self._variants_by:
            return ""
        if self._variants_by == [EVERY_VARIANT]:
            return variant
        values = {attribute_name(name): plain_text(value) for name, value in draft.attributes.items()}
        picked = (values.get(attribute_name(name), "") for name in self._variants_by)
        return VARIANT_JOIN.join(value for value in picked if value)
