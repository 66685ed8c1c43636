"""Which column feeds which target: the user's mapping first, then the usual names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

from packshot.catalog.aliases import ALIASES
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.options import TARGETS, CatalogOptions
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name, one_line
from packshot.errors import Code, ConfigError

_LOCALE = r"[-.:][a-z]{2,3}(?:[-_][a-z0-9]{2,8})*"

_COALESCED = {"product_key", "title", "description", "image_refs"}
"""Targets that may draw on several columns; for the others the first alias present is the only one, because a category
and a type, or a SKU and an id, are not the same thing said twice."""

_NEEDED = {"product_key": "key", "title": "title"}
_LISTED = 60
_ATTRIBUTES = {"color", "colour", "size", "material", "pattern", "gender", "age_group"}
_METAFIELD = re.compile(r".*\(product\.metafields\.[^.()]+\.([^()]+)\)$")


def metafield_name(column: str) -> str:
    """``Farbe (product.metafields.shopify.color-pattern)`` -> ``color-pattern``; other columns -> empty.

    The words before the bracket are in the shop's language, the key inside it is the same everywhere.
    """
    match = _METAFIELD.fullmatch(column.strip())
    return one_line(match[1]) if match else ""


class UnmappedColumns(ConfigError):
    """No column is known to hold the product's key or title. ``details``: the ``known`` targets."""

    @classmethod
    def of(cls, name: object, columns: Iterable[str], mapping: Mapping[str, list[str]]) -> UnmappedColumns | None:
        """The error for this mapping; None when it has what is needed."""
        missing = [word for target, word in _NEEDED.items() if not mapping.get(target)]
        what = f"{name} has no column known to hold the product's {' and '.join(missing)}. Found: {listed(columns)}"
        return cls(Code.CATALOG_INVALID, what, known=[*filter(mapping.get, mapping)]) if missing else None


def find_columns(columns: Iterable[str], options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns, for a file with these columns and no dialect of its own."""
    columns = [column for column in columns if column]
    found: dict[str, list[str]] = {}
    for target in TARGETS:
        mapped = options.columns(target)
        names = _by_alias(columns, target) if mapped is None else mapped
        if names:
            found[target] = names
    for column in columns:
        name = attribute_name(column)
        if name in _ATTRIBUTES or metafield_name(column):
            found[f"attributes.{metafield_name(column) or name}"] = [column]
    return found | {f"attributes.{name}": names for name, names in options.mapped_attributes().items()}


def _by_alias(columns: list[str], target: str) -> list[str]:
    found: dict[str, None] = {}
    locale = ""
    for alias in ALIASES.get(target, ()):
        pattern = re.escape(alias).replace(r"\{loc\}", _LOCALE).replace(r"\{n\}", r"\d+")
        hits = [column for column in columns if re.fullmatch(pattern, column, re.IGNORECASE)]
        if hits and "{loc}" in alias:
            hits = [column for column in hits if locale and column.endswith(locale)] or hits[:1]
            locale = hits[0][len(alias) - len("{loc}") :]  # one language: the file's first
        found.update(dict.fromkeys(hits))
        if found and target not in _COALESCED:
            break
    return list(found) if target in _COALESCED else list(found)[:1]


def missing_columns(name: object, missing: list[str], found: Iterable[str], kind: str = "column") -> ConfigError:
    """The error that names what is missing, what is there, and what may have been meant."""
    columns = [one_line(column) for column in found if column]
    sentences = []
    for column in missing:
        folded = {known.casefold(): known for known in reversed(columns)}
        close = [folded[hit] for hit in get_close_matches(column.casefold(), folded, n=2, cutoff=0.6)]
        hint = f" (did you mean {' or '.join(repr(c) for c in close)}?)" if close else ""
        sentences.append(f"{column!r}{hint}")
    return bad_catalog(name, f"has no {kind} {', '.join(sentences)}. Found: {listed(columns)}")


def listed(columns: Iterable[str]) -> str:
    """Column names for a message: printable, and not hundreds of them."""
    names = [one_line(column) for column in columns if column]
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def mapped_columns(options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns, for the targets that the user mapped; an empty list switches a target off."""
    found = {target: options.columns(target) for target in ("product_key", *options.mapping)}
    return {target: columns for target, columns in found.items() if columns is not None}


def check_mapping(name: object, options: CatalogOptions, columns: list[str], mapping: Mapping[str, list[str]]) -> None:
    """Every mapped column exists, and there is a key and a title to go by."""
    wanted = [column for mapped in mapped_columns(options).values() for column in mapped]
    missing = [name for name in dict.fromkeys(wanted) if name not in columns]
    if missing:
        raise missing_columns(name, missing, columns)
    unmapped = UnmappedColumns.of(name, columns, mapping)
    if unmapped:
        raise unmapped


def named_columns(
    table: Table, options: CatalogOptions, names: Mapping[str, tuple[str, ...]], known_as: Callable[[str], str]
) -> dict[str, list[str]]:
    """Target -> columns, for a format that knows its columns' names; the user's mapping replaces a target's.

    ``known_as`` makes of a header cell the name to look for; columns of one name stay in their order.

    Raises:
        ConfigError: a mapped column is missing, or no column holds the key or the title.
    """
    columns: dict[str, list[str]] = {}
    for column in filter(None, table.header):
        columns.setdefault(known_as(column), []).append(column)
    found = {target: [column for name in known for column in columns.get(name, [])] for target, known in names.items()}
    found = {target: column_names for target, column_names in (found | mapped_columns(options)).items() if column_names}
    check_mapping(table.label, options, table.header, found)
    return found
