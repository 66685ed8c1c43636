"""One JSON list of objects, alone in its file or under a key of one object."""

from __future__ import annotations

from collections.abc import Iterator

from packshot.catalog.columns import find_columns, listed
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.source import Source
from packshot.catalog.tables import Table, TopRow
from packshot.catalog.tables.encoding import DAMAGED
from packshot.catalog.tables.json_lines import JsonLines
from packshot.catalog.tables.json_stream import Element, JsonText, elements, lists
from packshot.catalog.tables.json_text import keys_of, parse_object
from packshot.catalog.tables.text import LINE_MAX, TextFile
from packshot.errors import Code

_SHOWN = 1000


class JsonArray:
    """A :class:`~packshot.catalog.tables.Table` of the objects in a list.

    ``key`` names the list in the file's one object; None: the file is a list.
    """

    objects = True
    delimiter = ""

    def __init__(self, source: Source, encoding: str, key: str | None = None) -> None:
        self._file = TextFile(source, encoding)
        self._key = key
        self.kind = "JSON array" if key is None else "JSON object"
        self.name, self.label = source.name, source.label
        self.encoding = encoding
        self.notes: list[str] = [] if key is None else [f"the records are the list {key!r} of the file's object"]
        self.header: list[str] = []

    def top(self) -> list[TopRow]:
        return [TopRow(0, keys_of(self.label, self.records()))]

    def begin_below(self, line: int) -> None:
        self.header = keys_of(self.label, self.records())

    def records(self) -> Iterator[Record | Unreadable]:
        for number, element in enumerate(self._elements(), start=1):
            if DAMAGED in element.text:
                fault = Code.BAD_TEXT, "the record holds bytes that are no text in this encoding"
            elif element.fault:
                fault = Code.BAD_JSON, element.fault
            else:
                yield Record(self.name, number, element.line, (element.text,))
                continue
            yield Unreadable(self.name, number, element.line, *fault, (element.text[:_SHOWN],))

    def _elements(self) -> Iterator[Element]:
        with self._file.open() as stream:
            text = JsonText(stream)
            if self._key is not None:
                for key in lists(text):
                    found = elements(text)
                    if key == self._key:
                        yield from found
                    else:
                        _pass_over(found)
                return
            yield from elements(text)
            if not text.lost and text.peek():
                yield Element(text.line, "", "something follows the end of the list; it was not read")


def open_json(source: Source, encoding: str, options: CatalogOptions, start: str) -> Table:
    """JSON lines, or a list of objects; ``start`` is the file's first characters.

    Raises:
        ConfigError: an object with several lists, or without the one that the options name.
    """
    if start.startswith("["):
        return JsonArray(source, encoding)
    if options.records:
        names = _lists_of_objects(source, encoding)
        if options.records not in names:
            found = listed(names) or "none"
            raise bad_catalog(source.label, f"holds no list of objects {options.records!r} (records). Found: {found}")
        return JsonArray(source, encoding, options.records)
    if not start.startswith("{") or _is_lines(source, encoding, options):
        return JsonLines(source, encoding)
    names = _lists_of_objects(source, encoding)
    if len(names) > 1:
        what = (
            f"is a JSON object that holds several lists of objects: choose one with `records`. Found: {listed(names)}"
        )
        raise bad_catalog(source.label, what)
    return JsonArray(source, encoding, names[0]) if names else JsonLines(source, encoding)


def _is_lines(source: Source, encoding: str, options: CatalogOptions) -> bool:
    """Is the first line a record? An object with a line of its own is one if others follow, or if it is a product."""
    with TextFile(source, encoding).open() as stream:
        line = ""
        while not line.strip("\ufeff \t\r\n"):
            line = stream.readline(LINE_MAX)
        parsed = parse_object(line.strip("\ufeff \t\r\n"))
        if isinstance(parsed, str):
            return False
        if JsonText(stream).peek():
            return True
    return {"product_key", "title"} <= find_columns(parsed, options).keys()


def _lists_of_objects(source: Source, encoding: str) -> list[str]:
    """The keys of the file's object that hold lists of objects.

    Of an object that cannot be followed to its end, only lists over several lines: it may be a broken JSON line.
    """
    names: dict[str, bool] = {}
    with TextFile(source, encoding).open() as stream:
        text = JsonText(stream)
        if text.peek() != "{":
            return []
        for key in lists(text):
            begins = text.line
            found = elements(text)
            first = next(found, None)
            _pass_over(found)
            if first is not None and first.text.startswith("{"):
                names[key] = text.line > begins
        whole = text.peek() == "}"
    return [key for key, several_lines in names.items() if whole or several_lines]


def _pass_over(found: Iterator[Element]) -> None:
    for _ in found:
        pass
