"""PrestaShop's product files: those of its import, whose header cells explain themselves in brackets, and its exports.

Combinations (variants) are another file, which has no names and no texts: it is refused, with the reason.
Source: docs.prestashop-project.org, "CSV import", and the sample files that PrestaShop comes with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from packshot.catalog.columns import named_columns
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.flat import settle_rows
from packshot.catalog.formats.generic import draft_reader
from packshot.catalog.formats.shop_cells import CELL_MAX, categories, status_word
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name

NAME = "prestashop"
product_begins = None  # each record says itself what it is

# Target -> column names without what stands in brackets, folded, the better first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_key": ("reference", "product id", "id"),
    "sku": ("reference",),
    "title": ("name",),
    "description": ("description", "summary", "short description"),
    "category": ("categories", "category"),
    "brand": ("manufacturer", "brand"),
    "status": ("active", "enabled", "status"),
    "price": ("price tax excluded", "price tax included", "price"),
    "image_refs": ("image urls", "image"),
    "id": ("product id", "id"),
    "features": ("feature",),
}
_OWN = ("id", "features")
_MARKS = ("(0/1)", "(x,y,z...)", "(tax excl.)", "price tax excluded", "price tax included")
_COMBINATIONS = {"attribute", "value"}


def column_name(column: str) -> str:
    """``Name *``, ``Active (0/1)``, ``Reference #`` -> ``name``, ``active``, ``reference``."""
    return " ".join(re.sub(r"\([^)]*\)|[*#]", " ", column.casefold()).split())


def detect(header: list[str]) -> bool:
    """A reference and a name beside a header cell in PrestaShop's manner; or a file of combinations."""
    names = {column_name(column) for column in header}
    if {"reference", "name"} <= names:
        return any(mark in column.casefold() for column in header for mark in _MARKS)
    return _holds_combinations(header)


def _holds_combinations(header: list[str]) -> bool:
    names = {column_name(column) for column in header}
    return names >= _COMBINATIONS and bool(names & {"product id", "product reference"}) and "name" not in names


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns; the mapping may replace the columns of a target, or add attributes.

    Raises:
        ConfigError: the file holds combinations, a mapped column is missing, or no column holds the key or the title.
    """
    if _holds_combinations(table.header):
        what = "holds PrestaShop's combinations: variants without names, texts or categories"
        raise bad_catalog(table.label, f"{what}. Give the file of the products instead")
    return named_columns(table, options, _NAMES, column_name)


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    read = _reader(table.header, mapping, builder.options)
    return settle_rows(table, builder, read, has_variants="variant_key" in mapping, lends=False)


def _reader(header: list[str], mapping: Mapping[str, list[str]], options: CatalogOptions) -> Callable[[Record], Draft]:
    read_cells = draft_reader(header, {t: names for t, names in mapping.items() if t not in _OWN}, options)
    id_place, features_place = (header.index(mapping[t][0]) if t in mapping else None for t in _OWN)
    key_is_mapped = options.columns("product_key") is not None
    step = options.separator("category", usual="/")

    def read(record: Record) -> Draft:
        draft = read_cells(record)
        number = record.cells[id_place] if id_place is not None else ""
        if number and not draft.sku and not key_is_mapped:
            draft.product_key = f"id:{number}"
        draft.status = status_word(draft.status)
        draft.category = categories(draft.category, step, roots=("Home", "Root")) if draft.category else ""
        if features_place is not None and record.cells[features_place]:
            draft.attributes = _features(record.cells[features_place]) | draft.attributes
        return draft

    return read


def _features(cell: str) -> dict[str, str]:
    """``Colour:Red:1,Made of:Wool, Silk`` -> names and values; positions and flags left out.

    A comma that no feature's name and colon follow is the value's own.
    """
    found: dict[str, str] = {}
    for feature in re.split(r",(?=[^,:]+:)", cell[:CELL_MAX]):
        name, _, rest = feature.partition(":")
        value = re.sub(r":\d*(?::\d*)?$", "", rest).strip()
        if attribute_name(name) and value:
            before = found.get(attribute_name(name))
            found[attribute_name(name)] = f"{before}, {value}" if before else value
    return found
