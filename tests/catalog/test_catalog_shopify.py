"""Shopify exports: rows that make products, in both header dialects."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from packshot.catalog import Product
from packshot.catalog.formats import shopify_product
from packshot.errors import Code
from tests.catalog.catalog_files import read, write

OLD = [
    "Handle",
    "Title",
    "Body (HTML)",
    "Vendor",
    "Type",
    "Option1 Name",
    "Option1 Value",
    "Option2 Name",
    "Option2 Value",
    "Variant SKU",
    "Variant Price",
    "Image Src",
    "Image Position",
    "Variant Image",
    "Status",
]
NEW = {
    "Handle": "URL handle",
    "Body (HTML)": "Description",
    "Option1 Name": " option1 NAME ",
    "Option1 Value": "Option1 value",
    "Variant SKU": "SKU",
    "Variant Price": "Price",
    "Image Src": "Product image URL",
    "Image Position": "Image position",
    "Variant Image": "Variant image URL",
}
Row = dict[str, str]


def table(*rows: Row, header: list[str] = OLD, rename: dict[str, str] | None = None) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([(rename or {}).get(name, name) for name in header])
    writer.writerows([row.get(name, "") for name in header] for row in rows)
    return out.getvalue()


def shirt(**more: str) -> Row:
    return {"Handle": "shirt", "Title": "Shirt", "Option1 Name": "Size", "Option2 Name": "Color"} | more


def variant(size: str, color: str, image: str = "", **more: str) -> Row:
    cells = {
        "Handle": "shirt",
        "Option1 Value": size,
        "Option2 Value": color,
        "Variant Price": "9",
        "Variant Image": image,
    }
    return cells | more


SHIRT = (
    shirt(**variant("S", "White", "w.jpg", **{"Image Src": "front.jpg", "Image Position": "3"})),
    variant("M", "White", "w.jpg", **{"Image Src": "b.jpg", "Image Position": "2"}),
    variant("S", "Blue", "b.jpg"),
    {"Handle": "shirt", "Image Src": "w.jpg", "Image Position": "1"},
    variant("M", "Blue", "b.jpg"),
)


@pytest.mark.parametrize("rename", [None, NEW])
def test_rows_of_a_handle_are_one_product(tmp_path: Path, rename: dict[str, str] | None) -> None:
    mug = {
        "Handle": "mug",
        "Title": "Mug",
        "Option1 Name": "Title",
        "Option1 Value": "Default Title",
        "Variant SKU": "'01",
    }
    reader, products, rejects = read(write(tmp_path, table(*SHIRT, mug, rename=rename)))
    assert (reader.format, rejects) == ("shopify", [])
    assert (reader.counts.records, reader.counts.accepted, reader.counts.continuation) == (6, 2, 4)
    one, two = products
    assert (one.product_key, one.variant_key, one.line) == ("shirt", "", 2)
    assert one.attributes == {"size": "S, M", "color": "White, Blue"}
    assert one.image_refs == ("w.jpg", "b.jpg", "front.jpg"), "ordered by position, not by row"
    assert (two.sku, two.attributes) == ("01", {}), "neither the apostrophe nor Default Title may leak"


def test_new_dialect_has_no_marks_of_the_old(tmp_path: Path) -> None:
    reader, products, _ = read(write(tmp_path, "Title,URL handle,Option1 value,Price\nMug,mug,Default Title,5\n"))
    assert (reader.format, products[0].product_key) == ("shopify", "mug")


def test_one_product_for_each_colour(tmp_path: Path) -> None:
    reader, products, _ = read(write(tmp_path, table(*SHIRT)), variants_by=["color"])
    assert [(p.variant_key, p.record, dict(p.attributes)) for p in products] == [
        ("White", 1, {"size": "S, M", "color": "White"}),
        ("Blue", 3, {"size": "S, M", "color": "Blue"}),
    ]
    # The variant's own picture first; the other colour's picture not at all.
    assert [p.image_refs for p in products] == [("w.jpg", "front.jpg"), ("b.jpg", "front.jpg")]
    assert reader.counts.continuation == 3


def test_one_product_for_each_variant(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, table(*SHIRT, variant("S", "Blue"))), variants_by=["*"])
    assert [p.variant_key for p in products] == ["S / White", "M / White", "S / Blue", "M / Blue"]
    assert [(r.record, r.code, r.key) for r in rejects] == [(6, Code.DUPLICATE_KEY, "shirt")]
    assert "line 4" in rejects[0].message


def test_variants_without_options_are_told_apart_by_sku(tmp_path: Path) -> None:
    rows = ({"Handle": "a", "Title": "A", "Variant SKU": "x"}, {"Handle": "a", "Variant SKU": "y"})
    assert [p.variant_key for p in read(write(tmp_path, table(*rows)), variants_by=["*"])[1]] == ["x", "y"]


def test_an_option_that_a_product_lacks(tmp_path: Path) -> None:
    assert [p.variant_key for p in read(write(tmp_path, table(*SHIRT)), variants_by=["Material"])[1]] == [""]


def test_drafts_are_counted(tmp_path: Path) -> None:
    rows = (
        {"Handle": "a", "Title": "A", "Status": "draft"},
        {"Handle": "a", "Variant SKU": "2"},
        {"Handle": "b", "Title": "B", "Status": "Active"},
        {"Handle": "c", "Title": "C", "Status": "archived"},
    )
    reader, products, rejects = read(write(tmp_path, table(*rows)))
    assert [(r.record, r.key, r.code) for r in rejects] == [(1, "a", Code.NOT_SELECTED), (4, "c", Code.NOT_SELECTED)]
    assert [p.status for p in products] == ["active"]
    assert reader.counts.continuation == 1
    assert len(read(write(tmp_path, table(*rows)), statuses=["active", "draft"])[1]) == 2


def test_a_product_without_title_and_its_rows(tmp_path: Path) -> None:
    rows = ({"Handle": "a"}, {"Handle": "a", "Variant SKU": "2"}, {"Handle": "b", "Title": "B"})
    reader, products, rejects = read(write(tmp_path, table(*rows)))
    assert [(r.record, r.key, r.code) for r in rejects] == [(1, "a", Code.MISSING_TITLE)]
    assert (len(products), reader.counts.continuation) == (1, 1)


def test_a_row_without_handle(tmp_path: Path) -> None:
    """It is refused and does not tear the product around it apart."""
    rows: list[Row] = [SHIRT[0], {"Title": "Lost"}, SHIRT[1], {}]
    reader, products, rejects = read(write(tmp_path, table(*rows)))
    assert [(p.record, p.attributes["size"]) for p in products] == [(1, "S, M")]
    assert [(r.record, r.key, r.code) for r in rejects] == [(2, None, Code.MISSING_KEY)]
    assert (reader.counts.continuation, reader.counts.blank) == (1, 1)


def test_a_handle_that_comes_back(tmp_path: Path) -> None:
    rows = (SHIRT[0], {"Handle": "mug", "Title": "Mug"}, SHIRT[1], SHIRT[2])
    reader, products, rejects = read(write(tmp_path, table(*rows)))
    assert len(products) == 2
    assert [(r.record, r.key, r.code) for r in rejects] == [(3, "shirt", Code.DUPLICATE_KEY)]
    assert "line 2" in rejects[0].message
    assert reader.counts.continuation == 1


def test_a_ragged_row_inside_a_product(tmp_path: Path) -> None:
    text = table(*SHIRT[:2]) + "shirt,too,short\r\n" + table(SHIRT[2]).split("\r\n", 1)[1]
    _, products, rejects = read(write(tmp_path, text))
    assert products[0].attributes["color"] == "White, Blue"
    assert [(r.record, r.line, r.code) for r in rejects] == [(3, 4, Code.BAD_WIDTH)]


def test_attributes_of_the_product(tmp_path: Path) -> None:
    header = [
        *OLD,
        "Färg (product.metafields.shopify.color-pattern)",
        "Google Shopping / Gender",
        "google shopping / age group",
        "Product Category",
    ]
    row = {"Handle": "a", "Title": "A", "Type": "Shirt", header[-4]: "blue", header[-3]: "female", header[-2]: "adult"}
    both = row | {"Handle": "b", "Product Category": "Apparel > Shirts"}
    _, products, _ = read(write(tmp_path, table(row, both, header=header)))
    assert products[0].attributes == {"color-pattern": "blue", "gender": "female", "age_group": "adult"}
    assert [p.category for p in products] == ["Shirt", "Apparel > Shirts"]


def test_mapping_overrides_a_column(tmp_path: Path) -> None:
    header = [*OLD, "Care", "SEO Title"]
    row = {"Handle": "a", "Title": "A", "Care": "Wash cold", "SEO Title": "Better title"}
    path = write(tmp_path, table(row, header=header))
    product = read(path, mapping={"title": ["SEO Title", "Title"], "attributes.care": "Care"})[1][0]
    assert (product.title, product.attributes) == ("Better title", {"care": "Wash cold"})


def test_html_description(tmp_path: Path) -> None:
    body = "<p>Soft &amp; warm</p>\n<ul><li>one</li><li>t<b>wo</b></li></ul><script>alert('x')</script>"
    row = {"Handle": "a", "Title": "A &lt; B", "Body (HTML)": body}
    product = read(write(tmp_path, table(row)))[1][0]
    assert (product.title, product.description) == ("A < B", "Soft & warm one two")


def test_a_product_of_endless_rows_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shopify_product, "ROWS_MAX", 3)
    _, products, rejects = read(write(tmp_path, table(*SHIRT)))
    assert [p.attributes["color"] for p in products] == ["White, Blue"]
    assert [(r.record, r.code) for r in rejects] == [(4, Code.DUPLICATE_KEY)]


def test_image_positions_that_are_no_numbers_come_last(tmp_path: Path) -> None:
    rows = [{"Handle": "a", "Title": "A", "Image Src": "z.jpg", "Image Position": "nan"}]
    rows += [{"Handle": "a", "Image Src": f"{n}.jpg", "Image Position": n} for n in ("10", "", "9", "x")]
    product = read(write(tmp_path, table(*rows)))[1][0]
    assert isinstance(product, Product)
    assert product.image_refs == ("9.jpg", "10.jpg", "z.jpg", ".jpg", "x.jpg")
