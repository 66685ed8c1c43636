"""Opens a source as the kind of table it is."""

from __future__ import annotations

from packshot.catalog.filecheck import bad_catalog, read_head
from packshot.catalog.options import CatalogOptions
from packshot.catalog.source import Source
from packshot.catalog.tables import Table
from packshot.catalog.tables.encoding import find_encoding
from packshot.catalog.tables.json_lines import JsonLines
from packshot.catalog.tables.sql import SqlSource, SqlTable
from packshot.catalog.tables.text import DelimitedText


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
    encoding = find_encoding(source, head, options.encoding, options.fallback_encoding)
    start = head.decode(encoding.name, "replace").lstrip("\ufeff \t\r\n")
    table: Table
    if options.format == "json" or (options.format == "auto" and start.startswith("{")):
        table = JsonLines(source, encoding.name)
    else:
        table = DelimitedText(source, encoding.name, options)
    table.notes += [encoding.note] if encoding.note else []
    return table
