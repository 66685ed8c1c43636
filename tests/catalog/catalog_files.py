"""Helpers of the catalog tests: write a file, read it, and hold every reading to the promises all of them share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from packshot.catalog import CatalogOptions, CatalogReader, Product, Reject, open_catalog

SAMPLES = Path(os.environ.get("PACKSHOT_SAMPLES") or Path(__file__).resolve().parents[2].parent / "shared" / "samples")


def write(folder: Path, content: str | bytes, name: str = "shop.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read_all(reader: CatalogReader) -> list[Product | Reject]:
    """All items; fails unless the counts add up at each of them and agree with what was yielded."""
    items: list[Product | Reject] = []
    last = 0
    for item in reader:
        items.append(item)
        assert reader.counts.balanced, reader.counts
        assert reader.counts.accepted + reader.counts.rejected == len(items)
        assert item.record > last, "items are not in file order"
        last = item.record
    counts = reader.counts
    assert counts.balanced, counts
    assert counts.accepted == sum(isinstance(item, Product) for item in items)
    assert counts.rejected == sum(isinstance(item, Reject) for item in items)
    products = [item for item in items if isinstance(item, Product)]
    assert len({(p.product_key, p.variant_key) for p in products}) == len(products)
    for product in products:
        assert product.product_key
        assert product.title
        repr(product).encode()  # no lone surrogates: they cannot be stored
    return items


def read(path: Path, **options: Any) -> tuple[CatalogReader, list[Product], list[Reject]]:
    reader = open_catalog(path, CatalogOptions(**options))
    items = read_all(reader)
    products = [item for item in items if isinstance(item, Product)]
    return reader, products, [item for item in items if isinstance(item, Reject)]
