"""Opens a source as the kind of table it is."""

from __future__ import annotations

from packshot.catalog.filecheck import read_head
from packshot.catalog.options import CatalogOptions
from packshot.catalog.source import Source
from packshot.catalog.tables import Table
from packshot.catalog.tables.encoding import find_encoding
from packshot.catalog.tables.json_lines import JsonLines
from packshot.catalog.tables.text import DelimitedText


def open_table(source: Source, options: CatalogOptions) -> Table:
    """The table in a file; its header is not chosen yet.

    Raises:
        ConfigError: it is no catalog (a web page, a database...), or cannot be read as the options say.
    """
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
