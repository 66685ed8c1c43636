"""Which column feeds which target: the user's mapping first, then the usual names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache

from packshot.catalog.aliases import ALIASES
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.locales import Choice, Scoped, choose_columns, is_locale, scoped
from packshot.catalog.options import TARGETS, CatalogOptions
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name, one_line
from packshot.errors import Code, ConfigError

_LOCALISED = {alias.removesuffix("{loc}") for aliases in ALIASES.values() for alias in aliases if "{loc}" in alias}
_NO_LOCALES = {"id"}
"""Behind an underscore: ``name_id`` is a number far more often than Indonesian."""

_COALESCED = {"product_key", "title", "description", "image_refs"}
"""Targets that may draw on several columns; for the others the first alias present is the only one, because a category
and a type, or a SKU and an id, are not the same thing said twice."""

_NEEDED = {"product_key": "key", "title": "title"}
_LISTED = 60
_ATTRIBUTES = {"color", "colour", "size", "material", "pattern", "gender", "age_group"}
_METAFIELD = re.compile(r".*\(product\.metafields\.[^.()]+\.([^()]+)\)$")


_SHOWS = {
    "color", "colour", "size", "material", "pattern", "gender", "style", "shape", "finish", "fabric", "composition",
    "texture", "weight", "length", "width", "height", "depth", "diameter", "dimensions", "volume", "capacity",
}  # fmt: skip


def shows(name: str, options: CatalogOptions) -> bool:
    """Is this, of a shop system's many product attributes, one that a picture shows, or that tells variants apart?

    Words count, so ``eu_shoes_size`` and ``colorFreeDefinition`` do, ``ean`` and ``wash_temperature`` do not.
    """
    words = re.findall(r"[^\W\d_A-Z]+|[A-Z][^\W\d_A-Z]*", name)
    picked = {attribute_name(variant) for variant in options.variants_by}
    return attribute_name(name) in _ATTRIBUTES | picked or any(word.casefold() in _SHOWS for word in words)


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
    languages = find_languages(columns, options)
    found: dict[str, list[str]] = {}
    for target in TARGETS:
        mapped = options.columns(target)
        names = _by_alias(columns, target, languages, options) if mapped is None else mapped
        if names:
            found[target] = names
    for column in columns:
        name = attribute_name(column)
        if name in _ATTRIBUTES or metafield_name(column):
            found[f"attributes.{metafield_name(column) or name}"] = [column]
    return found | {f"attributes.{name}": names for name, names in options.mapped_attributes().items()}


def find_languages(columns: Iterable[str], options: CatalogOptions) -> Choice:
    """What the texts of such a file come in, and the columns that :func:`find_columns` takes of them."""
    found = [localised for column in columns if (localised := _localised(column))]
    return choose_columns(found, options)


def _localised(column: str) -> Scoped | None:
    """``Name-en_US``, ``title:de``, ``description_fr``: a known text in a language."""
    parts = scoped(column)
    if parts.locale and parts.base.casefold() in _LOCALISED:
        return parts._replace(base=parts.base.casefold())
    for base in _LOCALISED:
        ending = column[len(base) + 1 :]
        if column.casefold().startswith(f"{base}_") and is_locale(ending) and ending.casefold() not in _NO_LOCALES:
            return Scoped(column, base, ending)
    return None


def _by_alias(columns: list[str], target: str, languages: Choice, options: CatalogOptions) -> list[str]:
    found: dict[str, None] = {}
    for alias in ALIASES.get(target, ()):
        if "{loc}" in alias:
            column = languages.columns.get(alias.removesuffix("{loc}"))
            hits = [column] if column else []
            if options.locale and hits:
                found = dict.fromkeys(hits) | found  # what is said to be in the language wanted goes first
        else:
            hits = [column for column in columns if _pattern(alias).fullmatch(column)]
        found.update(dict.fromkeys(hits))
        if found and target not in _COALESCED:
            break
    return list(found) if target in _COALESCED else list(found)[:1]


@cache
def _pattern(alias: str) -> re.Pattern[str]:
    words = (re.escape(word).replace(r"\{n\}", r"\d+") for word in re.split("[ _-]", alias))
    return re.compile("[ _-]".join(words), re.IGNORECASE)


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
    found = known_columns(table.header, names, known_as) | mapped_columns(options)
    found = {target: columns for target, columns in found.items() if columns}
    check_mapping(table.label, options, table.header, found)
    return found


def known_columns(
    header: Iterable[str], names: Mapping[str, tuple[str, ...]], known_as: Callable[[str], str]
) -> dict[str, list[str]]:
    """As :func:`named_columns`, by the names alone; targets without a column are absent."""
    columns: dict[str, list[str]] = {}
    for column in filter(None, header):
        columns.setdefault(known_as(column), []).append(column)
    found = {target: [column for name in known for column in columns.get(name, [])] for target, known in names.items()}
    return {target: columns for target, columns in found.items() if columns}
