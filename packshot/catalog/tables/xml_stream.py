"""XML as a stream of elements, without a document type, external files or entities of its own.

Read by expat without namespaces: feeds use prefixes that they never declare. Characters that XML forbids, and bytes
that are no text, would end the reading there; they are marked instead, so that they cost one record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO
from xml.parsers import expat

from packshot.catalog.tables.encoding import DAMAGED

MARK = "\ufdd0"
"""Stands for a character that XML forbids and for bytes that are no text; a noncharacter, so no text has it."""

ITEM_MAX = 8 << 20
"""Characters in one record, with a few more for each element of it."""

_BLOCK = 1 << 16
_TOKEN_MAX = 16 << 20
_DEPTH_MAX = 100
_PATHS_MAX = 5_000
_ELEMENT_COST = 64
_FORBIDDEN = {code: MARK for code in range(32) if chr(code) not in "\t\n\r"} | {
    ord(DAMAGED): MARK, 0xFFFE: MARK, 0xFFFF: MARK,
}  # fmt: skip


class XmlFault(Exception):
    """Where the file cannot be read any further, and why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason


class DoctypeFound(Exception):
    """The file declares a document type, by this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(slots=True)
class Node:
    """An element of a record; ``parts`` are its texts and elements in their order."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    parts: list[str | Node] = field(default_factory=list)

    @property
    def children(self) -> list[Node]:
        return [part for part in self.parts if isinstance(part, Node)]

    @property
    def text(self) -> str:
        """Its own text, without that of its elements."""
        return "".join(part for part in self.parts if isinstance(part, str)).strip()


@dataclass(slots=True)
class Shape:
    """What the elements at one path have in common."""

    count: int = 0
    leaves: bool = False
    """One has elements that hold text only."""
    attributes: dict[str, None] = field(default_factory=dict)


class XmlReader:
    """expat, guarded; a subclass is told of elements and texts."""

    def __init__(self) -> None:
        self.parser = parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.buffer_size = _BLOCK
        # Entities that HTML knows and XML does not, such as &nbsp;, are common in feeds. To expat a document type
        # might still declare them: it hands over their names, and the clean-up of text knows what they mean.
        parser.UseForeignDTD(True)
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.text
        parser.SkippedEntityHandler = self._entity

    def start(self, name: str, attributes: dict[str, str]) -> None: ...

    def end(self, name: str) -> None: ...

    def text(self, data: str) -> None: ...

    def _doctype(self, name: str, *_: object) -> None:
        raise DoctypeFound(name)

    def _entity(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            self.text(f"&{name};")

    def read(self, stream: TextIO) -> Iterator[None]:
        """Goes on by one block at each step.

        Raises:
            XmlFault: there is no going on.
            DoctypeFound: the file has a document type.
        """
        fed = 0
        try:
            while block := stream.read(_BLOCK):
                data = block.translate(_FORBIDDEN).encode("utf-8")
                fed += len(data)
                self.parser.Parse(data, False)
                yield
                if fed - self.parser.CurrentByteIndex > _TOKEN_MAX:
                    raise XmlFault(self.parser.CurrentLineNumber, f"a tag is longer than {_TOKEN_MAX:,} bytes")
            self.parser.Parse(b"", True)
            yield
        except expat.ExpatError as error:
            raise XmlFault(error.lineno, expat.ErrorString(error.code)) from None


class _PathReader(XmlReader):
    """Knows the way from the root to the present element."""

    def __init__(self) -> None:
        super().__init__()
        self._paths: list[str] = []

    def begin(self, path: str, name: str, attributes: dict[str, str]) -> None: ...

    def finish(self, path: str) -> None: ...

    def start(self, name: str, attributes: dict[str, str]) -> None:
        paths = self._paths
        path = f"{paths[-1]}/{name}" if paths else name
        paths.append(path)
        if len(paths) > _DEPTH_MAX:
            raise XmlFault(self.parser.CurrentLineNumber, f"elements nest more than {_DEPTH_MAX} deep")
        self.begin(path, name, attributes)

    def end(self, name: str) -> None:
        self.finish(self._paths.pop())


class _Survey(_PathReader):
    def __init__(self) -> None:
        super().__init__()
        self.shapes: dict[str, Shape] = {}
        self.prefixes: dict[str, str] = {}
        self._has_children: list[bool] = []

    def begin(self, path: str, name: str, attributes: dict[str, str]) -> None:
        if self._has_children:
            self._has_children[-1] = True
        self._has_children.append(False)
        shape = self.shapes.get(path)
        if shape is None:
            if len(self.shapes) >= _PATHS_MAX:
                raise XmlFault(self.parser.CurrentLineNumber, f"more than {_PATHS_MAX:,} kinds of elements")
            shape = self.shapes[path] = Shape()
        shape.count += 1
        for key, value in attributes.items():
            if key.startswith("xmlns:"):
                self.prefixes.setdefault(key.removeprefix("xmlns:"), value)
            elif len(shape.attributes) < _PATHS_MAX:
                shape.attributes[key] = None

    def finish(self, path: str) -> None:
        if not self._has_children.pop() and "/" in path:
            self.shapes[path.rpartition("/")[0]].leaves = True


@dataclass(frozen=True, slots=True)
class Structure:
    """The paths of a file's elements from the root (``rss/channel/item``), in order of appearance."""

    shapes: dict[str, Shape]
    prefixes: dict[str, str]
    """Namespace prefix -> the address it stands for, where that is declared."""
    fault: XmlFault | None


def survey(stream: TextIO) -> Structure:
    """One pass over the file.

    Raises:
        DoctypeFound: it has a document type.
    """
    found = _Survey()
    fault = None
    try:
        for _ in found.read(stream):
            pass
    except XmlFault as error:
        fault = error
    return Structure(found.shapes, found.prefixes, fault)


class _Items(_PathReader):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._line = 0
        self._open: list[Node] = []
        self._size = 0
        self.ready: list[tuple[int, Node | None]] = []

    @property
    def begun(self) -> int:
        """The line of the record that is open; 0 when none is."""
        return self._line if self._open else 0

    def begin(self, path: str, name: str, attributes: dict[str, str]) -> None:
        if self._open:
            self._size += _ELEMENT_COST + sum(map(len, attributes.values()))
            node = Node(name, attributes)
            if self._size <= ITEM_MAX:
                self._open[-1].parts.append(node)
            self._open.append(node)
        elif path == self._path:
            self._line, self._size = self.parser.CurrentLineNumber, 0
            self._open.append(Node(name, attributes))

    def text(self, data: str) -> None:
        if self._open:
            self._size += len(data)
            if self._size <= ITEM_MAX:
                self._open[-1].parts.append(data)

    def finish(self, path: str) -> None:
        if self._open:
            node = self._open.pop()
            if not self._open:
                self.ready.append((self._line, node if self._size <= ITEM_MAX else None))


def items(stream: TextIO, path: str) -> Iterator[tuple[int, Node | None]]:
    """(line it begins on, element) for each element at this path; None for one that is longer than ITEM_MAX.

    Raises:
        XmlFault: there is no going on; its line is that of the record that was cut, if one was.
    """
    found = _Items(path)
    steps = found.read(stream)
    while True:
        fault = None
        try:
            going_on = next(steps, steps) is None
        except XmlFault as error:
            fault = XmlFault(found.begun or error.line, f"line {error.line}: {error.reason}")
        ready, found.ready = found.ready, []
        yield from ready
        if fault:
            raise fault
        if not going_on:
            return
