"""The formats: what the columns of a shop system's export mean, in the order in which they are tried.

A further one is a module like :class:`Format`, and a line here and in the options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from packshot.catalog.columns import find_columns
from packshot.catalog.draft import Builder
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.formats import (
    akeneo,
    amazon,
    bigcommerce,
    commercetools,
    generic,
    google,
    magento,
    meta,
    objects,
    prestashop,
    shopify,
    vendure,
    woocommerce,
)
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.tables import Table
from packshot.catalog.where import Begins


class Format(Protocol):
    """What a module must offer to be a format."""

    NAME: str

    @property
    def product_begins(self) -> Callable[[list[str], Mapping[str, list[str]]], Begins] | None:
        """Where further records of a product leave out what its first one says: of a header and a mapping, what tells
        whether a product begins with a record's cells. Asked for each record, in order."""

    def detect(self, columns: list[str]) -> bool:
        """Are these the columns of this format?"""

    def resolve(self, table: Table, options: CatalogOptions) -> dict[str, list[str]]:
        """Target -> columns, for the header of the table.

        Raises:
            ConfigError: the mapping names a column that is not there, or key or title have none.
        """

    def items(self, table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
        """Products and rejects in file order; every record is settled with the builder's tally exactly once."""


FORMATS: tuple[Format, ...] = (
    shopify, woocommerce, magento, amazon, bigcommerce, akeneo, commercetools, prestashop, vendure, google, meta,
    generic,
)  # fmt: skip


def is_header(cells: list[str], options: CatalogOptions) -> bool:
    """Can this row be a catalog's header? Chooses among the sheets of a workbook."""
    wanted = (f for f in FORMATS if options.format in ("auto", f.NAME) and f is not generic)
    return any(f.detect(cells) for f in wanted) or _has_needed(cells, options)


def _has_needed(cells: list[str], options: CatalogOptions) -> bool:
    """Key and title, by their usual names or by those of the mapping, which some other row may have."""
    found = find_columns(cells, options)
    return all(target in found and set(found[target]) <= set(cells) for target in ("product_key", "title"))


def choose(table: Table, options: CatalogOptions) -> Format:
    """The table's format and its header, which the table begins below from now on.

    Raises:
        ConfigError: no row can be the header, or the format that was asked for is not for this kind of file.
    """
    if table.objects:
        if options.format not in ("auto", objects.NAME):
            raise bad_catalog(table.label, f"is {table.kind}, not for {options.format!r} (allowed: auto, json)")
        table.begin_below(0)
        return objects
    wanted = [f for f in FORMATS if options.format in ("auto", f.NAME)]
    if not wanted:
        raise bad_catalog(table.label, f"is {table.kind}, not JSON (format: {options.format})")
    rows = [row for row in table.top() if options.header_row in (0, row.line)]
    if not rows and options.header_row:
        raise bad_catalog(table.label, f"has none of its first rows on line {options.header_row} (header_row)")
    if not rows:
        raise bad_catalog(table.label, "holds nothing but blanks")
    known = ((f, row) for f in wanted if f is not generic for row in rows if f.detect(row.cells))
    plain = ((wanted[-1], row) for row in rows if _has_needed(row.cells, options))
    # None of them: what is said about the file is then said of its fullest row, not of a title above the header.
    fullest = max(rows, key=lambda row: sum(map(bool, row.cells)))
    chosen, row = next(known, None) or next(plain, None) or (wanted[-1], fullest)
    table.begin_below(row.line)
    if row is not rows[0]:
        table.notes.append(f"the header was found on line {row.line}; what stands above it is left out")
    return chosen
