"""JSON lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from packshot.errors import Code
from tests.catalog.catalog_files import read, write


def test_objects_become_products(tmp_path: Path) -> None:
    text = (
        '{"id": 1, "title": "Mug", "attributes": {"Color": "red", "Height cm": 9.50, "x": null}, "images": ["a.jpg"]}\n'
        "\n"
        '{"id": "002", "title": "T&amp;C", "images": [{"src": "https://x.example/b.jpg"}, {"alt": "none"}]}\r\n'
    )
    reader, products, rejects = read(write(tmp_path, text, "shop.jsonl"))
    assert (reader.format, rejects, reader.counts.blank) == ("json", [], 1)
    one, two = products
    assert (one.product_key, one.attributes, one.image_refs) == ("1", {"color": "red", "height_cm": "9.50"}, ("a.jpg",))
    assert (two.product_key, two.title, two.image_refs) == ("002", "T&C", ("https://x.example/b.jpg",))
    assert (two.record, two.line) == (3, 3)


def test_dotted_paths(tmp_path: Path) -> None:
    text = (
        '{"key": {"id": "a"}, "name": {"en": "Mug"}, "media": [{"file": {"uri": "a.jpg"}}, {"file": {"uri": "b.jpg"}}],'
        ' "tags": ["x", "y"], "new": true, "a.b": "literal"}\n'
    )
    _, products, _ = read(
        write(tmp_path, text),
        mapping={
            "product_key": "key.id",
            "title": "name.en",
            "image_refs": "media[].file.uri",
            "category": "tags",
            "attributes.new": "new",
            "attributes.ab": "a.b",
            "brand": ["key.maker", "key.id"],
        },
    )
    (product,) = products
    assert (product.product_key, product.title, product.image_refs) == ("a", "Mug", ("a.jpg", "b.jpg"))
    assert (product.category, product.brand) == ("x, y", "a")
    assert product.attributes == {"new": "true", "ab": "literal"}


@pytest.mark.parametrize(
    "line",
    [
        '{"id": 1, "title": "Mu',
        '{"id": NaN, "title": "x"}',
        '{"id": 1, "title": "x", "price": -Infinity}',
        "[1, 2]",
        '"text"',
        "{'id': 1}",
        '{"id": 1} {"id": 2}',
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_lines_that_are_no_object_are_rejected(tmp_path: Path, line: str) -> None:
    text = '{"id": "ok", "title": "Mug"}\n' + line
    _, products, rejects = read(write(tmp_path, text, "shop.jsonl"))
    assert [p.product_key for p in products] == ["ok"]
    assert [(r.record, r.line, r.code) for r in rejects] == [(2, 2, Code.BAD_JSON)]


def test_a_cut_line_says_so(tmp_path: Path) -> None:
    text = '{"id": "ok", "title": "Mug"}\n{"id": "x", "tit'
    assert "cut off" in read(write(tmp_path, text, "shop.jsonl"))[2][0].message


def test_damaged_text_and_escapes(tmp_path: Path) -> None:
    content = (
        '{"id": "\\u0000a\\ud800", "title": "Gr\\u00fcn \\ud83d\\ude00 ü\\u202e"}\n'.encode()
        + b'{"id": "b", "title": "\xff"}\n'
    )
    _, products, rejects = read(write(tmp_path, content, "shop.jsonl"), encoding="utf-8")
    assert [(p.product_key, p.title) for p in products] == [("a", "Grün 😀 ü")]
    assert [r.code for r in rejects] == [Code.BAD_TEXT]


def test_huge_numbers_stay_text(tmp_path: Path) -> None:
    text = '{"id": ' + "9" * 200 + ', "title": "x", "attributes": {"big": 1e999, "n": ' + "1" * 5000 + "}}\n"
    product = read(write(tmp_path, text, "shop.jsonl"))[1][0]
    assert product.product_key == "9" * 200
    assert product.attributes["big"] == "1e999"


def test_same_checks_as_csv(tmp_path: Path) -> None:
    text = (
        '{"id": "1", "title": "A"}\n{"id": "1", "title": "B"}\n{"title": "C"}\n{"id": "4"}\n'
        '{"id": "5", "title": "E", "status": "draft"}\n'
    )
    rejects = read(write(tmp_path, text, "shop.jsonl"))[2]
    assert [r.code for r in rejects] == [Code.DUPLICATE_KEY, Code.MISSING_KEY, Code.MISSING_TITLE, Code.NOT_SELECTED]
