"""Reading is a stream: memory holds hashes of keys, never the file or its records."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from packshot.catalog import Product, Reject, open_catalog

ROWS = 200_000
TRACED = 20_000


def peak_of(items: Iterator[Product | Reject], count: int) -> tuple[int, int]:
    """(items read, the most bytes allocated meanwhile). Tracing makes reading slow, so it is on at both ends only."""
    tracemalloc.start()
    try:
        read = sum(1 for _ in islice(items, count))
        return read, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_two_hundred_thousand_records_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    filling = "A long text that would fill the memory if it were kept. " * 5
    with path.open("w") as file:
        file.write("sku,title,description\n")
        file.writelines(f"sku-{number},Product {number},{filling}\n" for number in range(ROWS))
    assert path.stat().st_size > 50_000_000

    def whole_catalog() -> Iterator[Product | Reject]:
        yield from open_catalog(path)  # inside the trace: finding the encoding reads the whole file

    items = whole_catalog()
    first, opening = peak_of(items, TRACED // 10)
    middle = sum(1 for _ in islice(items, ROWS - TRACED - first))
    last, growth = peak_of(items, ROWS)
    assert first + middle + last == ROWS
    assert opening < 8_000_000, f"{opening:,} bytes to open and read {first:,} records"
    assert growth < 4_000_000, f"{growth:,} bytes more for {last:,} records"
