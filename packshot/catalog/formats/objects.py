"""JSON: one object is one product (or variant); the mapping takes dotted paths into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from packshot.catalog.columns import UnmappedColumns, find_columns, find_languages, mapped_columns, missing_columns
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.flat import FlatCatalog
from packshot.catalog.images import split_refs
from packshot.catalog.locales import check_languages
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import ATTRIBUTE_PREFIX, TEXT_TARGETS, CatalogOptions
from packshot.catalog.records import Unreadable
from packshot.catalog.tables import Table
from packshot.catalog.tables.json_text import parse_object
from packshot.catalog.text import attribute_name
from packshot.catalog.where import not_accepted
from packshot.errors import Code

NAME = "json"
product_begins = None  # each record says itself what it is

_REF_KEYS = ("url", "src", "uri", "href", "link", "path")
"""Where a list of image objects keeps the reference, when the mapping does not say."""


def detect(columns: list[str]) -> bool:
    """Never by its keys: what is JSON shows before."""
    return False


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> paths, by the mapping and the keys of the first objects.

    Raises:
        ConfigError: a mapped path's first key is in none of them, or no key holds the product's key or title.
    """
    keys = table.header
    mapping = find_columns(keys, options)
    wanted = [path for paths in mapped_columns(options).values() for path in paths]
    missing = [path for path in dict.fromkeys(wanted) if _steps(path)[0] not in keys and path not in keys]
    if missing:
        raise missing_columns(table.label, missing, keys, kind="key in its first objects:")
    unmapped = UnmappedColumns.of(table.label, keys, mapping)
    if unmapped:
        raise unmapped
    used = [path for paths in mapping.values() for path in paths]
    check_languages(table, find_languages(keys, options), options, used)
    return mapping


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    tally = builder.tally
    has_variants = "variant_key" in mapping or mapping.get("sku", []) not in ([], mapping["product_key"])
    catalog = FlatCatalog(builder, has_variants)
    for record in table.records():
        if isinstance(record, Unreadable):
            yield tally.unreadable(record)
            continue
        if record.blank:
            tally.blank()
            continue
        parsed = parse_object(record.cells[0])
        if isinstance(parsed, str):
            yield tally.reject(record, Code.BAD_JSON, parsed)
            continue
        refusal = _unwanted(parsed, builder.options.where)
        if refusal:
            yield tally.reject(record, Code.NOT_SELECTED, refusal)
            continue
        item = catalog.settle(record, _draft(parsed, mapping, builder.options.separator("image_refs")))
        if item is not None:
            yield item


def _unwanted(parsed: dict[str, Any], where: Mapping[str, list[str]]) -> str:
    reasons = (not_accepted(path, _text(_lookup(parsed, path)), accepted) for path, accepted in where.items())
    return next(filter(None, reasons), "")


def _steps(path: str) -> list[str]:
    return path.replace("[]", "").split(".")


def _values(value: Any, steps: list[str]) -> Iterator[Any]:
    """What a path leads to; lists on the way are walked through."""
    if isinstance(value, list):
        for item in value:
            yield from _values(item, steps)
    elif not steps:
        yield value
    elif isinstance(value, dict) and steps[0] in value:
        yield from _values(value[steps[0]], steps[1:])


def _lookup(parsed: dict[str, Any], path: str) -> Iterator[Any]:
    return _values(parsed[path], []) if path in parsed else _values(parsed, _steps(path))


def _text(values: Iterator[Any]) -> str:
    texts = (str(value).lower() if isinstance(value, bool) else str(value) for value in values if _is_plain(value))
    return ", ".join(text for text in texts if text)


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, dict)


def _refs(values: Iterator[Any], separator: str) -> Iterator[str]:
    for value in values:
        found = value
        if isinstance(value, dict):
            found = next((value[key] for key in _REF_KEYS if isinstance(value.get(key), str)), None)
        if isinstance(found, str):
            yield from split_refs(found, separator)


def _draft(parsed: dict[str, Any], mapping: Mapping[str, list[str]], separator: str) -> Draft:
    draft = Draft()
    given = parsed.get("attributes")
    if isinstance(given, dict):
        for name, value in given.items():
            if attribute_name(name):
                draft.attributes[attribute_name(name)] = _text(_values(value, []))
    for target, paths in mapping.items():
        if target == "image_refs":
            draft.image_refs = [ref for path in paths for ref in _refs(_lookup(parsed, path), separator)]
            continue
        text = next((text for path in paths if (text := _text(_lookup(parsed, path)))), "")
        if target in TEXT_TARGETS:
            setattr(draft, target, text)
        elif text:
            draft.attributes[target.removeprefix(ATTRIBUTE_PREFIX)] = text
    return draft
