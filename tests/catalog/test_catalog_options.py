"""What the user can say about a file: keys, duplicates, selection, widths, headers, prices, photos."""

from __future__ import annotations

import csv
import io
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from packshot.catalog import CatalogOptions
from packshot.catalog.price import read_price
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import read, write
from tests.catalog.test_catalog_properties import LIGHT, VARIANTS, survive


def table(folder: Path, header: str, *rows: str) -> Path:
    return write(folder, "\n".join((header, *rows)) + "\n")


# --- key_fallback -----------------------------------------------------------------------------------------------

CHAIRS = ["1,Chair,oak", "1,Stool,oak", "2,Table,oak", ",Bench,ash", "3,Bed,pine"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(5)))[::7])
def test_missing_and_shared_keys_whatever_the_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    path = table(tmp_path, "sku,title,material", *(CHAIRS[n] for n in order))
    _, products, rejects = read(path, key_fallback="title#sku")
    assert rejects == []
    assert {p.product_key: p.sku for p in products} == {
        "Chair#1": "1", "Stool#1": "1", "2": "2", "Bench#": None, "3": "3",
    }  # fmt: skip


def test_without_it_the_refusals_name_it(tmp_path: Path) -> None:
    _, products, rejects = read(table(tmp_path, "sku,title,material", *CHAIRS))
    assert [p.product_key for p in products] == ["1", "2", "3"]
    assert [(r.record, r.code) for r in rejects] == [(2, Code.DUPLICATE_KEY), (4, Code.MISSING_KEY)]
    assert all("key_fallback" in r.message for r in rejects)


@pytest.mark.parametrize("bad", ["1,,oak", "1,Stool,oak,"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_record_that_is_refused_anyway_shares_no_key(tmp_path: Path, bad: str, place: int) -> None:
    rows = ["1,Chair,oak"]
    rows.insert(place, bad)
    _, products, rejects = read(table(tmp_path, "sku,title,material", *rows), key_fallback="title")
    assert [p.product_key for p in products] == ["1"]
    assert len(rejects) == 1


@pytest.mark.parametrize("rows", [["1,Chair,draft", "1,Stool,active"], ["1,Stool,active", "1,Chair,draft"]])
def test_a_draft_shares_no_key(tmp_path: Path, rows: list[str]) -> None:
    _, products, _ = read(table(tmp_path, "sku,title,Status", *rows), key_fallback="title")
    assert [p.product_key for p in products] == ["1"]


def test_the_same_record_twice_keeps_its_key(tmp_path: Path) -> None:
    _, products, rejects = read(table(tmp_path, "sku,title", "1,Chair", "1,Chair"), key_fallback="title")
    assert [p.product_key for p in products] == ["1"]
    assert [(r.code, "by the same record" in r.message) for r in rejects] == [(Code.DUPLICATE_KEY, True)]


@pytest.mark.parametrize("rows", [["Mug,Cup", ",Mug"], [",Mug", "Mug,Cup"]])
def test_a_key_by_fallback_takes_no_other_records_own(tmp_path: Path, rows: list[str]) -> None:
    _, products, rejects = read(table(tmp_path, "sku,title", *rows), key_fallback="title")
    assert [(p.product_key, p.title) for p in products] == [("Mug", "Cup")]
    assert [(r.key, r.code) for r in rejects] == [(None, Code.DUPLICATE_KEY)]
    assert "another record's own" in rejects[0].message


def test_every_part(tmp_path: Path) -> None:
    header = "model,sku,title,color,size,link,image"
    path = table(tmp_path, header, ",S1,<b>Mug</b>,Red,L,https://s.example/m,https://i.example/a.jpg")
    found = {}
    for part in ("sku", "title", "options", "url", "image"):
        options: dict[str, Any] = {"key_fallback": part, "mapping": {"product_key": "model", "link": "link"}}
        found[part] = read(path, **options)[1][0].product_key
    assert found == {
        "sku": "S1", "title": "Mug", "options": "Red/L", "url": "https://s.example/m",
        "image": "https://i.example/a.jpg",
    }  # fmt: skip


def test_nothing_to_fall_back_on(tmp_path: Path) -> None:
    _, products, rejects = read(table(tmp_path, "sku,title,link", ",Mug,"), key_fallback="url")
    assert (products, [r.code for r in rejects]) == ([], [Code.MISSING_KEY])


GROUPS = ["tee,,Tee,Red,S", "tee,,Tee,Red,M", "tee,,Tee,Blue,M", "cap,c1,Cap,Red,"]


@pytest.mark.parametrize(
    ("variants_by", "names"),
    [
        ([], ["tee", "cap"]),
        (["*"], ["tee/tee#Red/S", "tee/tee#Red/M", "tee/tee#Blue/M", "cap/c1"]),
        (["color"], ["tee/Red", "tee/Blue", "cap/Red"]),
    ],
)
def test_variants_without_a_sku_stay_variants(tmp_path: Path, variants_by: list[str], names: list[str]) -> None:
    path = table(tmp_path, "item_group_id,sku,title,color,size", *GROUPS)
    reader, products, rejects = read(path, variants_by=variants_by, key_fallback="handle#options")
    assert ([p.name for p in products], rejects) == (names, [])
    assert reader.counts.continuation == len(GROUPS) - len(names)


def test_only_known_parts() -> None:
    with pytest.raises(ValidationError, match="unknown part 'name'"):
        CatalogOptions(key_fallback="handle#name")


# --- on_duplicate -----------------------------------------------------------------------------------------------

TWICE = ["1,Mug", "2,Cup", "1,Mug", "1,Mug blue"]


def test_reject_says_whether_it_is_the_same(tmp_path: Path) -> None:
    _, products, rejects = read(table(tmp_path, "sku,title", *TWICE))
    assert [p.title for p in products] == ["Mug", "Cup"]
    assert [r.code for r in rejects] == [Code.DUPLICATE_KEY] * 2
    assert "on line 2, by the same record; on_duplicate" in rejects[0].message
    assert "key_fallback" not in rejects[0].message
    assert "on line 2, by another record; on_duplicate" in rejects[1].message
    assert "key_fallback" in rejects[1].message


def test_first(tmp_path: Path) -> None:
    reader, products, rejects = read(table(tmp_path, "sku,title", *TWICE), on_duplicate="first")
    assert ([p.title for p in products], rejects, reader.counts.continuation) == (["Mug", "Cup"], [], 2)
    assert reader.notes[0].startswith("1 x the same record with a key that was used already, left out")
    assert reader.notes[1].startswith("1 x another record with a key that was used already, left out")


def test_last(tmp_path: Path) -> None:
    reader, products, rejects = read(table(tmp_path, "sku,title", *TWICE), on_duplicate="last")
    assert ([p.title for p in products], rejects, reader.counts.continuation) == (["Cup", "Mug blue"], [], 2)
    assert reader.notes[0].startswith("2 x record with a key that comes again further down, left out")


@pytest.mark.parametrize("on_duplicate", ["first", "last"])
@pytest.mark.parametrize("rows", [["1,Mug,active", "1,Mug,draft"], ["1,Mug,draft", "1,Mug,active"]])
def test_a_draft_displaces_nothing(tmp_path: Path, on_duplicate: str, rows: list[str]) -> None:
    _, products, _ = read(table(tmp_path, "sku,title,Status", *rows), on_duplicate=on_duplicate)
    assert [(p.product_key, p.status) for p in products] == [("1", "active")]


def test_last_with_key_fallback(tmp_path: Path) -> None:
    rows = ["1,Chair", "1,Stool", ",Bench", ",Bench", "2,Bed"]
    reader, products, rejects = read(table(tmp_path, "sku,title", *rows), on_duplicate="last", key_fallback="title")
    assert ([(p.product_key, p.record) for p in products], rejects) == (
        [("Chair", 1), ("Stool", 2), ("Bench", 4), ("2", 5)],
        [],
    )
    assert reader.counts.continuation == 1


def test_last_of_the_variants(tmp_path: Path) -> None:
    rows = ["tee,a,Tee old,Red", "tee,b,Tee,Blue", "tee,a,Tee new,Red"]
    path = table(tmp_path, "item_group_id,sku,title,color", *rows)
    assert [(p.name, p.title) for p in read(path, on_duplicate="last", variants_by=["*"])[1]] == [
        ("tee/b", "Tee"),
        ("tee/a", "Tee new"),
    ]
    reader, products, rejects = read(path, on_duplicate="last")
    assert ([p.name for p in products], rejects, reader.counts.continuation) == (["tee"], [], 2)


CELL = st.sampled_from(["", "a", "b", "c", "draft", "active"])


@LIGHT
@given(
    st.lists(st.lists(CELL, min_size=5, max_size=5), max_size=12),
    VARIANTS,
    st.sampled_from(["", "title", "handle#options", "sku#title"]),
    st.sampled_from(["reject", "first", "last"]),
    st.sampled_from(
        [["sku", "title", "color", "size", "status"], ["item_group_id", "sku", "title", "color", "status"]]
    ),
)
def test_any_rows(
    rows: list[list[str]], variants_by: list[str], key_fallback: str, on_duplicate: str, header: list[str]
) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([header, *rows])
    options = {"variants_by": variants_by, "key_fallback": key_fallback, "on_duplicate": on_duplicate}
    survive(out.getvalue().encode(), **options)


# --- where ------------------------------------------------------------------------------------------------------

MUGS = ["1,Mug,Kitchen > Mugs,Acme", "2,Cup,Kitchen > Cups,", "3,Lamp,Living,ACME", "4,Rug,,Other"]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"category": ["kitchen*"]}, "12"),
        ({"category": ["Living", "*cups"]}, "23"),
        ({"category": ["!kitchen*", "living"]}, "4"),
        ({"category": ["!"]}, "123"),
        ({"category": [""]}, "4"),
        ({"brand": ["acme"], "category": ["kitchen*"]}, "1"),
        ({"brand": ["?cme"]}, "13"),
        ({"sku": ["[12]"]}, "12"),
    ],
)
def test_where(tmp_path: Path, where: dict[str, list[str]], kept: str) -> None:
    reader, products, rejects = read(table(tmp_path, "sku,title,category,brand", *MUGS), where=where)
    assert "".join(p.product_key for p in products) == kept
    assert {r.code for r in rejects} == {Code.NOT_SELECTED}
    assert reader.counts.rejected == 4 - len(kept)


def test_where_says_what_it_found(tmp_path: Path) -> None:
    _, _, rejects = read(table(tmp_path, "sku,title,category,brand", *MUGS), where={"category": ["kitchen*"]})
    assert rejects[0].message == "'category' is 'Living' (where: kitchen*)"
    with pytest.raises(ConfigError, match="no column 'categorie' \\(did you mean 'category'"):
        read(table(tmp_path, "sku,title,category", "1,Mug,x"), where={"categorie": ["x"]})


def test_where_goes_by_the_row_above_in_formats_that_fill_down(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "Handle,Title,Vendor,Option1 Name,Option1 Value,Image Src",
        "mug,Mug,Acme,Color,Red,https://i.example/a.jpg",
        "mug,,,,Blue,",
        "lamp,Lamp,Other,Color,Red,",
        "lamp,,,,Blue,",
    )
    reader, products, rejects = read(path, where={"Vendor": ["acme"]})
    assert ([p.product_key for p in products], reader.counts.continuation) == (["mug"], 1)
    assert [(r.record, r.code) for r in rejects] == [(3, Code.NOT_SELECTED), (4, Code.NOT_SELECTED)]


FOLLOWING = {
    "shopify": ("Handle,Title,Vendor,Image Src,Option1 Name,Option1 Value", "{k},{t},{v},,Size,S", "{k},,,,,L"),
    "vendure": (
        "name,slug,description,assets,facets,optionGroups,optionValues,sku,price,variantAssets",
        "{t},{k},{v},,,size,S,{k}1,1,",
        ",,,,,,L,{k}2,1,",
    ),
    "commercetools": ("productType,variantId,sku,prices,name.en,key,brand", "main,1,{k}1,,{t},{k},{v}", ",2,{k}2,,,,"),
    "bigcommerce": (
        "Item Type,Product ID,Product Name,Product Code/SKU,Brand Name,Product Image File - 1",
        "Product,{n},{t},{k},{v},",
        "  SKU,,[RT]Size=L,{k}2,,",
    ),
}


@pytest.mark.parametrize("format", FOLLOWING)
def test_where_never_goes_by_the_product_above(tmp_path: Path, format: str) -> None:
    """An empty cell on a product's first row is empty, whatever the product before says."""
    header, first, further = FOLLOWING[format]
    rows = []
    for number, (key, vendor) in enumerate((("a", "Acme"), ("b", ""), ("c", "Acme"), ("d", "Other")), start=1):
        values = {"k": key, "t": f"Thing {key}", "v": vendor, "n": number}
        rows += [first.format(**values), further.format(**values)]
    column = next(c for c, cell in zip(header.split(","), first.split(","), strict=True) if cell == "{v}")
    reader, products, rejects = read(table(tmp_path, header, *rows), format=format, where={column: ["acme"]})
    assert [p.title for p in products] == ["Thing a", "Thing c"]
    assert [r.record for r in rejects] == [3, 4, 7, 8]
    assert reader.counts.continuation == 2
    assert {r.code for r in rejects} == {Code.NOT_SELECTED}


def test_where_of_json(tmp_path: Path) -> None:
    objects = [
        {"sku": "1", "title": "Mug", "shop": {"live": True}, "tags": ["a", "b"]},
        {"sku": "2", "title": "Cup", "shop": {"live": False}, "tags": []},
        {"sku": "3", "title": "Jug"},
    ]
    path = write(tmp_path, "\n".join(map(json.dumps, objects)) + "\n", "shop.jsonl")
    assert [p.sku for p in read(path, where={"shop.live": ["true"]})[1]] == ["1"]
    assert [p.sku for p in read(path, where={"shop.live": ["!true"]})[1]] == ["2", "3"]
    assert [p.sku for p in read(path, where={"tags": ["a, *"]})[1]] == ["1"]


# --- widths and headers -----------------------------------------------------------------------------------------


def test_surplus_cells(tmp_path: Path) -> None:
    path = table(tmp_path, "sku,title", "1,Mug,", "2,Cup,,,", "3,Jug,x", "4")
    _, products, rejects = read(path)
    assert (products, [r.code for r in rejects]) == ([], [Code.BAD_WIDTH] * 4)
    assert ["drop_empty_surplus" in r.message for r in rejects] == [True, True, False, False]
    _, products, rejects = read(path, on_bad_width="drop_empty_surplus")
    assert [p.sku for p in products] == ["1", "2"]
    assert [(r.record, r.code) for r in rejects] == [(3, Code.BAD_WIDTH), (4, Code.BAD_WIDTH)]


def test_the_header_is_found_or_named(tmp_path: Path) -> None:
    path = table(tmp_path, "Price list 2026,,", ",,", "sku,title,color", "sku,title,red", "1,Mug,blue")
    reader, products, _ = read(path)
    assert [p.sku for p in products] == ["sku", "1"]
    assert reader.notes == ["the header was found on line 3; what stands above it is left out"]
    reader, products, _ = read(path, header_row=4, mapping={"attributes.color": "red"})
    assert [(p.sku, p.attributes) for p in products] == [("1", {"color": "blue"})]
    with pytest.raises(ConfigError, match="line 9"):
        read(path, header_row=9)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_titles_above_the_header_do_not_hide_the_delimiter(tmp_path: Path, delimiter: str) -> None:
    rows = ["sku,title,description", "1,Mug,A mug", "2,Cup,A cup"]
    path = table(tmp_path, "Price list 2026", "", *(row.replace(",", delimiter) for row in rows))
    reader, products, rejects = read(path)
    assert (reader.delimiter, [p.sku for p in products], rejects) == (delimiter, ["1", "2"], [])


# --- group_by, split, currency, media_root, encoding ------------------------------------------------------------


def test_group_by(tmp_path: Path) -> None:
    path = table(tmp_path, "sku,title,model", "1,Mug red,mug", "2,Mug blue,mug", "3,Cup,cup")
    assert [p.name for p in read(path)[1]] == ["1", "2", "3"]
    assert [p.name for p in read(path, group_by="model")[1]] == ["mug", "cup"]
    assert [p.name for p in read(path, group_by="model", variants_by=["*"])[1]] == ["mug/1", "mug/2", "cup/3"]
    with pytest.raises(ConfigError, match="no column 'models' \\(did you mean 'model'"):
        read(path, group_by="models")
    lines = write(tmp_path, '{"sku": "1", "title": "Mug", "model": "m"}\n{"sku": "2", "title": "Mug", "model": "m"}\n')
    assert [p.name for p in read(lines, group_by="model")[1]] == ["m"]
    with pytest.raises(ConfigError, match="models"):
        read(lines, group_by="models")


def test_split(tmp_path: Path) -> None:
    path = table(tmp_path, "sku,title,image", '1,Mug,"a.jpg;b,c.jpg"', '2,Cup,"[""d.jpg"", ""e;f.jpg""]"')
    assert [p.image_refs for p in read(path, split={"image_refs": ";"})[1]] == [
        ("a.jpg", "b,c.jpg"),
        ("d.jpg", "e;f.jpg"),
    ]
    assert [p.image_refs for p in read(path, split={"image_refs": "json"})[1]] == [(), ("d.jpg", "e;f.jpg")]
    assert read(path, split={"image_refs": ""})[1][0].image_refs == ("a.jpg;b,c.jpg",)
    with pytest.raises(ValidationError):
        CatalogOptions.model_validate({"split": {"title": ","}})


def test_currency(tmp_path: Path) -> None:
    path = table(tmp_path, "sku,title,cost,cur", "1,Mug,9.99,", "2,Cup,5 USD,", "3,Jug,7,GBP", "4,Pot,ask,")
    mapping = {"price": "cost", "currency": "cur"}
    reader, products, _ = read(path, mapping=mapping, currency="eur")
    assert [(p.price, p.currency) for p in products] == [
        (Decimal("9.99"), "EUR"),
        (Decimal(5), "USD"),
        (Decimal(7), "GBP"),
        (None, ""),
    ]
    assert reader.notes == ["1 x price that is no amount left out, product: 4"]
    with pytest.raises(ValidationError):
        CatalogOptions(currency="Euro")


@pytest.mark.parametrize(
    ("root", "ref", "found"),
    [
        ("https://cdn.example/media/", "/m/h/a b.jpg", "https://cdn.example/media/m/h/a%20b.jpg"),
        ("https://cdn.example/media", "m/ü.jpg", "https://cdn.example/media/m/%C3%BC.jpg"),
        ("https://cdn.example/media", "https://other.example/a.jpg", "https://other.example/a.jpg"),
        ("photos", "a.jpg", "photos/a.jpg"),
        ("photos", "/a.jpg", "photos/a.jpg"),
        ("photos", "../../a.jpg", None),
        ("photos", "//other.example/a.jpg", None),
        ("photos", "data:image/png;base64,x", None),
        ("https://cdn.example/media", "../a.jpg", None),
    ],
)
def test_media_root(tmp_path: Path, root: str, ref: str, found: str | None) -> None:
    reader, products, _ = read(
        table(tmp_path, "sku,title,image", f'1,Mug,"{ref}"'), media_root=root, split={"image_refs": ""}
    )
    assert products[0].image_refs == ((found,) if found else ())
    assert bool(reader.notes) is (found is None)


@pytest.mark.parametrize("root", ["/srv/photos", "../photos", "ftp://cdn.example", "https://u:p@cdn.example", "a\\b"])
def test_media_roots_that_are_none(root: str) -> None:
    with pytest.raises(ValidationError, match="allowed: an http"):
        CatalogOptions(media_root=root)


def test_fallback_encoding(tmp_path: Path) -> None:
    path = write(tmp_path, "sku,title\n1,Kubek zażółć\n".encode("cp1250"))
    reader, products, _ = read(path, fallback_encoding="cp1250")
    assert (reader.encoding, products[0].title) == ("cp1250", "Kubek zażółć")
    assert "guess" in reader.notes[0]
    path = write(tmp_path, "sku,title\n1,Kubek zażółć\n")
    assert read(path, fallback_encoding="cp1250")[0].encoding == "utf-8"
    with pytest.raises(ConfigError, match="'cp12' is not an encoding"):
        read(path, fallback_encoding="cp12")


# --- prices -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("9.99", "9.99", "EUR"),
        ("9,99", "9.99", "EUR"),
        ("9.99 USD", "9.99", "USD"),
        ("USD 9.99", "9.99", "USD"),
        ("$9.99", "9.99", "USD"),
        ("1.234,50 €", "1234.50", "EUR"),
        ("1,234.50", "1234.50", "EUR"),
        ("1'234.50 CHF", "1234.50", "CHF"),
        ("1 234,50", "1234.50", "EUR"),
        ("1\u00a0234,50 zł", "1234.50", "EUR"),
        ("1,234", "1234", "EUR"),
        ("1.234.567", "1234567", "EUR"),
        ("0.125", "0.125", "EUR"),
        ("12,5", "12.5", "EUR"),
        ("5.-", "5", "EUR"),
        ("5.00-", "5.00", "EUR"),
        ("250000", "250000", "EUR"),
        ("250.000 ₫", "250000", "VND"),
        ("from 5", "5", "EUR"),
        ("1234567890123456.78", "1234567890123456.78", "EUR"),
        ("1,23,456.50", "123456.50", "EUR"),
        ("12345,678", "12345.678", "EUR"),
        ("\uff15", "5", "EUR"),
    ],
)
def test_prices(text: str, amount: str, currency: str) -> None:
    assert read_price(text, "eur") == (Decimal(amount), currency)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ask",
        "4.86 -- 6.22",
        "-5",
        "5 / 6",
        "1.234,5.6",
        "1,23.45,6",
        "1.2.3",
        "5 6",
        "12 34,50",
        "1,2345.50",
        "9" * 41,
        "NaN",
        "1e5",
    ],
)
def test_what_is_no_price(text: str) -> None:
    assert read_price(text, "EUR") is None


@given(st.text("0123456789.,'- $€EURx\u00a0٣²", max_size=45))
def test_any_price(text: str) -> None:
    found = read_price(text, "EUR")
    assert found is None or (found[0].is_finite() and found[0] >= 0)
