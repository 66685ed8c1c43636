"""BigCommerce's CSV, both exports: variants, rules and photos that stand below their product."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.errors import Code
from tests.catalog.catalog_files import SAMPLES, read, write
from tests.catalog.test_catalog_properties import LIGHT, VARIANTS, survive

OLDER = [
    "Item Type", "Product ID", "Product Name", "Product Type", "Product Code/SKU", "Brand Name", "Product Description",
    "Price", "Category", "Product Visible?", "Product Custom Fields",
    *(f"Product Image {what} - {n}" for n in (1, 2, 3) for what in ("ID", "File", "Is Thumbnail", "Sort")),
]  # fmt: skip
NEWER = [
    "Item", "ID", "Name", "Type", "SKU", "Options", "Price", "Brand ID", "Categories", "Description", "Is Visible",
    "Variant Image URL", "Internal Image URL (Export)", "Image URL (Import)", "Image is Thumbnail", "Image Sort Order",
    "YouTube ID",
]  # fmt: skip


def table(header: list[str], *rows: dict[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, header, restval="", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


RING = {
    "Item Type": "Product", "Product ID": "5", "Product Name": "Signet ring", "Product Type": "P", "Price": "80",
    "Product Code/SKU": "RING", "Brand Name": "Aurum", "Category": "Shop;Jewellery/Rings &amp; bands;Jewellery",
    "Product Visible?": "Y", "Product Custom Fields": '"Material=Silver";"Made in=Peru"',
    "Product Image File - 1": "b.jpg", "Product Image Sort - 1": "2", "Product Image Is Thumbnail - 1": "N",
    "Product Image File - 2": "a.jpg", "Product Image Sort - 2": "1", "Product Image Is Thumbnail - 2": "N",
    "Product Image File - 3": "main.jpg", "Product Image Sort - 3": "3", "Product Image Is Thumbnail - 3": "Y",
}  # fmt: skip
SMALL = {"Item Type": "  SKU", "Product Name": "[RT]Size=S,[CS]Colour=Red:#FF0000", "Product Code/SKU": "RING-S"}
LARGE = {"Item Type": "  SKU", "Product Name": "[RT]Size=L,[CS]Colour=Red:#FF0000", "Product Code/SKU": "RING-L",
         "Price": "85"}  # fmt: skip
RULE = {"Item Type": "  Rule", "Product Code/SKU": "RING-L", "Price": "[ADD]5"}
CUP = {"Item Type": "Product", "Product ID": "6", "Product Name": "Cup", "Product Visible?": "Y"}


def test_one_product_for_all_skus(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, table(OLDER, RING, SMALL, LARGE, RULE, CUP)))
    assert (reader.format, rejects, reader.counts.continuation) == ("bigcommerce", [], 3)
    ring, cup = products
    assert (ring.product_key, ring.sku, ring.title, ring.brand, str(ring.price)) == (
        "RING", "RING", "Signet ring", "Aurum", "80",
    )  # fmt: skip
    assert ring.category == "Jewellery > Rings & bands; Shop"
    assert ring.attributes == {"size": "S, L", "colour": "Red", "material": "Silver", "made_in": "Peru"}
    assert ring.image_refs == ("main.jpg", "a.jpg", "b.jpg")
    assert (cup.product_key, cup.sku) == ("id:6", None)


def test_every_sku_with_its_products_texts(tmp_path: Path) -> None:
    reader, products, _ = read(write(tmp_path, table(OLDER, RING, SMALL, LARGE, RULE, CUP)), variants_by=["*"])
    assert [(p.product_key, p.variant_key, str(p.price)) for p in products] == [
        ("RING", "RING-S", "80"),
        ("RING", "RING-L", "85"),
        ("id:6", "", "None"),
    ]
    assert [p.title for p in products] == ["Signet ring", "Signet ring", "Cup"]
    assert [p.attributes.get("size") for p in products] == ["S", "L", None]
    assert reader.counts.continuation == 2
    assert products[0].image_refs == ("main.jpg", "a.jpg", "b.jpg")


def test_variants_by_one_option(tmp_path: Path) -> None:
    _, products, _ = read(write(tmp_path, table(OLDER, RING, SMALL, LARGE)), variants_by=["Colour"])
    assert [(p.variant_key, p.attributes["size"]) for p in products] == [("Red", "S, L")]


@pytest.mark.parametrize(("visible", "taken"), [("Y", True), ("y", True), ("", True), ("N", False), ("TRUE", True)])
def test_visible(tmp_path: Path, visible: str, taken: bool) -> None:
    _, products, rejects = read(write(tmp_path, table(OLDER, RING | {"Product Visible?": visible}, SMALL)))
    assert (len(products), [r.code for r in rejects]) == ((1, []) if taken else (0, [Code.NOT_SELECTED]))


def test_a_sku_never_goes_to_the_wrong_product(tmp_path: Path) -> None:
    content = table(OLDER, CUP, RING, SMALL)
    broken = content.replace('"5",', '"5","one cell too many",')
    _, products, rejects = read(write(tmp_path, broken), variants_by=["*"])
    assert [(p.product_key, p.variant_key) for p in products] == [("id:6", "")]
    assert [(r.code, r.line) for r in rejects] == [(Code.BAD_WIDTH, 3), (Code.ORPHAN_VARIANT, 4)]
    assert rejects[1].key == "RING-S"


def test_a_file_that_begins_with_a_sku(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, table(OLDER, SMALL, CUP)))
    assert [r.code for r in rejects] == [Code.ORPHAN_VARIANT]
    assert [p.title for p in products] == ["Cup"]


def test_a_word_that_nobody_knows_begins_a_product(tmp_path: Path) -> None:
    _, products, _ = read(write(tmp_path, table(OLDER, RING, SMALL, CUP | {"Item Type": "Produkt"})))
    assert [p.title for p in products] == ["Signet ring", "Cup"]


def test_where_counts_for_a_products_skus_too(tmp_path: Path) -> None:
    path = write(tmp_path, table(OLDER, RING, SMALL, CUP | {"Category": "Kitchen"}))
    _, products, rejects = read(path, where={"Category": ["Kitchen"]}, variants_by=["*"])
    assert [p.title for p in products] == ["Cup"]
    assert [r.code for r in rejects] == [Code.NOT_SELECTED] * 2


def test_the_same_product_twice(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, table(OLDER, RING, SMALL, RING, LARGE)))
    assert (len(products), [(r.code, r.line) for r in rejects]) == (1, [(Code.DUPLICATE_KEY, 4)])


def test_the_mapping_replaces_photos(tmp_path: Path) -> None:
    mapping: dict[str, str | list[str]] = {"image_refs": ["Product Image File - 1"], "product_key": "Product ID"}
    _, (ring,), _ = read(write(tmp_path, table(OLDER, RING, SMALL)), mapping=mapping)
    assert (ring.image_refs, ring.product_key) == (("b.jpg",), "5")


NEW_RING = {"Item": "Product", "ID": "5", "Name": "Signet ring", "Type": "Physical", "SKU": "RING", "Price": "80",
            "Categories": "Jewellery/Rings;Sale", "Is Visible": "TRUE", "Brand ID": "77"}  # fmt: skip
NEW_RED = {"Item": "Variant", "ID": "9", "SKU": "RING-R", "Variant Image URL": "red.jpg",
           "Options": "Type=Swatch|Name=Colour|Value=Red[#ff0000]|Type=Dropdown|Name=Size|Value=5"}  # fmt: skip
NEW_BLUE = {"Item": "Variant", "ID": "10", "Options": "Type=Swatch|Name=Colour|Value=Blue[#0000ff]"}
SIDE = {"Item": "Image", "ID": "1", "Internal Image URL (Export)": "https://s.example/side.jpg",
        "Image URL (Import)": "https://old.example/side.jpg", "Image is Thumbnail": "FALSE"}  # fmt: skip
MAIN = {"Item": "Image", "ID": "2", "Image URL (Import)": "https://s.example/main.jpg", "Image is Thumbnail": "TRUE"}
VIDEO = {"Item": "Video", "YouTube ID": "x"}


def test_the_newer_export(tmp_path: Path) -> None:
    path = write(tmp_path, table(NEWER, NEW_RING, NEW_RED, NEW_BLUE, SIDE, MAIN, VIDEO))
    reader, (ring,), rejects = read(path)
    assert (reader.format, rejects, reader.counts.continuation) == ("bigcommerce", [], 5)
    assert (ring.product_key, ring.brand, ring.status) == ("RING", "", "active")
    assert ring.category == "Jewellery > Rings; Sale"
    assert ring.attributes == {"colour": "Red, Blue", "size": "5"}
    photos = ("https://s.example/main.jpg", "https://s.example/side.jpg")
    assert ring.image_refs == (*photos, "red.jpg")
    reader, products, rejects = read(path, variants_by=["*"])
    assert [(p.variant_key, p.sku) for p in products] == [("RING-R", "RING-R"), ("Blue", None)]
    assert [p.image_refs for p in products] == [("red.jpg", *photos), photos]
    assert (rejects, reader.counts.continuation) == ([], 4)


def test_categories_by_number_say_nothing(tmp_path: Path) -> None:
    _, (ring,), _ = read(write(tmp_path, table(NEWER, NEW_RING | {"Categories": "23;24"})))
    assert ring.category == ""


def test_photo_rows_of_no_product(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, table(NEWER, SIDE, VIDEO, NEW_RING)))
    assert (len(products), [r.code for r in rejects]) == (1, [Code.ORPHAN_VARIANT] * 2)


CELL = st.sampled_from(["", "", "1", "a", "b", "Y", "N", "x.jpg", "[RT]Size=S", "[RT]=,[S]Color=Red:#f00", "A;B/C"])
KIND = st.sampled_from(["Product", "  SKU", "Rule", "Variant", "Image", "", "?"])
PACKED = st.sampled_from(["", "Type=S|Name=Color|Value=Red[#f00]", "Name=|Value=", "Name=Size|Value=|", "|||"])


@LIGHT
@given(
    st.lists(st.tuples(KIND, *[CELL] * (len(OLDER) - 1)), max_size=10),
    VARIANTS,
    st.sampled_from(["", "title", "handle#options"]),
    st.sampled_from(["reject", "first", "last"]),
)
def test_any_older_rows(
    rows: list[tuple[str, ...]], variants_by: list[str], key_fallback: str, on_duplicate: str
) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([OLDER, *rows])
    content = out.getvalue().encode()
    survive(content, variants_by=variants_by, key_fallback=key_fallback, on_duplicate=on_duplicate)


@LIGHT
@given(st.lists(st.tuples(KIND, *[CELL] * 4, PACKED, *[CELL] * (len(NEWER) - 6)), max_size=10), VARIANTS)
def test_any_newer_rows(rows: list[tuple[str, ...]], variants_by: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([NEWER, *rows])
    survive(out.getvalue().encode(), variants_by=variants_by)


SAMPLE = SAMPLES / "catalogs" / "bigcommerce_jewelery.csv"


@pytest.mark.skipif(not SAMPLE.is_file(), reason=f"{SAMPLE} is not there; set PACKSHOT_SAMPLES to the samples' folder")
def test_the_sample() -> None:
    # Counted with csv.DictReader: 26 rows, 20 of Item Type "Product", 6 of "  SKU": two each below BC-001, BC-002 and
    # BC-012; all products are visible; 41 cells hold a photo, no two of one product the same.
    reader, products, rejects = read(SAMPLE)
    assert (reader.format, rejects) == ("bigcommerce", [])
    assert (reader.counts.records, reader.counts.accepted, reader.counts.continuation) == (26, 20, 6)
    by_key = {p.product_key: p for p in products}
    assert by_key["BC-001"].attributes == {"color": "Blue, Black"}
    assert by_key["BC-001"].category == "Jewelry > Bracelet; Shop"
    assert sum(len(p.image_refs) for p in products) == 41
    reader, products, rejects = read(SAMPLE, variants_by=["*"])
    assert (len(products), reader.counts.continuation, rejects) == (17 + 6, 3, [])
    assert {p.product_key for p in products if p.variant_key} == {"BC-001", "BC-002", "BC-012"}
