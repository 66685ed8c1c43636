"""JSON lines: one object a line is one product (or variant); the mapping takes dotted paths into it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn

from packshot.catalog.columns import find_columns, listed, missing_columns
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.flat import FlatCatalog
from packshot.catalog.images import split_refs
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import ATTRIBUTE_PREFIX, TEXT_TARGETS, CatalogOptions
from packshot.catalog.records import Record, TextFile, Unreadable, line_records
from packshot.catalog.text import attribute_name
from packshot.errors import Code

NAME = "jsonl"

_SAMPLE = 100
_REF_KEYS = ("url", "src", "uri", "href", "link", "path")
"""Where a list of image objects keeps the reference, when the mapping does not say."""


def resolve(file: TextFile, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> paths, by the mapping and the keys of the first objects.

    Raises:
        ConfigError: no object among the first ones, or a mapped path's first key is in none of them.
    """
    keys: dict[str, None] = {}
    objects = 0
    for record in islice(line_records(file), _SAMPLE):
        parsed = _parse(record) if isinstance(record, Record) and not record.blank else None
        if isinstance(parsed, dict):
            objects += 1
            keys.update(dict.fromkeys(parsed))
    if not objects:
        raise bad_catalog(file.path, f"holds no JSON object in its first {_SAMPLE} lines: one object a line is wanted")
    mapping = find_columns(keys, options)
    wanted = [path for target in options.mapping for path in options.columns(target) or []]
    missing = [path for path in dict.fromkeys(wanted) if _steps(path)[0] not in keys and path not in keys]
    if missing:
        raise missing_columns(file.path, missing, keys, kind=f"key (looked at {objects} objects)")
    for target in ("product_key", "title"):
        if target not in mapping or not mapping[target]:
            raise bad_catalog(file.path, f"has no key known to hold {target!r}: map one. Found: {listed(keys)}")
    return mapping


def items(
    records: Iterator[Record | Unreadable], mapping: Mapping[str, list[str]], builder: Builder
) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    tally = builder.tally
    has_variants = "variant_key" in mapping or mapping.get("sku", []) not in ([], mapping["product_key"])
    catalog = FlatCatalog(builder, has_variants)
    for record in records:
        if isinstance(record, Unreadable):
            yield tally.unreadable(record)
            continue
        if record.blank:
            tally.blank()
            continue
        parsed = _parse(record)
        if isinstance(parsed, str):
            yield tally.reject(record, Code.BAD_JSON, parsed)
            continue
        item = catalog.settle(record, _draft(parsed, mapping, builder.options.image_separator))
        if item is not None:
            yield item


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse(record: Record) -> dict[str, Any] | str:
    """The object, or what is wrong with the line. Numbers stay as they are written: ``1.10`` is not ``1.1``."""
    try:
        value = json.loads(record.cells[0], parse_constant=_refuse_constant, parse_float=str, parse_int=str)
    except json.JSONDecodeError as error:
        ended = error.pos >= len(record.cells[0]) or error.msg.startswith("Unterminated string")
        cut = "; it may be cut off" if ended else ""
        return f"the line is not JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1}{cut}"
    except ValueError as error:
        return f"the line is not JSON: {error}"
    except RecursionError:
        return "the line nests lists or objects too deeply"
    if not isinstance(value, dict):
        return "the line is JSON but not an object"
    return value


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
