"""Opens a source as the kind of table it is. Its bytes decide; a name may say anything."""

from __future__ import annotations

import re
from typing import Literal

from packshot.catalog import formats
from packshot.catalog.filecheck import PARQUET, ZIP, bad_catalog, read_head
from packshot.catalog.options import CatalogOptions
from packshot.catalog.source import Source
from packshot.catalog.tables import Table
from packshot.catalog.tables.encoding import Encoding, find_encoding
from packshot.catalog.tables.feed_xml import XmlFeed
from packshot.catalog.tables.json_array import open_json
from packshot.catalog.tables.parquet import ParquetFile
from packshot.catalog.tables.sql import SqlSource, SqlTable
from packshot.catalog.tables.text import DelimitedText
from packshot.catalog.tables.workbook import Workbook
from packshot.catalog.tables.workbook_package import CONTENT_TYPES, zip_members

_BLANKS = "\ufeff \t\r\n"
_XML_ENCODING = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_ARRAY = re.compile(r"\[\s*(?:[]{\[]|$)")
_ELEMENT = re.compile(r"<[?!A-Za-z_]")


def kind_of(start: str, wanted: str) -> Literal["xml", "json", "delimited"]:
    """What a text is, by its first characters; ``wanted`` is the format asked for, which may say so itself."""
    if wanted == "json":
        return "json"
    if _ELEMENT.match(start):
        return "xml"
    if wanted == "auto" and (start.startswith("{") or _ARRAY.match(start)):
        return "json"
    return "delimited"


def open_table(source: Source, options: CatalogOptions) -> Table:
    """The table in a file; its header is not chosen yet.

    Raises:
        ConfigError: it is no catalog (a web page, a database...), or cannot be read as the options say.
    """
    if isinstance(source, SqlSource):
        return SqlTable(source, options)
    if options.query or options.key_column:
        raise bad_catalog(source.label, "is a file: query and key_column are for databases, as in sql:products")
    head = read_head(source)
    if head.startswith(ZIP):
        return _open_zipped(source, options)
    if head.startswith(PARQUET):
        return ParquetFile(source)
    encoding = _encoding(source, head, options)
    start = head.decode(encoding.name, "replace").lstrip(_BLANKS)
    kind = kind_of(start, options.format)
    table: Table
    if kind == "xml":
        table = XmlFeed(source, encoding.name, options.records)
    elif kind == "json":
        table = open_json(source, encoding.name, options, start)
    else:
        table = DelimitedText(source, encoding.name, options)
    table.notes += [encoding.note] if encoding.note else []
    return table


def _encoding(source: Source, head: bytes, options: CatalogOptions) -> Encoding:
    """The one asked for, else the one an XML declaration names. What names itself Unicode is looked at all the same:
    feeds that say UTF-8 and are not are as common as the declaration."""
    declared = _XML_ENCODING.match(head)
    name = declared[1].decode() if declared else ""
    if name.lower().startswith(("utf", "ucs", "iso-10646")):
        name = ""
    return find_encoding(source, head, options.encoding or name, options.fallback_encoding)


def _open_zipped(source: Source, options: CatalogOptions) -> Table:
    with source.open() as file:
        names = zip_members(file)
    if not names:
        raise bad_catalog(source.label, "begins like a ZIP file but is damaged or cut off: download it again")
    if "xl/workbook.bin" in names:
        raise bad_catalog(source.label, "is a binary Excel workbook (.xlsb): save it as .xlsx")
    if CONTENT_TYPES in names:
        return Workbook(source, options, lambda cells: formats.is_header(cells, options))
    if "META-INF/manifest.xml" in names and "content.xml" in names:
        raise bad_catalog(source.label, "is an OpenDocument spreadsheet (.ods) or the like: save it as .xlsx or CSV")
    raise bad_catalog(source.label, "is a ZIP file and no workbook")
