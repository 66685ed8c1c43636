"""The formats that are tables, in the order in which they are tried. A further one is a module and a line here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from packshot.catalog import delimited, shopify
from packshot.catalog.draft import Builder
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record, Unreadable


class TableFormat(Protocol):
    """What a module must offer to be a format."""

    NAME: str

    def detect(self, header: list[str]) -> bool: ...

    def resolve(self, path: Path, header: list[str], options: CatalogOptions) -> dict[str, list[str]]: ...

    def items(
        self,
        records: Iterator[Record | Unreadable],
        header: list[str],
        mapping: Mapping[str, list[str]],
        builder: Builder,
    ) -> Iterator[Product | Reject]: ...


TABLE_FORMATS: tuple[TableFormat, ...] = (shopify, delimited)


def choose_format(name: str, header: list[str]) -> TableFormat:
    """The format of that name; for ``auto`` the first that knows the header."""
    return next(f for f in TABLE_FORMATS if name == f.NAME or (name == "auto" and f.detect(header)))
