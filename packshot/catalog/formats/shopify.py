"""Shopify's product CSV, in both header dialects: several rows make one product.

Rows that share a handle are one product. The first carries title and texts; each further row is a variant, an extra
image, or both at once. ``Image Src`` always belongs to the product, ``Variant Image`` to the variant of its row.
Source: help.shopify.com, "Using CSV files to import and export products".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from packshot.catalog.columns import mapped_columns, metafield_name, missing_columns
from packshot.catalog.draft import Builder
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.formats.shopify_product import OPTION_COUNT, Row, ShopifyProduct, refuse_unplaced
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import ATTRIBUTE_PREFIX, CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.tables import Table
from packshot.catalog.text import one_line
from packshot.catalog.where import Begins

NAME = "shopify"

_OPTIONS = range(1, OPTION_COUNT + 1)

# Target -> names in the old and the new dialect, folded; pairs that differ by case only stand once.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_key": ("handle", "url handle"),
    "title": ("title",),
    "description": ("body (html)", "description"),
    "category": ("product category", "type"),
    "brand": ("vendor",),
    "status": ("status",),
    "sku": ("variant sku", "sku"),
    "price": ("variant price", "price"),
    "image_refs": ("image src", "product image url"),
    "image_position": ("image position",),
    "variant_image": ("variant image", "variant image url"),
    "attributes.gender": ("google shopping / gender",),
    "attributes.age_group": ("google shopping / age group",),
    **{f"option{n}_name": (f"option{n} name",) for n in _OPTIONS},
    **{f"option{n}_value": (f"option{n} value",) for n in _OPTIONS},
}
_MARKS = {"option1 value", "variant sku", "variant price", "image src", "product image url", "body (html)"}


def detect(header: list[str]) -> bool:
    """A handle, a title, and a column that no other shop system names so."""
    folded = {name.casefold() for name in header}
    return bool(folded & {"handle", "url handle"}) and "title" in folded and bool(folded & _MARKS)


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns; the mapping may replace the column of a product's text or add attributes.

    Raises:
        ConfigError: handle or title are missing, a column stands twice, or the mapping asks for what cannot be.
    """
    path, header = table.label, table.header
    known = {name for names in _NAMES.values() for name in names}
    folded: dict[str, str] = {}
    for name in header:
        if name.casefold() in folded and name.casefold() in known:
            raise bad_catalog(path, f"has two columns {name!r} (upper and lower case are the same here)")
        folded.setdefault(name.casefold(), name)
    if "variant_key" in options.mapping:
        raise bad_catalog(path, "is a Shopify catalog: its variants come from its options; see variants_by")
    mapping: dict[str, list[str]] = {}
    for target, names in _NAMES.items():
        columns = [folded[name] for name in names if name in folded]
        if columns:
            mapping[target] = columns
    for column in header:
        if metafield_name(column):
            mapping.setdefault(ATTRIBUTE_PREFIX + metafield_name(column), [column])
    wanted = mapped_columns(options)
    missing = [name for names in wanted.values() for name in names if name not in header]
    if missing:
        raise missing_columns(path, missing, header)
    mapping |= wanted
    for target in ("product_key", "title"):
        if not mapping.get(target):
            raise missing_columns(path, [{"product_key": "Handle", "title": "Title"}[target]], header)
    return {target: columns for target, columns in mapping.items() if columns}


def product_begins(header: list[str], mapping: Mapping[str, list[str]]) -> Begins:
    """With another handle than the row above."""
    places = [header.index(column) for column in mapping["product_key"]]
    last = ""

    def begins(cells: tuple[str, ...]) -> bool:
        nonlocal last
        handle = next((cells[place] for place in places if cells[place]), "")
        before, last = last, handle or last
        return handle not in ("", before)

    return begins


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects, each when the last row of its product has been read, ordered by record number."""
    header = table.header
    places = {target: [header.index(name) for name in names] for target, names in mapping.items()}
    product: ShopifyProduct | None = None
    for record in table.records():
        if isinstance(record, Record) and record.blank:
            builder.tally.blank()
            continue
        row = _row(record, places) if isinstance(record, Record) else None
        handle = one_line(row.texts["product_key"]) if row else ""
        if product is not None and (product.full or handle not in ("", product.handle)):
            yield from product.settle(builder)
            product = None
        if row is not None and handle:
            if product is None:
                product = ShopifyProduct(handle, row)
            else:
                product.add(row)
        elif product is not None:
            # A row that cannot be placed does not end the product: the rows below may go on with it.
            product.add_unplaced(record)
        else:
            yield refuse_unplaced(record, builder)
    if product is not None:
        yield from product.settle(builder)


def _row(record: Record, places: Mapping[str, list[int]]) -> Row:
    cells = record.cells
    texts = {target: next((cells[i] for i in columns if cells[i]), "") for target, columns in places.items()}
    images = [cells[i] for i in places.get("image_refs", []) if cells[i]]
    return Row(record, texts, images)
