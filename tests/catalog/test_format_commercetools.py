"""commercetools' product CSV, and what all formats share whose further rows stand below their product."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.catalog import following
from packshot.catalog.formats.commercetools import unpack_price
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import SAMPLES, read, write
from tests.catalog.test_catalog_properties import LIGHT, VARIANTS, survive

HEADER = "productType,variantId,sku,key,prices,categories,images,name.en,name.de,color,size,matrixId,details.en\n"
MUG = (
    "main,1,m-r,mug,EUR 1250;USD 1399 b2b,Home>Mugs;New,m1.jpg;m2.jpg,Mug,Becher,red,L,x1,x\n"
    ",2,m-b,,EUR 1300,,b.jpg,,,blue,L,x2,x\n"
    ",3,m-g,,,,,,,,,x3,x\n"
)
CUP = "main,1,c,cup,DE-EUR 900,Home>Cups,c.jpg,Cup,Tasse,white,,x4,x\n"


def test_one_product_with_what_all_its_variants_say(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, HEADER + MUG + CUP))
    assert (reader.format, rejects) == ("commercetools", [])
    assert (reader.counts.accepted, reader.counts.continuation) == (2, 2)
    mug, cup = products
    assert (mug.name, mug.sku, mug.title, mug.category) == ("mug", "m-r", "Mug", "Home > Mugs")
    assert mug.attributes == {"color": "red, blue", "size": "L"}
    assert mug.image_refs == ("m1.jpg", "m2.jpg", "b.jpg")
    assert (str(mug.price), mug.currency) == ("12.50", "EUR")
    assert (cup.name, cup.record, cup.line) == ("cup", 4, 5)
    assert "1 x product with several values of 'color' made one (see variants_by): mug" in reader.notes


def test_every_variant(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, HEADER + MUG + CUP), variants_by=["*"], locale="de")
    assert rejects == []
    assert [(p.name, p.title, p.attributes, p.image_refs, str(p.price)) for p in products] == [
        ("mug/m-r", "Becher", {"color": "red", "size": "L"}, ("m1.jpg", "m2.jpg"), "12.50"),
        ("mug/m-b", "Becher", {"color": "blue", "size": "L"}, ("b.jpg",), "13.00"),
        # Colour and size are the variants' own, the photos are the product's for want of others.
        ("mug/m-g", "Becher", {}, ("m1.jpg", "m2.jpg"), "12.50"),
        ("cup/c", "Tasse", {"color": "white"}, ("c.jpg",), "9.00"),
    ]


def test_variants_by_an_attribute(tmp_path: Path) -> None:
    further = MUG + ",4,m-r2,,,,r2.jpg,,,red,XL,x5,x\n"
    reader, products, _ = read(write(tmp_path, HEADER + further), variants_by=["Color"])
    assert [(p.name, p.attributes.get("size"), p.image_refs) for p in products] == [
        ("mug/red", "L, XL", ("m1.jpg", "m2.jpg", "r2.jpg")),
        ("mug/blue", "L", ("b.jpg",)),
        ("mug", None, ("m1.jpg", "m2.jpg")),
    ]
    assert reader.counts.continuation == 1
    by_number = read(write(tmp_path, HEADER + MUG), variants_by=["matrixId"])[1]
    assert [p.variant_key for p in by_number] == ["x1", "x2", "x3"]


def test_mapping_adds_and_replaces(tmp_path: Path) -> None:
    mapping = {"product_key": "sku", "attributes.finish": "details.en", "title": ["name.de"]}
    product = read(write(tmp_path, HEADER + CUP), mapping=mapping)[1][0]
    assert (product.name, product.title, product.attributes["finish"]) == ("c", "Tasse", "x")
    with pytest.raises(ConfigError, match=r"'name\.fr'"):
        read(write(tmp_path, HEADER + CUP), mapping={"title": "name.fr"})


def test_published(tmp_path: Path) -> None:
    text = "productType,sku,images,name.en,_published\nmain,a,a.jpg,A,true\nmain,b,b.jpg,B,false\n,b2,,,\n"
    reader, products, rejects = read(write(tmp_path, text))
    assert [p.name for p in products] == ["a"]
    assert [(r.key, r.code) for r in rejects] == [("b", Code.NOT_SELECTED)]
    assert reader.counts.continuation == 1


@pytest.mark.parametrize(
    ("cell", "currency", "price"),
    [
        ("EUR 18750", "", ("187.50", "EUR")),
        ("US-USD 19900;EUR 12295 b2b;EUR 18750", "", ("187.50", "EUR")),
        ("US-USD 19900;EUR 12295 b2b;EUR 18750", "USD", ("199.00", "USD")),
        ("EUR 18750;USD 19900#shop;USD 17900", "USD", ("179.00", "USD")),
        ("EUR 18750", "USD", ("187.50", "EUR")),
        ("DE-EUR 900;EUR 800 b2b", "", ("9.00", "EUR")),
        ("JPY 1200", "", ("1200", "JPY")),
        ("KWD 12345", "", ("12.3450", "KWD")),
        ("EUR 5", "", ("0.05", "EUR")),
        ("EUR -5", "", ("EUR -5", "")),
        ("", "", ("", "")),
    ],
)
def test_packed_prices(cell: str, currency: str, price: tuple[str, str]) -> None:
    assert unpack_price(cell, currency) == price


# --- rows below their product -------------------------------------------------------------------------------------


def test_rows_below_a_broken_one_belong_to_nobody(tmp_path: Path) -> None:
    broken = "main,1,p,pot,EUR 100\n"
    text = HEADER + MUG + broken + ",2,p-2,,,,p2.jpg,,,black,,x,x\n,3,p-3,,,,,,,,,x,x\n" + CUP
    for variants_by in ([], ["*"]):
        _, products, rejects = read(write(tmp_path, text), variants_by=variants_by)
        assert {p.product_key for p in products} == {"mug", "cup"}
        assert not any("p2.jpg" in p.image_refs for p in products)
        assert [(r.line, r.key, r.code) for r in rejects] == [
            (5, None, Code.BAD_WIDTH),
            (6, "p-2", Code.ORPHAN_VARIANT),
            (7, "p-3", Code.ORPHAN_VARIANT),
        ]
        assert "line 5, which could not be read, may have been its product" in rejects[1].message


def test_rows_above_every_product(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, HEADER + ",2,z,,,,,,,red,,x,x\n" + CUP))
    assert [p.name for p in products] == ["cup"]
    assert [(r.record, r.key, r.code) for r in rejects] == [(1, "z", Code.ORPHAN_VARIANT)]


def test_blank_rows_do_not_end_a_product(tmp_path: Path) -> None:
    first, *below = MUG.splitlines(keepends=True)
    reader, products, rejects = read(write(tmp_path, HEADER + first + "\n,,,,,,,,,,,,\n" + "".join(below)))
    assert ([p.name for p in products], rejects) == (["mug"], [])
    assert (reader.counts.blank, reader.counts.continuation) == (2, 2)


def test_a_first_row_that_is_not_wanted_still_speaks_for_its_product(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, HEADER + MUG + CUP), where={"color": ["blue"]}, variants_by=["*"])
    # An empty colour means the one above it.
    assert [(p.name, p.title) for p in products] == [("mug/m-b", "Mug"), ("mug/m-g", "Mug")]
    assert [(r.record, r.code) for r in rejects] == [(1, Code.NOT_SELECTED), (4, Code.NOT_SELECTED)]


def test_a_key_used_twice(tmp_path: Path) -> None:
    again = MUG.replace("Mug", "Jug").replace("m1.jpg", "j1.jpg")
    path = write(tmp_path, HEADER + MUG + CUP + again)
    reader, products, rejects = read(path)
    assert [(p.name, p.title) for p in products] == [("mug", "Mug"), ("cup", "Cup")]
    assert [(r.record, r.key, r.code) for r in rejects] == [(5, "mug", Code.DUPLICATE_KEY)]
    assert "line 2" in rejects[0].message
    assert reader.counts.continuation == 4
    assert [p.title for p in read(path, on_duplicate="first")[1]] == ["Mug", "Cup"]
    assert [p.title for p in read(path, on_duplicate="last")[1]] == ["Cup", "Jug"]
    fallback = [p.product_key for p in read(path, key_fallback="handle#title")[1]]
    assert fallback == ["mug#Mug", "cup", "mug#Jug"]
    both = read(path, key_fallback="title", on_duplicate="last")[1]
    assert [p.product_key for p in both] == ["Mug", "cup", "Jug"]


def test_a_product_that_is_refused_takes_no_key_away(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, HEADER + CUP.replace("Cup", "<br>") + CUP))
    assert [(p.name, p.record) for p in products] == [("cup", 2)]
    assert [(r.record, r.code) for r in rejects] == [(1, Code.MISSING_TITLE)]


def test_a_variant_used_twice(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + MUG + ",4,m-b,,,,z.jpg,,,green,,x,x\n")
    _, products, rejects = read(path, variants_by=["*"])
    assert [p.variant_key for p in products] == ["m-r", "m-b", "m-g"]
    assert [(r.record, r.key, r.code) for r in rejects] == [(4, "mug", Code.DUPLICATE_KEY)]
    reader, products, rejects = read(path, variants_by=["*"], on_duplicate="last")
    assert (products[-1].image_refs, rejects, reader.counts.continuation) == (("z.jpg",), [], 1)
    reader, products, rejects = read(path, variants_by=["*"], on_duplicate="first")
    assert (products[1].image_refs, rejects, reader.counts.continuation) == (("b.jpg",), [], 1)


def test_more_rows_than_a_product_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "ROWS_MAX", 3)
    _, products, rejects = read(write(tmp_path, HEADER + MUG + ",4,m-x,,,,,,,red,,x,x\n" + CUP))
    assert [p.name for p in products] == ["mug", "cup"]
    assert [(r.record, r.code) for r in rejects] == [(4, Code.ORPHAN_VARIANT)]
    assert "'mug' has too many rows already" in rejects[0].message


CELL = st.sampled_from(["", "", "", "a", "b", "main", "Red", "1", "x.jpg;y.jpg", "EUR 100;USD 5", "<p></p>", "A>B;C"])
COLUMNS = ["productType", "sku", "key", "prices", "images", "name.en", "name.de", "color", "categories", "_published"]


@LIGHT
@given(
    st.lists(st.lists(CELL, min_size=9, max_size=11), max_size=12),
    VARIANTS,
    st.sampled_from(["reject", "first", "last"]),
    st.sampled_from(["", "title", "sku#options"]),
    st.sampled_from([{}, {"color": ["red", ""]}]),
)
def test_any_rows(
    rows: list[list[str]], variants_by: list[str], on_duplicate: str, fallback: str, where: dict[str, list[str]]
) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([COLUMNS, *rows])
    survive(
        out.getvalue().encode(),
        variants_by=variants_by,
        on_duplicate=on_duplicate,
        key_fallback=fallback,
        where=where,
        format="commercetools",
    )


SAMPLE = SAMPLES / "catalogs" / "commercetools_products.csv"


@pytest.mark.skipif(not SAMPLE.is_file(), reason=f"{SAMPLE} is not there; set PACKSHOT_SAMPLES to its folder")
def test_a_real_export() -> None:
    # Counted with the csv module alone: 119 records, 32 with a productType; every record has a SKU of its own, and the
    # baseId of its product's first record.
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    first = [row for row in table if row["productType"]]
    reader, products, rejects = read(SAMPLE)
    assert (len(table), len(first), rejects) == (119, 32, [])
    assert [p.product_key for p in products] == [row["baseId"] for row in first]
    assert [p.title for p in products] == [row["name.en"] for row in first]
    assert (reader.counts.accepted, reader.counts.continuation) == (32, 87)
    assert [str(p.price) for p in products[:3]] == ["187.50", "462.50", "161.25"]
    every = read(SAMPLE, variants_by=["*"], locale="de")[1]
    assert [(p.product_key, p.sku) for p in every] == [(row["baseId"], row["sku"]) for row in table]
    assert [p.attributes["size"] for p in every] == [row["size"] for row in table]
    assert {p.title for p in every} == {row["name.de"] for row in first}
    with pytest.raises(ConfigError, match="Found: en, de, it"):
        read(SAMPLE, locale="fr")
