"""WooCommerce's product CSV: variations name their parent by its SKU or its id, and stand anywhere.

Products that are no variations (simple, variable, grouped, external, and what plugins add) are products of their own.
The header is in the shop's language: English and German are known by themselves. Sources:
github.com/woocommerce/woocommerce/wiki, "Product CSV Import Schema", and headers of German exports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from packshot.catalog.columns import named_columns
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.flat import settle_families
from packshot.catalog.formats.generic import draft_reader
from packshot.catalog.formats.shop_cells import categories, status_word
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.tables import Table
from packshot.catalog.text import one_line

NAME = "woocommerce"
product_begins = None  # each record says itself what it is

# Target -> folded column names, the better first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_key": ("sku", "artikelnummer", "id"),
    "sku": ("sku", "artikelnummer"),
    "title": ("name",),
    "description": ("description", "beschreibung", "short description", "kurzbeschreibung"),
    "category": ("categories", "kategorien"),
    "brand": ("brands", "marken", "brand", "marke"),
    "status": ("published", "veröffentlicht"),
    "price": ("regular price", "regulärer preis", "sale price", "angebotspreis"),
    "image_refs": ("images", "bilder"),
    "id": ("id",),
    "type": ("type", "typ"),
    "parent": ("parent", "übergeordnetes produkt"),
}
_OWN = ("id", "type", "parent")
_MARKS = {
    "visibility in catalog", "is featured?", "regular price", "tax status", "in stock?", "backorders allowed?",
    "sold individually?", "allow customer reviews?", "date sale price starts", "attribute 1 value(s)", "parent",
    "sichtbarkeit im katalog", "ist hervorgehoben?", "regulärer preis", "steuerstatus", "vorrätig?",
    "nur einzeln verkaufen?", "attribut 1 wert(e)", "übergeordnetes produkt",
}  # fmt: skip
_MARKS_NEEDED = 2

_GUARD = re.compile(r"'(?=[=+\-@])")
"""Exports put an apostrophe before what a spreadsheet would take for a formula."""


def detect(header: list[str]) -> bool:
    """A name, and columns that only WooCommerce names so."""
    folded = {name.casefold() for name in header}
    return "name" in folded and len(folded & _MARKS) >= _MARKS_NEEDED


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns; the mapping may replace the columns of a target, or add attributes.

    Raises:
        ConfigError: a mapped column is missing, or no column holds the key or the title.
    """
    return named_columns(table, options, _NAMES, str.casefold)


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    return settle_families(table, builder, _reader(table.header, mapping, builder.options))


def _reader(header: list[str], mapping: Mapping[str, list[str]], options: CatalogOptions) -> Callable[[Record], Draft]:
    read_cells = draft_reader(header, {t: names for t, names in mapping.items() if t not in _OWN}, options)
    id_place, type_place, parent_place = (header.index(mapping[t][0]) if t in mapping else None for t in _OWN)
    key_is_mapped = options.columns("product_key") is not None
    step = options.separator("category", usual=">")

    def read(record: Record) -> Draft:
        draft = read_cells(record)
        number, kind, parent = (
            record.cells[place] if place is not None else "" for place in (id_place, type_place, parent_place)
        )
        draft.product_key, draft.sku, parent = (_unguarded(key) for key in (draft.product_key, draft.sku, parent))
        draft.title, draft.description = _unguarded(draft.title), _unguarded(draft.description)
        if number and not draft.sku and not key_is_mapped:
            draft.product_key = f"id:{number}"
        draft.category = categories(draft.category, step) if draft.category else ""
        draft.status = _status(draft.status)
        draft.attributes = {
            name.removeprefix("pa_"): value.replace("\\,", ",") for name, value in draft.attributes.items()
        }
        draft.brand = draft.brand or draft.attributes.pop("brand", "")
        draft.image_refs = [ref.replace("\\,", ",") for ref in draft.image_refs]
        if "variation" in kind.casefold() or (not kind and parent):
            draft.parent = one_line(parent) or "no product named in its row"
            draft.variant_key = draft.variant_key or ("" if draft.sku else draft.product_key)
            # A variation of a product that is off is off as well, whatever its own row says.
            draft.status = "" if draft.status == "active" else draft.status
        else:
            draft.is_parent = True
            draft.names = tuple(name for name in (f"id:{number}" if number else "", draft.sku) if name)
        return draft

    return read


def _unguarded(text: str) -> str:
    return text[1:] if _GUARD.match(text) else text


def _status(published: str) -> str:
    """WooCommerce writes 1 for what is published, 0 for what only the shop's staff can see, and -1 for drafts."""
    return "private" if published == "0" else status_word(published)
