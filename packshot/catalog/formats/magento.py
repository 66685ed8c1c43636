"""Magento's (Adobe Commerce's) product CSV: configurable products list their variants, store views repeat a SKU.

A row that names a store view holds what differs there; the row without one holds the product. Also Magento's sample
data, which has an ``attribute_set`` and categories on lines of their own. Source: experienceleague.adobe.com,
"Product data attribute reference" of Commerce's data transfer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

from packshot.catalog.columns import named_columns
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.flat import settle_families
from packshot.catalog.formats.generic import draft_reader
from packshot.catalog.formats.magento_views import StoreViews
from packshot.catalog.formats.shop_cells import categories, status_word
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name

NAME = "magento"
product_begins = None  # each record says itself what it is

# Target -> folded column names, the better first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_key": ("sku",),
    "sku": ("sku",),
    "title": ("name",),
    "description": ("description", "short_description"),
    "category": ("categories", "category"),
    "brand": ("manufacturer", "brand"),
    "status": ("product_online", "status"),
    "price": ("price",),
    "image_refs": ("base_image", "image", "small_image", "thumbnail_image", "additional_images"),
    **{f"attributes.{name}": (name,) for name in ("color", "size", "material", "pattern", "gender", "age_group")},
    "type": ("product_type",),
    "variations": ("configurable_variations",),
    "more": ("additional_attributes",),
    "view": ("store_view_code",),
}
_OWN = ("type", "variations", "more", "view")
_MARKS = {
    "attribute_set_code", "product_type", "product_websites", "store_view_code", "configurable_variations",
    "additional_attributes", "base_image", "product_online", "tax_class_name",
}  # fmt: skip
_MARKS_NEEDED = 2
_SAMPLE_DATA = {"sku", "name", "category", "attribute_set"}

_SAME_PICTURE = ("base_image", "image", "small_image", "thumbnail_image")
"""Roles of a product's pictures; nearly always one picture in several sizes, so the first that is filled counts."""

_NO_PICTURE = "no_selection"
_PAIR = re.compile(
    r'([A-Za-z]\w{0,59})=(?:"((?:[^"]|"")*+)"(?=,|$)|(.*?))(?=,[A-Za-z]\w{0,59}=|$)', re.ASCII | re.DOTALL
)
"""``color=Red,care=Wash cold, dry flat``: a comma that no name and equals sign follow is the value's own."""

# Attributes that Magento keeps for itself: prices, switches and texts for search engines.
_ADMINISTRATIVE = re.compile(
    r"(?:has|required)_options|options_container|cost|msrp\w*|special_\w+|tax_class\w*|meta_\w+|url_\w+|gift_\w+"
    r"|news_\w+|custom_\w+|page_layout|quantity_and_stock_status|shipment_type|price_\w+|swatch_image|ts_\w+|links_\w+"
)
_SWITCHES = {"", "0", "1", "yes", "no"}


def detect(header: list[str]) -> bool:
    """A SKU, a name, and columns that only Magento names so."""
    folded = {name.casefold() for name in header}
    return {"sku", "name"} <= folded and (len(folded & _MARKS) >= _MARKS_NEEDED or folded >= _SAMPLE_DATA)


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns; the mapping may replace the columns of a target, or add attributes.

    Raises:
        ConfigError: a mapped column is missing, or no column holds the key or the title.
    """
    return named_columns(table, options, _NAMES, str.casefold)


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    read = _reader(table.header, mapping, builder.options)
    if "view" not in mapping:
        yield from settle_families(table, builder, read)
        return
    place = table.header.index(mapping["view"][0])
    with closing(StoreViews(builder, read, place)) as views:
        views.look_through(table)
        yield from settle_families(table, builder, views.read)


def _reader(header: list[str], mapping: Mapping[str, list[str]], options: CatalogOptions) -> Callable[[Record], Draft]:
    texts = {target: names for target, names in mapping.items() if target not in _OWN}
    pictures: list[int] = []
    if options.columns("image_refs") is None:
        images = texts.pop("image_refs", [])
        pictures = [header.index(name) for name in images if name.casefold() in _SAME_PICTURE]
        texts["image_refs"] = [name for name in images if name.casefold() not in _SAME_PICTURE]
    read_cells = draft_reader(header, texts, options)
    type_place, variations_place, more_place = (header.index(mapping[t][0]) if t in mapping else None for t in _OWN[:3])
    step = options.separator("category", usual="/")

    def read(record: Record) -> Draft:
        cells = record.cells
        draft = read_cells(record)
        draft.category = _category(draft.category, step)
        draft.status = status_word(draft.status)
        for name, value in draft.attributes.items():
            if "\n" in value or "\r" in value:
                draft.attributes[name] = ", ".join(filter(None, map(str.strip, value.splitlines())))
        main = (cells[place] for place in pictures if cells[place] not in ("", _NO_PICTURE))
        draft.image_refs = [*([picture] if (picture := next(main, "")) else []), *draft.image_refs]
        draft.image_refs = [ref for ref in draft.image_refs if ref != _NO_PICTURE]
        if more_place is not None and cells[more_place]:
            for code, value in _pairs(cells[more_place]):
                name = attribute_name(code)
                kept = value.casefold() not in _SWITCHES and not _ADMINISTRATIVE.fullmatch(name)
                if kept and not draft.attributes.get(name):
                    draft.attributes[name] = value.replace("|", ", ")
        if variations_place is not None and cells[variations_place]:
            draft.children = tuple(_listed(cells[variations_place]))
        kind = cells[type_place].casefold() if type_place is not None else ""
        draft.is_parent = kind == "configurable" or bool(draft.children)
        return draft

    return read


def _pairs(cell: str) -> Iterator[tuple[str, str]]:
    for match in _PAIR.finditer(cell):
        quoted = match[2]
        yield match[1], (match[3] if quoted is None else quoted.replace('""', '"')).strip()


def _listed(cell: str) -> Iterator[str]:
    """The SKUs in ``sku=A-XS,size=XS|sku=A-S,size=S``."""
    for variation in cell.split("|"):
        for code, value in _pairs(variation):
            if code.casefold() == "sku" and value:
                yield value


def _category(cell: str, step: str) -> str:
    if "\n" in cell or "\r" in cell:
        return " > ".join(filter(None, map(str.strip, cell.splitlines())))
    return categories(cell, step, roots=("Default Category", "Root Catalog")) if cell else ""
