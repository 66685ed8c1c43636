"""Generic CSV and tab-separated text: one record, one product (or variant), by mapping or by usual column names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from packshot.catalog.columns import check_mapping, find_columns
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.flat import settle_rows
from packshot.catalog.images import split_refs
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import ATTRIBUTE_PREFIX, TEXT_TARGETS, CatalogOptions
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name

NAME = "csv"
FILL_DOWN = False

# WooCommerce: "Attribute 1 name" and "Attribute 1 value(s)"; Spryker: attribute_key_1 and value_1.
_PAIRS = (
    (re.compile(r"attribute (\d+) name"), "attribute {} value(s)"),
    (re.compile(r"attribute_key_(\d+)"), "value_{}"),
)


def detect(header: list[str]) -> bool:
    """Any table will do."""
    return True


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns.

    Raises:
        ConfigError: a mapped column is missing, or no column holds the key or the title.
    """
    mapping = find_columns(table.header, options)
    check_mapping(table.label, options, table.header, mapping)
    return mapping


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    header = table.header
    places = {target: [header.index(name) for name in names] for target, names in mapping.items()}
    pairs = _attribute_pairs(header)
    separator = builder.options.separator("image_refs")
    has_variants = "variant_key" in places or places.get("sku", []) not in ([], places["product_key"])
    return settle_rows(table, builder, lambda record: _draft(record.cells, places, pairs, separator), has_variants)


def _attribute_pairs(header: list[str]) -> list[tuple[int, int]]:
    folded = {name.casefold(): place for place, name in reversed(list(enumerate(header)))}
    found = []
    for pattern, value_column in _PAIRS:
        for name, place in folded.items():
            match = pattern.fullmatch(name)
            value_place = folded.get(value_column.format(match[1])) if match else None
            if value_place is not None:
                found.append((place, value_place))
    return sorted(found)


def _draft(
    cells: tuple[str, ...], places: Mapping[str, list[int]], pairs: list[tuple[int, int]], separator: str
) -> Draft:
    draft = Draft()
    for name_place, value_place in pairs:
        name = attribute_name(cells[name_place])
        if name:
            draft.attributes[name] = cells[value_place]
    for target, columns in places.items():
        if target == "image_refs":
            draft.image_refs = [ref for place in columns for ref in split_refs(cells[place], separator)]
            continue
        value = next((cells[place] for place in columns if cells[place]), "")
        if target in TEXT_TARGETS:
            setattr(draft, target, value)
        elif value:
            draft.attributes[target.removeprefix(ATTRIBUTE_PREFIX)] = value
    return draft
