"""Formats in which each record stands for itself: one record is one product, or one variant of one.

The records of one product need not be neighbours, and its parent may stand anywhere, or in another file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from packshot.catalog.draft import KEY_HINT, Builder, Draft, Problem
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import EVERY_VARIANT
from packshot.catalog.parents import Parents, Shown
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.tables import Table
from packshot.catalog.text import KEY_MAX, attribute_name, plain_text
from packshot.catalog.usual import ReadUsual
from packshot.errors import Code

VARIANT_JOIN = " / "

ReadDraft = Callable[[Record], Draft | None]
"""None for a record that only adds to another one: it is counted as a continuation."""


def settle_rows(
    table: Table,
    builder: Builder,
    read: ReadDraft,
    has_variants: bool,
    lends: bool = True,
    usual: ReadUsual | None = None,
) -> Iterator[Product | Reject]:
    """Products and rejects of a table whose every record makes one draft.

    ``has_variants``: several records may share a product key. ``lends``: a variant takes the texts and photos that it
    leaves out from the record above it. ``usual`` is tried on each record first.
    """
    return _settle_all(table, builder, read, FlatCatalog(builder, has_variants, lends=lends), usual)


def settle_families(
    table: Table, builder: Builder, read: ReadDraft, parents_in: tuple[Table, ReadDraft] | None = None, hint: str = ""
) -> Iterator[Product | Reject]:
    """As :func:`settle_rows`, for formats whose variants name their parent, or whose parents list their variants.

    Goes through the table twice: first for the parents. ``parents_in`` is a second file that holds parents only, and
    what reads it; ``hint`` ends the sentence about a variant whose parent is not there.
    """
    with Parents() as parents:
        for source, reads in filter(None, (parents_in, (table, read))):
            for record in source.records():
                if isinstance(record, Unreadable) and source is not table:
                    builder.tally.remark(f"unreadable record of {source.name} left out, line", str(record.line))
                draft = reads(record) if isinstance(record, Record) and not record.blank else None
                if draft is not None:
                    draft.clean_keys()
                    parents.take(draft)
        # What a variant leaves out its parent lends it, never another variant: its photo is of another colour.
        catalog = FlatCatalog(builder, has_variants=True, parents=parents, lends=False, hint=hint)
        yield from _settle_all(table, builder, read, catalog)


def _settle_all(
    table: Table, builder: Builder, read: ReadDraft, catalog: FlatCatalog, usual: ReadUsual | None = None
) -> Iterator[Product | Reject]:
    for record in table.records():
        if isinstance(record, Unreadable):
            yield builder.tally.unreadable(record)
        elif not any(record.cells):
            builder.tally.blank()
        elif usual and (product := usual(record)):
            yield builder.tally.accept(product)
        else:
            item = catalog.settle(record, read(record))
            if item is not None:
                yield item


class FlatCatalog:
    """Settles drafts one by one: a Product, a further variant of one that was yielded already, or a Reject.

    The first acceptable record of a product is the one that counts.
    """

    def __init__(
        self,
        builder: Builder,
        has_variants: bool,
        parents: Parents | None = None,
        lends: bool = True,
        hint: str = "",
    ) -> None:
        self._hint = hint
        self._builder = builder
        self._tally = builder.tally
        self._variants_by = builder.options.variants_by
        self._groups = has_variants
        self._has_variants = has_variants or bool(self._variants_by)
        self._parents = parents
        self._lends = lends
        self._falls_back = bool(builder.options.key_fallback)
        self._last_counts = builder.options.on_duplicate == "last"
        self._last = Draft()

    def settle(self, record: Record, draft: Draft | None) -> Product | Reject | None:
        """None means: counted as a continuation."""
        if draft is None:
            self._tally.continuation()
            return None
        draft.clean_keys()
        nameless, for_all = False, draft.is_parent
        if self._parents is not None and not draft.is_parent:
            nameless = not (draft.variant_key or draft.sku or draft.product_key)
            joined = self._with_parent(draft, self._parents)
            if isinstance(joined, str):
                key = (draft.sku or draft.product_key)[:KEY_MAX]
                return self._tally.reject(record, Code.ORPHAN_VARIANT, joined, key)
            for_all = joined is not draft
            draft = joined
        if draft.is_parent and self._variants_by and self._parents and self._parents.has_children(draft):
            self._tally.continuation()
            return None
        return self._settle_key(record, draft, nameless, for_all)

    def _settle_key(self, record: Record, draft: Draft, nameless: bool, for_all: bool) -> Product | Reject | None:
        """Of a draft whose family is known. ``nameless``: a variant that has no key of its own; ``for_all``: the
        product of a whole family."""
        builder, book = self._builder, self._builder.book
        key = family = draft.product_key
        # What tells the records of one product apart, where the file has no variant keys, is their SKU.
        variant = draft.variant_key or (draft.sku if draft.sku != key else "")
        chosen = self._chosen(draft, variant) if self._variants_by else ""
        if self._falls_back or nameless:
            named = self._named(record, draft, variant, chosen, nameless)
            if isinstance(named, tuple):
                return self._tally.reject(record, *named, key[:KEY_MAX])
            if self._variants_by == [EVERY_VARIANT]:
                chosen = named
            key, variant = draft.product_key, named
        problem = builder.key_problem(draft)
        if problem:
            return self._tally.reject(record, *problem, key[:KEY_MAX])
        identity = book.key(key, variant, chosen)
        if self._last_counts and self._comes_again(record, draft, identity):
            self._last = draft
            self._tally.continuation()
            self._tally.remark("record with a key that comes again further down, left out", key)
            return None
        first = book.first(record, identity)
        if first is not None and not self._last_counts:
            return self._again(record, draft, variant, *first)
        product = book.key(key, chosen) if self._has_variants else 0
        if self._has_variants and book.known_product(product):
            book.add(record, identity)
            self._tally.continuation()
            self._tally.remark("a further variant, no product of its own (see variants_by), of", key)
            return None
        if self._variants_by and self._lends:
            self._inherit(draft)
        if for_all and self._parents is not None and not self._variants_by:
            self._show_all(draft, self._parents.variants(draft, family))
        problem = builder.problem(draft)
        if problem:
            return self._tally.reject(record, *problem, key)
        if first is not None:
            return self._again(record, draft, variant, *first)
        if len(chosen) > KEY_MAX:
            message = f"the variant's values have {len(chosen):,} characters, at most {KEY_MAX} are allowed"
            return self._tally.reject(record, Code.BAD_FIELD, message, key)
        book.add(record, identity)
        self._last = draft
        if self._has_variants:
            book.add_product(product)
        return self._tally.accept(builder.product(draft, record, chosen))

    def _named(self, record: Record, draft: Draft, variant: str, chosen: str, nameless: bool) -> str | Problem:
        """The variant's name, after ``key_fallback`` gave the draft what keys it lacks or shares.

        A product that the file groups keeps its key, and its variant is named; another one gets a key.
        """
        builder, book = self._builder, self._builder.book
        key = draft.product_key
        own = book.key(key, variant, chosen)
        if key and not nameless and not book.is_shared(own):
            if book.lesson == "shared" and self._acceptable(draft):
                book.learn(record, self._tally.counts.records, own)
            return variant
        fallback = builder.fallback_key(draft) if builder.options.key_fallback else ""
        if not fallback:
            return Code.MISSING_KEY, f"the record has no {'SKU' if nameless else 'product key'}; {KEY_HINT}"
        if nameless or (key and self._groups and key != draft.sku):
            variant = draft.variant_key = fallback
        else:
            draft.product_key = fallback
        name = variant if self._variants_by == [EVERY_VARIANT] else chosen
        if book.is_owned(book.key(draft.product_key, variant, name)):
            return builder.taken_key(fallback)
        return variant

    def _comes_again(self, record: Record, draft: Draft, identity: int) -> bool:
        """Another good record with this key comes after this good one (where the last one counts)."""
        book, serial = self._builder.book, self._tally.counts.records
        if book.lesson == "last" and self._acceptable(draft):
            book.learn(record, serial, identity)
        return not book.lesson and not book.counts(serial, identity) and self._acceptable(draft)

    def _acceptable(self, draft: Draft) -> bool:
        if self._variants_by and self._lends:
            self._inherit(draft)
        return self._builder.key_problem(draft) is None and self._builder.problem(draft) is None

    def _again(self, record: Record, draft: Draft, variant: str, line: int, same: bool) -> Reject | None:
        key = draft.product_key
        name = f"{key}/{variant}" if variant else key
        word = "the same" if same else "another"
        if self._builder.options.on_duplicate == "first":
            self._tally.continuation()
            self._tally.remark(f"{word} record with a key that was used already, left out", name)
            return None
        message = f"key {name!r} was used already, on line {line}, by {word} record; on_duplicate says which one counts"
        if not same:
            message += f", and {KEY_HINT}"
        return self._tally.reject(record, Code.DUPLICATE_KEY, message, key)

    def _with_parent(self, draft: Draft, parents: Parents) -> Draft | str:
        """A variant merged with its parent; a sentence when the parent is not there and the draft cannot do without."""
        name = parents.parent_of(draft)
        if not name:
            return draft
        line = parents.line(name)
        if not line:
            if not plain_text(draft.title):
                told = f"a variant of {name[:KEY_MAX]!r}, which is not in the catalog, and without a title of its own"
                return f"{told}; {self._hint}" if self._hint else told
            self._tally.remark("variant whose parent is not in the catalog, taken by itself", draft.sku or name)
            draft.product_key = draft.product_key or draft.sku
            draft.variant_key = draft.variant_key if draft.variant_key != draft.product_key else ""
            return draft
        parent = line[-1]
        if self._variants_by:
            draft.product_key = parent.product_key
            for above in line:
                draft.fill_from(above)
            return draft
        # One Product for all variants: the parent speaks for them, whichever record comes first.
        for below in (*line[-2::-1], draft):
            parent.fill_texts_from(below)
        parent.variant_key = draft.variant_key or draft.sku
        parent.sku = parent.sku or draft.sku
        parent.is_parent = False
        return parent

    def _show_all(self, draft: Draft, variants: Iterator[Shown]) -> None:
        """One Product for all variants: to its parent's photos and attributes come theirs."""
        found: dict[str, dict[str, None]] = {}
        photos = list(draft.image_refs)
        for variant in variants:
            if not self._builder.wants(variant.status):
                continue
            photos += variant.image_refs
            for name, value in variant.attributes.items():
                if value and not draft.attributes.get(name):
                    found.setdefault(name, {})[value] = None
        draft.image_refs = photos
        draft.attributes = draft.attributes | {name: ", ".join(values) for name, values in found.items()}

    def _inherit(self, draft: Draft) -> None:
        """Exports that list variants below their product state its texts and photos once: in the first record."""
        last = self._last
        if draft.product_key == last.product_key:
            draft.title = draft.title or last.title
            draft.description = draft.description or last.description
            draft.category = draft.category or last.category
            draft.brand = draft.brand or last.brand
            draft.image_refs = draft.image_refs or last.image_refs

    def _chosen(self, draft: Draft, variant: str) -> str:
        """The variant key of the Product this record belongs to, by the user's choice of variants."""
        if self._variants_by == [EVERY_VARIANT]:
            return variant
        values = {attribute_name(name): plain_text(value) for name, value in draft.attributes.items()}
        picked = (values.get(attribute_name(name), "") for name in self._variants_by)
        return VARIANT_JOIN.join(value for value in picked if value)
