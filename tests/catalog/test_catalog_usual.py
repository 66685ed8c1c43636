"""Usual records of plain lists are made Products in one go; both ways have to end at the same."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from packshot.catalog import CatalogOptions, Product, Reject, open_catalog
from packshot.catalog.draft import Builder
from packshot.catalog.formats import generic
from packshot.catalog.model import Counts
from packshot.catalog.records import Record
from packshot.catalog.usual import ReadUsual, usual_reader
from packshot.errors import Code
from tests.catalog.catalog_files import read_all

URL = "https://shop.example/a.jpg"
CELLS = {
    "sku": ["", "7", " 7", "8", "<b>9</b>", "ü", "u\u0308", "k" * 255, "k" * 256, "a  b", "a\u200bb"],
    "title": ["Mug", "Mug & Søn", "Mug &amp; Cup", "<b>Mug</b>", "", "<p>&nbsp;</p>", "t" * 300, "t" * 301, "a  b"],
    "description": ["", "<p>soft</p><p>blue</p>", "<script>x</script>", "d" * 4000, "d" * 4001, "a\tb", "x < y & z"],
    "category": ["", "Home &gt; Cups", "Home", "c" * 301, "<i></i>"],
    "brand": ["", "Acme &amp; Søn", "b" * 300, "b" * 301],
    "status": ["active", "", "ACTIVE", "draft", " <b>active</b>", "active\u200b"],
    "price": ["", "9", "9.95", "1.234,50 €", "EUR 5", "5 - 9", "free"],
    "currency": ["", "usd", "EUR"],
    "color": ["", "red", "<b>red</b>", "&nbsp;", "r" * 300, "r" * 301],
    "size": ["", "M", "M ", "M &amp; L"],
    "image": [
        "",
        URL,
        URL,
        f"{URL},https://shop.example/b.jpg",
        "a.jpg",
        "../a.jpg",
        "https://a:b@c/d.jpg",
        f'["{URL}"]',
    ],
    "image 2": ["", URL, "HTTPS://shop.example/c.jpg", "https://shop.example/c.jpg", "a|b"],
}
PLAIN: list[dict[str, Any]] = [
    {},
    {"on_duplicate": "first"},
    {"split": {"image_refs": "|"}},
    {"split": {"image_refs": ""}},
    {"currency": "dkk", "statuses": ["active", "Draft", ""]},
    {"mapping": {"image_refs": ["image", "image 2"], "sku": []}},
]
"""Lists of which most records are usual."""
OF_THEIR_OWN: list[dict[str, Any]] = [
    {"on_duplicate": "last"},
    {"key_fallback": "title"},
    {"variants_by": ["color"]},
    {"media_root": "https://cdn.example/m"},
    {"split": {"image_refs": "json"}},
]
SHAPED: list[dict[str, Any]] = [
    {"mapping": {"title": ["title", "description"]}},
    {"mapping": {"attributes.colour": ["color", "size"]}},
    {"mapping": {"sku": "brand"}},
    {"mapping": {"variant_key": "size"}},
]

Seen = tuple[list[Product | Reject], Counts, list[str]]


def table(path: Path, rows: int, seed: int) -> Path:
    """Every ninth cell is any of those above, the others are the first good one: so most rows have one oddity."""
    chance = random.Random(seed)
    usual = {"title": "Mug", "description": "soft", "status": "active", "price": "9.95", "image": URL}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(CELLS)
        for number in range(rows):
            plain = usual | {"sku": f"P{number}"}
            writer.writerow(
                chance.choice(cells) if not chance.randrange(9) else plain.get(name, "")
                for name, cells in CELLS.items()
            )
    return path


def seen(path: Path, **options: Any) -> Seen:
    reader = open_catalog(path, CatalogOptions(**options))
    return read_all(reader), reader.counts, reader.notes


@pytest.mark.parametrize("options", PLAIN + OF_THEIR_OWN + SHAPED, ids=str)
def test_both_ways_end_at_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    path = table(tmp_path / "list.csv", 1500, seed=3)
    taken: list[Product] = []

    def watched(header: list[str], mapping: Mapping[str, list[str]], builder: Builder) -> ReadUsual | None:
        read = usual_reader(header, mapping, builder)

        def watched_read(record: Record) -> Product | None:
            product = read(record) if read else None
            taken.extend([product] if product else [])
            return product

        return watched_read

    monkeypatch.setattr(generic, "usual_reader", watched)
    short = seen(path, **options)
    monkeypatch.setattr(generic, "usual_reader", lambda *_: None)
    assert seen(path, **options) == short
    items, counts, _ = short
    assert counts.rejected > 50
    if options in PLAIN:
        assert 0.4 * counts.accepted < len(taken) < counts.accepted
    else:
        assert not taken
    codes = {item.code for item in items if isinstance(item, Reject)}
    assert {Code.MISSING_TITLE, Code.BAD_FIELD} <= codes
