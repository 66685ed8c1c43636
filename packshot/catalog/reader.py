"""Opens a catalog: finds out what the file is, refuses what cannot work, then streams products and rejects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from packshot.catalog import jsonl
from packshot.catalog.dialect import find_delimiter
from packshot.catalog.draft import Builder
from packshot.catalog.encoding import find_encoding
from packshot.catalog.filecheck import HEAD, bad_catalog, read_head
from packshot.catalog.formats import TableFormat, choose_format
from packshot.catalog.model import Counts, Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record, TextFile, line_records, read_header, table_records
from packshot.catalog.tally import Tally
from packshot.catalog.text import one_line, slug


class CatalogReader:
    """Iterate it for Products and Rejects in file order; each new iteration opens the file again.

    ``counts`` belongs to the latest iteration and adds up whenever an item has just been yielded. Memory does not grow
    with the file, but for 8-byte hashes of the keys seen (about 120 bytes a product with their bookkeeping).
    """

    def __init__(self, path: Path, options: CatalogOptions) -> None:
        self.options = options
        self.name: str = one_line(options.name) or slug(path.stem)[:64] or "catalog"
        self.format: str = options.format
        self.delimiter: str = ""
        self.mapping_used: dict[str, list[str]] = {}
        self._tally = Tally()
        self._header: list[str] = []
        self._table: TableFormat | None = None
        head = read_head(path)
        encoding = find_encoding(path, head, options.encoding)
        self.encoding: str = encoding.name
        self._file = TextFile(path, encoding.name)
        self._fixed_notes = [encoding.note] if encoding.note else []
        try:
            self._probe(whole=len(head) < HEAD)
        except UnicodeError as error:
            raise bad_catalog(path, f"cannot be read as {encoding.name}: {error}") from None

    def _probe(self, whole: bool) -> None:
        with self._file.open() as text:
            sample = text.read(HEAD)
        if self.format == "jsonl" or (self.format == "auto" and sample.lstrip().startswith("{")):
            self.format = jsonl.NAME
            self.mapping_used = jsonl.resolve(self._file, self.options)
            return
        path = self._file.path
        self.delimiter = self.options.delimiter or find_delimiter(sample, whole)
        self._header = self._checked_header()
        self._table = choose_format(self.format, self._header)
        self.format = self._table.NAME
        self.mapping_used = self._table.resolve(path, self._header, self.options)
        records = table_records(self._file, self.delimiter)
        if all(isinstance(record, Record) and record.blank for record in records):
            raise bad_catalog(path, "has a header but no records")

    def _checked_header(self) -> list[str]:
        path = self._file.path
        header, fault = read_header(self._file, self.delimiter)
        if fault:
            raise bad_catalog(path, f"has a header that cannot be read: {fault[1]}")
        if not header:
            raise bad_catalog(path, "holds nothing but blanks")
        twice = sorted({name for name in header if name and header.count(name) > 1})
        if twice:
            raise bad_catalog(path, f"has two columns of the same name: {', '.join(map(repr, twice))}")
        return header

    def __iter__(self) -> Iterator[Product | Reject]:
        self._tally = Tally()
        builder = Builder(self.name, self.options, self._tally)
        if self._table is None:
            return jsonl.items(line_records(self._file), self.mapping_used, builder)
        records = table_records(self._file, self.delimiter)
        return self._table.items(records, self._header, self.mapping_used, builder)

    @property
    def counts(self) -> Counts:
        """The latest iteration's counts, live."""
        return self._tally.counts

    @property
    def notes(self) -> list[str]:
        """What a person should know: guesses made, texts shortened, references left out. Complete after iterating."""
        return self._fixed_notes + self._tally.notes


def open_catalog(path: Path | str, options: CatalogOptions | None = None) -> CatalogReader:
    """Open a catalog file for reading.

    Raises:
        ConfigError: the file is missing, is no catalog (a web page, a workbook, empty...), or does not fit the options.
            The message names the file and what was found.
    """
    return CatalogReader(Path(path), options or CatalogOptions())
