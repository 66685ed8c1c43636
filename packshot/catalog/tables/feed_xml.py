"""Product feeds in XML: RSS, Atom, and any file in which one element comes once for each product."""

from __future__ import annotations

from collections.abc import Iterator

from packshot.catalog.columns import listed
from packshot.catalog.filecheck import WEB_PAGE, bad_catalog
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.source import Source
from packshot.catalog.tables import TopRow
from packshot.catalog.tables.text import TextFile
from packshot.catalog.tables.xml_cells import Columns, local
from packshot.catalog.tables.xml_stream import (
    ITEM_MAX,
    MARK,
    DoctypeFound,
    Structure,
    XmlFault,
    items,
    survey,
)
from packshot.errors import Code, ConfigError

_RECORDS = {"rss": "item", "RDF": "item", "feed": "entry"}
_COLUMNS_MAX = 2_000


class XmlFeed:
    """A :class:`~packshot.catalog.tables.Table` of the elements that stand for products.

    ``wanted`` names the element; empty: found by the file's shape.
    """

    kind = "XML feed"
    objects = False
    delimiter = ""

    def __init__(self, source: Source, encoding: str, wanted: str) -> None:
        self._file = TextFile(source, encoding)
        self.name, self.label = source.name, source.label
        self.encoding = encoding
        try:
            with self._file.open() as text:
                structure = survey(text)
        except DoctypeFound as error:
            raise self._doctype(error) from None
        self._path = self._records_path(structure, wanted)
        self._columns = Columns(structure, self._path)
        self.header = self._columns.header
        if len(self.header) > _COLUMNS_MAX:
            raise bad_catalog(self.label, f"has more than {_COLUMNS_MAX:,} different elements in its records")
        usual = local(self._path.rpartition("/")[2]) in _RECORDS.values()
        self.notes = [] if usual else [f"the records are its elements {self._path!r}"]

    def _doctype(self, error: DoctypeFound) -> ConfigError:
        if error.name.casefold() == "html":
            return bad_catalog(self.label, WEB_PAGE)
        return bad_catalog(self.label, "declares a document type (<!DOCTYPE ...>): a DTD is refused, take it out")

    def _records_path(self, structure: Structure, wanted: str) -> str:
        if not structure.shapes:
            reason = f": line {structure.fault.line}, {structure.fault.reason}" if structure.fault else ""
            raise bad_catalog(self.label, f"begins like XML but cannot be read as such{reason}")
        root = local(next(iter(structure.shapes)))
        if root.casefold() == "html":
            raise bad_catalog(self.label, WEB_PAGE)
        if root == "Workbook":
            raise bad_catalog(self.label, "is an Excel workbook of 2003 (XML): save it as .xlsx or CSV")
        found = record_paths(structure, wanted)
        if len(found) == 1:
            return found[0]
        if wanted:
            raise bad_catalog(self.label, f"has no element {wanted!r} (records). Found: {listed(structure.shapes)}")
        if found:
            what = "holds several elements that may be its records: choose one with `records`. Found"
            raise bad_catalog(self.label, f"{what}: {listed(found)}")
        reason = f" before line {structure.fault.line}, {structure.fault.reason}" if structure.fault else ""
        raise bad_catalog(self.label, f"is XML, but no element of it looks like a product{reason}")

    def top(self) -> list[TopRow]:
        return [TopRow(0, self.header)]

    def begin_below(self, line: int) -> None:
        """The header is known: elements carry their names."""

    def records(self) -> Iterator[Record | Unreadable]:
        number = 0
        with self._file.open() as text:
            try:
                for number, (line, node) in enumerate(items(text, self._path), start=1):
                    if node is None:
                        message = f"the record is longer than {ITEM_MAX:,} characters"
                        yield Unreadable(self.name, number, line, Code.BAD_FIELD, message)
                        continue
                    cells = self._columns.cells(node)
                    if any(MARK in cell for cell in cells):
                        message = f"the record holds characters that XML forbids, or bytes that are not {self.encoding}"
                        yield Unreadable(self.name, number, line, Code.BAD_TEXT, message, cells)
                    else:
                        yield Record(self.name, number, line, cells)
            except XmlFault as fault:
                message = f"{fault.reason}; the rest of the file was not read"
                yield Unreadable(self.name, number + 1, fault.line, Code.BAD_XML, message)


def record_paths(structure: Structure, wanted: str) -> list[str]:
    """The path of the elements that are the records; several when nobody can tell which."""
    shapes = structure.shapes
    root = next(iter(shapes))
    wanted = wanted or _RECORDS.get(local(root), "")
    if wanted:
        named = [path for path in shapes if wanted in (path, local(path.rpartition("/")[2]))]
        return sorted(named, key=lambda path: path.count("/"))[:1]
    likely = [path for path, shape in shapes.items() if path != root and (shape.leaves or len(shape.attributes) > 1)]
    repeated = [path for path in likely if shapes[path].count > 1]
    highest = min((path.count("/") for path in repeated or likely), default=0)
    return [path for path in repeated or likely if path.count("/") == highest]
