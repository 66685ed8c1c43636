"""Opens a catalog: finds out what each file is, refuses what cannot work, then streams products and rejects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from packshot.catalog import formats
from packshot.catalog.columns import UnmappedColumns
from packshot.catalog.draft import Builder
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.formats import Format, akeneo, objects
from packshot.catalog.local_files import local_sources
from packshot.catalog.model import Counts, Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.rejects_file import Mended, is_rejects_file
from packshot.catalog.seen import KeyBook, Lesson
from packshot.catalog.source import Source
from packshot.catalog.suggest import with_suggestion
from packshot.catalog.tables import Table
from packshot.catalog.tables.opening import open_table
from packshot.catalog.tally import Tally
from packshot.catalog.text import one_line, slug
from packshot.catalog.where import Selected


class Part:
    """One file of a catalog, understood: its table, its format and which columns are used for what."""

    def __init__(self, source: Source, options: CatalogOptions) -> None:
        self.source = source
        try:
            self.table: Table = open_table(source, options)
            self.format: Format = formats.choose(self.table, options)
        except UnicodeError as error:
            raise bad_catalog(source.label, f"cannot be read as {options.encoding or 'text'}: {error}") from None
        if is_rejects_file(self.table.header):
            self.table = Mended(self.table)
        try:
            self.mapping = self.format.resolve(self.table, options)
        except UnmappedColumns as error:
            raise with_suggestion(error, self.table) from None
        if options.parents and self.format is not akeneo:
            what = f"is read as {self.format.NAME}, which knows no parents in a second file (option parents: akeneo's)"
            raise bad_catalog(source.label, what)
        if options.where and self.format is not objects:
            begins = self.format.product_begins
            rule = partial(begins, self.table.header, self.mapping) if begins else None
            self.table = Selected(self.table, options.where, rule)
        if all(isinstance(record, Record) and record.blank for record in self.table.records()):
            raise bad_catalog(source.label, "has a header but no records")


class CatalogReader:
    """Iterate it for Products and Rejects in file order; each new iteration opens the files again.

    ``counts`` belongs to the latest iteration and adds up whenever an item has just been yielded. Memory does not grow
    with the files, but for hashes of the keys seen (about 120 bytes a product with their bookkeeping).
    """

    def __init__(self, sources: Sequence[Source], options: CatalogOptions) -> None:
        self.options = options
        self.parts = [Part(source, options) for source in sources]
        first = self.parts[0]
        self.name: str = one_line(options.name) or slug(first.source.stem)[:64] or "catalog"
        self.format: str = first.format.NAME
        self.kind: str = first.table.kind
        self.encoding: str = first.table.encoding
        self.delimiter: str = first.table.delimiter
        self.mapping_used: dict[str, list[str]] = first.mapping
        self._tally = Tally()

    def __iter__(self) -> Iterator[Product | Reject]:
        self._tally = Tally()
        lessons: list[Lesson] = ["shared"] if self.options.key_fallback else []
        if self.options.on_duplicate == "last":
            lessons.append("last")
        earlier = None
        for lesson in lessons:
            # What is shared, or comes last, is only known when all was seen: passes that nobody hears of go before.
            book = KeyBook(lesson, earlier)
            for _ in self._items(Tally(), book):
                pass
            earlier = book
        book = KeyBook(earlier=earlier)
        return self._items(self._tally, book)

    def _items(self, tally: Tally, book: KeyBook) -> Iterator[Product | Reject]:
        for part in self.parts:
            builder = Builder(self.name, self.options, tally, book, partial(self._beside, part))
            yield from part.format.items(part.table, part.mapping, builder)

    def _beside(self, part: Part, name: str) -> Table:
        table = open_table(part.source.beside(name), self.options)
        formats.choose(table, self.options)
        return table

    @property
    def counts(self) -> Counts:
        """The latest iteration's counts, live."""
        return self._tally.counts

    @property
    def notes(self) -> list[str]:
        """What a person should know: guesses made, texts shortened, references left out. Complete after iterating."""
        several = len(self.parts) > 1
        told = [f"{p.table.name}: {note}" if several else note for p in self.parts for note in p.table.notes]
        return told + self._tally.notes


def open_catalog(path: Path | str, options: CatalogOptions | None = None) -> CatalogReader:
    """Open a catalog on this machine for reading: a path, ``folder/*.csv`` or ``file.zip#member.csv``.

    Raises:
        ConfigError: the file is missing, is no catalog (a web page, an archive, empty...), or does not fit the options.
            The message names the file and what was found.
    """
    return CatalogReader(local_sources(str(path)), options or CatalogOptions())
