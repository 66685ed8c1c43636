"""What an XML record says: one text for each column."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from packshot.catalog.tables.xml_stream import Node, Structure

_GOOGLE = "base.google.com/ns/"
_ADDRESSES = ("href", "url", "src", "value", "content")
"""Attributes that hold what an element without text says, such as Atom's ``<link href="..."/>``."""

_MARKUP = frozenset(
    ("a", "b", "br", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "i", "img", "li", "ol", "p", "span", "strong",
     "table", "tbody", "td", "tr", "u", "ul")
)  # fmt: skip


def local(name: str) -> str:
    """``g:id`` -> ``id``."""
    return name.rpartition(":")[2]


class Columns:
    """The columns of the records at one path: names without Google's prefix and without the record's own."""

    def __init__(self, structure: Structure, path: str) -> None:
        google = {prefix for prefix, address in structure.prefixes.items() if _GOOGLE in address}
        self._google = google | {"g"}
        own = path.rpartition("/")[2]
        self._dropped = self._google | ({own.rpartition(":")[0]} if ":" in own else set())
        below = (p for p in structure.shapes if p.rpartition("/")[0] == path)
        names = [self._name(p.rpartition("/")[2]) for p in below]
        attributes = [name for name in structure.shapes[path].attributes if not name.startswith("xml")]
        self.header = list(dict.fromkeys([*names, *attributes]))

    def _name(self, name: str) -> str:
        prefix, _, rest = name.rpartition(":")
        return rest if prefix in self._dropped else name

    def cells(self, record: Node) -> tuple[str, ...]:
        """One text for each column. Elements that come several times make a JSON list; of an element with and
        without Google's prefix the one with it counts; an attribute only where no element has its name."""
        plain: dict[str, list[str]] = {}
        google: dict[str, list[str]] = {}
        for child in record.children:
            value = self._text(child)
            if value:
                values = google if child.name.rpartition(":")[0] in self._google else plain
                values.setdefault(self._name(child.name), []).append(value)
        attributes = {name: [value.strip()] for name, value in record.attributes.items()}
        found = attributes | plain | google
        return tuple(_one(found.get(name, ())) for name in self.header)

    def _text(self, node: Node) -> str:
        value = self._value(node)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def _value(self, node: Node) -> Any:
        """Text, or a list or map of what is inside."""
        children = node.children
        if not children:
            if local(node.name) == "link" and node.attributes.get("rel", "alternate") != "alternate":
                return ""
            return node.text or next((node.attributes[a].strip() for a in _ADDRESSES if a in node.attributes), "")
        if node.text or any(local(child.name).casefold() in _MARKUP for child in children):
            return _flat(node)
        inside: dict[str, list[Any]] = {}
        for child in children:
            value = self._value(child)
            if value:
                inside.setdefault(self._name(child.name), []).append(value)
        if not inside:
            return ""
        if len(inside) == 1:
            return next(iter(inside.values()))
        return {name: values[0] if len(values) == 1 else values for name, values in inside.items()}


def _one(values: Iterable[str]) -> str:
    texts = list(values)
    return json.dumps(texts, ensure_ascii=False) if len(texts) > 1 else "".join(texts)


def _flat(node: Node) -> str:
    """The text of an element and all its elements."""
    return " ".join("".join(f" {_flat(p)} " if isinstance(p, Node) else p for p in node.parts).split())
