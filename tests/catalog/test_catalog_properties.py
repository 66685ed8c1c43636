"""Whatever a file holds, reading it either says why it cannot or accounts for every record."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog import CatalogOptions, Product, open_catalog
from packshot.errors import ConfigError
from tests.catalog.catalog_files import read_all, write

LIGHT = settings(max_examples=150, deadline=None)
VARIANTS = st.sampled_from([[], ["*"], ["Color"], ["Color", "Size"]])


def survive(content: bytes, **options: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            reader = open_catalog(write(Path(folder), content), CatalogOptions(**options))
        except ConfigError as error:
            str(error).encode()
            return
        for item in read_all(reader):
            repr(item).encode()
        "".join(reader.notes).encode()


@LIGHT
@given(st.binary(max_size=300), st.sampled_from(["auto", "csv", "shopify", "json"]))
def test_any_bytes(content: bytes, format: str) -> None:
    survive(content, format=format)


@LIGHT
@given(st.lists(st.sampled_from([*',;\t|\r\n\x00\x1a <&ü€\ufeff\\"', '""', "a", "sku", "\r\n", "<b>"]), max_size=80))
def test_any_text_below_a_good_header(parts: list[str]) -> None:
    survive(("sku,title,image\n1,Mug,a.jpg\n" + "".join(parts)).encode())


@LIGHT
@given(st.binary(max_size=120), VARIANTS)
def test_any_bytes_below_a_shopify_header(tail: bytes, variants_by: list[str]) -> None:
    survive(b"Handle,Title,Option1 Name,Option1 Value,Image Src\na,A,Color,Red,x.jpg\n" + tail, variants_by=variants_by)


CELL = st.sampled_from(["", "", "a", "b", "Red", "Blue", "1", "x.jpg", "Default Title", "draft", "<p></p>"])
SHOPIFY = [
    "Handle",
    "Title",
    "Option1 Name",
    "Option1 Value",
    "Option2 Name",
    "Option2 Value",
    "Variant SKU",
    "Image Src",
]
SHOPIFY += ["Image Position", "Variant Image", "Status"]


@LIGHT
@given(st.lists(st.lists(CELL, min_size=10, max_size=12), max_size=12), VARIANTS)
def test_any_shopify_rows(rows: list[list[str]], variants_by: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([SHOPIFY, *rows])
    survive(out.getvalue().encode(), variants_by=variants_by)


@LIGHT
@given(st.lists(st.tuples(CELL, CELL, CELL, CELL, CELL), max_size=15), VARIANTS)
def test_any_feed_rows(rows: list[tuple[str, ...]], variants_by: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["id", "item_group_id", "title", "color", "size"], *rows])
    survive(out.getvalue().encode(), variants_by=variants_by)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.sampled_from(["id", "title", "images", "attributes", "status", "brand"]), JSON, max_size=6)


@LIGHT
@given(st.lists(OBJECT | JSON, max_size=6), st.binary(max_size=20))
def test_any_json_lines(values: list[Any], tail: bytes) -> None:
    survive(b"\n".join(json.dumps(value).encode() for value in values) + b"\n" + tail, format="json")


WORD = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="<&"), min_size=1, max_size=12
)
PHRASE = st.lists(WORD, min_size=1, max_size=4).map(" ".join)


@LIGHT
@given(
    rows=st.lists(st.tuples(WORD, PHRASE, PHRASE), min_size=1, max_size=12),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_tables_come_back_as_written(
    rows: list[tuple[str, str, str]], delimiter: str, quoting: Any, end: str, encoding: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerow(["sku", "title", "description"])
    writer.writerows(rows)
    wanted: dict[str, tuple[str, str]] = {}
    for key, title, description in rows:
        key, title, description = (unicodedata.normalize("NFC", text) for text in (key, title, description))
        wanted.setdefault(key, (title, description))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), out.getvalue().encode(encoding))
        products = [item for item in read_all(open_catalog(path)) if isinstance(item, Product)]
    assert {p.product_key: (p.title, p.description) for p in products} == wanted
