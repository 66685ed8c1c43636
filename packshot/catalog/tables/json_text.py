"""JSON as a catalog may be written: objects whose numbers stay as they are written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, NoReturn

from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.records import Record, Unreadable

_SAMPLE = 100


def parse_object(text: str) -> dict[str, Any] | str:
    """The object, or what is wrong with the text. Numbers come as text: ``1.10`` is not ``1.1``, ``001`` is no JSON."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=str, parse_int=str)
    except json.JSONDecodeError as error:
        ended = error.pos >= len(text) or error.msg.startswith("Unterminated string")
        cut = "; it may be cut off" if ended else ""
        return f"the record is not JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1}{cut}"
    except ValueError as error:
        return f"the record is not JSON: {error}"
    except RecursionError:
        return "the record nests lists or objects too deeply"
    if not isinstance(value, dict):
        return "the record is JSON but not an object"
    return value


def keys_of(name: str, records: Iterator[Record | Unreadable]) -> list[str]:
    """The keys of the first objects, in order of appearance.

    Raises:
        ConfigError: there is no object among the first records.
    """
    keys: dict[str, None] = {}
    objects = 0
    for record in islice(records, _SAMPLE):
        parsed = parse_object(record.cells[0]) if isinstance(record, Record) and not record.blank else None
        if isinstance(parsed, dict):
            objects += 1
            keys.update(dict.fromkeys(parsed))
    if not objects:
        raise bad_catalog(name, f"holds no JSON object among its first {_SAMPLE} records")
    return list(keys)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
