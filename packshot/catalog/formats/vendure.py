"""Vendure's product CSV: cells padded with blanks, a product's further variants below it in rows without a name.

The names of the options stand in the first row (``size|colour``), their values in each (``small|red``). Texts may come
in several languages (``name:en``, ``facets:de``), photos are file names: the product's, and the variant's own.
Source: docs.vendure.io, "Importing data".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from packshot.catalog.columns import named_columns
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.following import Row, settle_following
from packshot.catalog.formats.generic import draft_reader
from packshot.catalog.images import split_refs
from packshot.catalog.locales import check_languages, choose_columns, scoped
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name, one_line
from packshot.catalog.where import Begins

NAME = "vendure"

# Target -> columns without their language.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_key": ("slug", "sku"),
    "sku": ("sku",),
    "title": ("name",),
    "description": ("description",),
    "status": ("enabled",),
    "price": ("price",),
    "image_refs": ("assets",),
    "variant_images": ("variantAssets",),
    "option_names": ("optionGroups",),
    "option_values": ("optionValues",),
    "facets": ("facets",),
    "variant_facets": ("variantFacets",),
}
_OWN = ("image_refs", "variant_images", "option_names", "option_values", "facets", "variant_facets")
_MARKS = {"name", "sku", "optionGroups", "optionValues"}
_STATUSES = {"true": "active", "false": "draft"}
_BETWEEN = "|"


def detect(header: list[str]) -> bool:
    """A name, and Vendure's own columns of options."""
    return {scoped(column).base for column in header} >= _MARKS


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns, texts in one language; the mapping may replace them or add attributes.

    Raises:
        ConfigError: a mapped column is missing, no column holds the key or the title, or the locale is not there.
    """
    columns = [scoped(column) for column in table.header if column]
    # A product's key must not change with the language that is read: the file's first slug is it.
    slugs = {parts.column: "slug" for parts in columns if parts.base == "slug"}
    choice = choose_columns([parts for parts in columns if parts.base != "slug"], options, ("name", "description"))
    bases = {column: base for base, column in choice.columns.items()} | slugs
    mapping = named_columns(table, options, _NAMES, lambda column: bases.get(column, ""))
    check_languages(table, choice, options, [column for columns in mapping.values() for column in columns])
    return mapping


def product_begins(header: list[str], mapping: Mapping[str, list[str]]) -> Begins:
    """With a name, in whatever language; further variants have none."""
    places = [place for place, column in enumerate(header) if scoped(column).base == "name"]
    return lambda cells: any(cells[place] for place in places)


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    return settle_following(table, builder, _reader(table.header, mapping, builder.options), first_is_variant=True)


def _reader(header: list[str], mapping: Mapping[str, list[str]], options: CatalogOptions) -> Callable[[Record], Row]:
    read_cells = draft_reader(header, {t: columns for t, columns in mapping.items() if t not in _OWN}, options)
    places = {target: [header.index(column) for column in mapping.get(target, [])] for target in _OWN}
    first_row = product_begins(header, mapping)
    separator = options.separator("image_refs", _BETWEEN)
    option_names: list[str] = []

    def parts(record: Record, target: str) -> list[str]:
        return [part.strip() for place in places[target] for part in record.cells[place].split(_BETWEEN)]

    def refs(record: Record, target: str) -> list[str]:
        return [ref for place in places[target] for ref in split_refs(record.cells[place], separator)]

    def read(record: Record) -> Row:
        nonlocal option_names
        draft = read_cells(record)
        begins = first_row(record.cells)
        if begins:
            option_names = parts(record, "option_names")
        mapped = draft.attributes
        draft.attributes = {}
        draft.status = _STATUSES.get(draft.status.casefold(), draft.status)
        values = parts(record, "option_values")
        for place, value in enumerate(values):
            name = option_names[place] if place < len(option_names) else ""
            if value:
                draft.attributes[attribute_name(name) or f"option{place + 1}"] = value
        _take_facets(draft, parts(record, "facets") + parts(record, "variant_facets"))
        draft.attributes |= mapped
        draft.variant_key = draft.variant_key or draft.sku or one_line(" / ".join(filter(None, values)))
        draft.image_refs = refs(record, "variant_images")
        return Row(draft, begins, photos=refs(record, "image_refs") if begins else [])

    return read


def _take_facets(draft: Draft, facets: list[str]) -> None:
    """``brand:Acme|category:Home|category:Lamps|type:Pendant`` -> brand, category path and attributes."""
    found: dict[str, list[str]] = {}
    for facet in facets:
        name, _, value = facet.partition(":")
        if attribute_name(name) and value.strip():
            found.setdefault(attribute_name(name), []).append(value.strip())
    draft.brand = draft.brand or ", ".join(found.pop("brand", []))
    draft.category = draft.category or " > ".join(found.pop("category", []))
    for name, values in found.items():
        draft.attributes.setdefault(name, ", ".join(dict.fromkeys(values)))
