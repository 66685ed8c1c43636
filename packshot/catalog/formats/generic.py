"""Generic CSV and tab-separated text: one record, one product (or variant), by mapping or by usual column names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter

from packshot.catalog.columns import check_mapping, find_columns, find_languages
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.flat import settle_rows
from packshot.catalog.images import split_refs
from packshot.catalog.locales import check_languages
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import ATTRIBUTE_PREFIX, TEXT_TARGETS, CatalogOptions
from packshot.catalog.records import NO_COLUMN, Record
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name
from packshot.catalog.usual import usual_reader

NAME = "csv"
product_begins = None  # each record says itself what it is

# WooCommerce: "Attribute 1 name" and "Attribute 1 value(s)", in German too; Spryker: attribute_key_1 and value_1.
_PAIRS = (
    (re.compile(r"attribute (\d+) name"), "attribute {} value(s)"),
    (re.compile(r"attribut (\d+) name"), "attribut {} wert(e)"),
    (re.compile(r"attribute_key_(\d+)"), "value_{}"),
)


def detect(header: list[str]) -> bool:
    """Any table will do."""
    return True


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns.

    Raises:
        ConfigError: a mapped column is missing, no column holds the key or the title, or the locale is not there.
    """
    mapping = find_columns(table.header, options)
    check_mapping(table.label, options, table.header, mapping)
    used = [column for columns in mapping.values() for column in columns]
    check_languages(table, find_languages(table.header, options), options, used)
    return mapping


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    has_variants = "variant_key" in mapping or mapping.get("sku", []) not in ([], mapping["product_key"])
    has_usual = not has_variants and not _attribute_pairs(table.header)
    usual = usual_reader(table.header, mapping, builder) if has_usual else None
    read = draft_reader(table.header, mapping, builder.options)
    return settle_rows(table, builder, read, has_variants, usual=usual)


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


def draft_reader(
    header: list[str], mapping: Mapping[str, list[str]], options: CatalogOptions
) -> Callable[[Record], Draft]:
    """What makes drafts of this table's records; whatever can be looked up once is."""
    places = {target: [header.index(name) for name in names] for target, names in mapping.items()}
    images = places.pop("image_refs", [])
    several = [(t, found) for t, found in places.items() if t in TEXT_TARGETS and len(found) > 1]
    nowhere = len(header)
    texts = itemgetter(*(places[t][0] if len(places.get(t, ())) == 1 else nowhere for t in TEXT_TARGETS))
    attributes = [  # backwards: of several columns the first that says something is the last to be written
        (t.removeprefix(ATTRIBUTE_PREFIX), place)
        for t, found in places.items()
        if t not in TEXT_TARGETS
        for place in reversed(found)
    ]
    pairs = _attribute_pairs(header)
    separator = options.separator("image_refs")

    def read(record: Record) -> Draft:
        cells = record.cells
        draft = Draft(*texts(cells + NO_COLUMN))
        stated = draft.attributes
        for target, found in several:
            setattr(draft, target, next((cells[place] for place in found if cells[place]), ""))
        for name_place, value_place in pairs:
            name = attribute_name(cells[name_place])
            if name:
                stated[name] = cells[value_place]
        for name, place in attributes:
            if text := cells[place]:
                stated[name] = text
        for place in images:
            if cells[place]:
                draft.image_refs += split_refs(cells[place], separator)
        return draft

    return read
