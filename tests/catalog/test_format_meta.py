"""Meta's catalog feeds, Pinterest's, and OpenAI's commerce feed."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.catalog.formats import google, meta
from tests.catalog.catalog_files import read, write
from tests.catalog.test_catalog_properties import LIGHT, VARIANTS, survive

HEADER = "id,title,description,availability,condition,price,link,image_link,brand,quantity_to_sell_on_facebook"
ROW = 'm1,Mug,"A mug, blue",in stock,new,"1.234,50 EUR",https://s.example/m1,https://i.example/m1.jpg,Acme,75'
COMMENTS = {
    "plain": "# Required | one row for each item\n",
    "with commas": "# Required, at most 100 characters, one for each item\n# Optional, see the help, please\n",
    "a cell each": ",".join(f'"# Required, {name}"' for name in HEADER.split(",")) + "\n",
    "narrower": "# Required,# Required\n",
}


@pytest.mark.parametrize("comment", COMMENTS.values(), ids=COMMENTS.keys())
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_comments_above_the_header(tmp_path: Path, comment: str, delimiter: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(csv.reader([HEADER, ROW]))
    reader, products, rejects = read(write(tmp_path, comment + out.getvalue()))
    assert (reader.format, reader.delimiter, rejects) == ("meta", delimiter, [])
    assert reader.notes == [
        f"the header was found on line {comment.count(chr(10)) + 1}; what stands above it is left out"
    ]
    (mug,) = products
    assert (mug.name, mug.title, mug.description, mug.brand) == ("m1", "Mug", "A mug, blue", "Acme")
    assert (mug.price, mug.currency, mug.status) == (Decimal("1234.50"), "EUR", "")
    assert mug.image_refs == ("https://i.example/m1.jpg",)


def test_the_columns_of_the_template(tmp_path: Path) -> None:
    header = (
        "id,title,description,availability,condition,price,link,image_link,brand,google_product_category,"
        "fb_product_category,sale_price,item_group_id,gender,color,size,age_group,material,pattern,shipping,"
        "video[0].url,video[0].tag[0],product_tags[0],product_tags[1],style[0],additional_image_link"
    )
    photos = ",".join(f"https://i.example/{n}.jpg" for n in range(20))
    row = (
        "t-s,Tee,Soft,in stock,new,9 USD,l,https://i.example/t.jpg,Acme,212,Clothing > Tees,8 USD,tee,female,Red,S,"
        'adult,Cotton,Plain,US::Standard:5 USD,https://v.example/v.mp4,tag,a,b,sporty,"' + photos + '"'
    )
    reader, products, _ = read(write(tmp_path, f"{header}\n{row}\n"), variants_by=["*"])
    (tee,) = products
    assert (reader.format, tee.name, tee.category, tee.price) == ("meta", "tee/t-s", "Clothing > Tees", Decimal(9))
    assert tee.attributes == {
        "color": "Red", "size": "S", "material": "Cotton", "pattern": "Plain", "gender": "female", "age_group": "adult",
    }  # fmt: skip
    assert len(tee.image_refs) == 21


def test_pinterest_writes_googles_columns(tmp_path: Path) -> None:
    header = "id,title,description,link,image_link,price,availability,ad_link"
    text = f"{header}\n1,Mug,x,l,https://i.example/a.jpg,5,in stock,l\n"
    reader, products, _ = read(write(tmp_path, text), currency="usd")
    assert (reader.format, products[0].price, products[0].currency) == ("google", Decimal(5), "USD")


OPENAI = (
    "item_id\ttitle\tdescription\turl\tbrand\timage_url\tadditional_image_urls\tprice\tavailability\tgroup_id\t"
    "listing_has_variations\tvariant_dict\tproduct_category\tmaterial\n"
    "t-s\tTee S\tSoft\thttps://s.example/t\tAcme\thttps://i.example/t.jpg\t"
    "https://i.example/u.jpg,https://i.example/v.jpg\t19.99 USD\tin_stock\ttee\ttrue\t"
    '"{""color"": ""Red"", ""Shoe Size"": 38, ""nested"": {}}"\tApparel > Tees\tCotton\n'
    "t-m\tTee M\tSoft\tl\tAcme\thttps://i.example/t.jpg\t\t19.99 USD\tin_stock\ttee\ttrue\t{broken\t\t\n"
    "mug\tMug\tBlue\thttps://s.example/m\tAcme\thttps://i.example/m.jpg\t\t5 USD\tin_stock\t\tfalse\t\tHome\tClay\n"
)


def test_openai(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, OPENAI))
    assert (reader.format, [p.name for p in products], rejects) == ("meta", ["tee", "mug"], [])
    assert reader.counts.continuation == 1
    tee = products[0]
    assert tee.attributes == {"color": "Red", "shoe_size": "38", "material": "Cotton"}
    assert tee.image_refs == tuple(f"https://i.example/{name}.jpg" for name in "tuv")
    assert (tee.category, tee.price, tee.currency) == ("Apparel > Tees", Decimal("19.99"), "USD")
    assert [p.name for p in read(tmp_path / "shop.csv", variants_by=["*"])[1]] == ["tee/t-s", "tee/t-m", "mug"]


def test_what_a_file_is_called_changes_nothing_of_what_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER}\n{ROW}\n")
    assert read(path, format="meta")[1] == read(path, format="google")[1]
    path = write(tmp_path, OPENAI)
    assert read(path, format="meta")[1] == read(path, format="google")[1]


def test_no_header_is_both() -> None:
    for header in (HEADER.split(","), OPENAI.split("\n")[0].split("\t"), ["id", "title", "image_link", "link"]):
        assert google.detect(header) is not meta.detect(header)


CELL = st.sampled_from(
    ["", "", "a", "b", "{", '{"a": "b"}', '{"color": "Red"}', "[]", '{"a": [1]}', "https://i.example/a.jpg"]
)


@LIGHT
@given(st.lists(st.lists(CELL, min_size=7, max_size=8), max_size=10), VARIANTS)
def test_any_rows(rows: list[list[str]], variants_by: list[str]) -> None:
    out = io.StringIO()
    columns = ["item_id", "group_id", "title", "image_url", "additional_image_urls", "variant_dict", "color"]
    csv.writer(out).writerows([columns, *rows])
    survive(out.getvalue().encode(), variants_by=variants_by)
