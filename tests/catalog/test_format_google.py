"""Google Merchant Center's feeds."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import SAMPLES, read, write
from tests.catalog.test_catalog_properties import LIGHT, VARIANTS, survive

HEADER = ["id", "title", "description", "link", "image_link", "price"]


def feed(folder: Path, header: list[str], *rows: list[str]) -> Path:
    out = io.StringIO()
    csv.writer(out, delimiter="\t").writerows([header, *rows])
    return write(folder, out.getvalue(), "feed.txt")


def row(key: str, title: str = "Mug") -> list[str]:
    return [key, title, "A mug", f"https://shop.example/{key}", f"https://img.example/{key}.jpg", "9.99 USD"]


def test_an_item_without_a_group_is_a_product(tmp_path: Path) -> None:
    reader, products, rejects = read(feed(tmp_path, HEADER, row("m1"), row("m2", "Cup")))
    assert (reader.format, reader.delimiter, rejects) == ("google", "\t", [])
    assert [(p.name, p.sku, p.title, p.price, p.currency) for p in products] == [
        ("m1", "m1", "Mug", Decimal("9.99"), "USD"),
        ("m2", "m2", "Cup", Decimal("9.99"), "USD"),
    ]
    assert products[0].image_refs == ("https://img.example/m1.jpg",)


@pytest.mark.parametrize(
    "header",
    [
        ["ID", "Title", "Description", "Link", "Image Link", "Price"],
        ["g:id", "g:title", "g:description", "g:link", "g:image_link", "g:price"],
        [
            "ID [id]",
            "Titel [title]",
            "Beschreibung [description]",
            "Link [link]",
            "Image link [image_link]",
            "Preis [price]",
        ],
        ["id", "title", "description", "link", "image_link", "price", "shipping(country:price)"],
        ["id", "title", "description", "link", "image_link", "price", "Shipping [shipping(country:price)]"],
    ],
)
def test_header_dialects(tmp_path: Path, header: list[str]) -> None:
    reader, products, _ = read(feed(tmp_path, header, [*row("m1"), "US:5.00 USD"][: len(header)]))
    assert reader.format == "google"
    assert (products[0].sku, products[0].title, products[0].description) == ("m1", "Mug", "A mug")
    assert (products[0].image_refs, products[0].price) == (("https://img.example/m1.jpg",), Decimal("9.99"))


GROUPS = [
    ["tee-w-s", "Tee white", "", "l", "https://i.example/w.jpg", "5 EUR", "tee", "White", "S"],
    ["tee-w-m", "Tee white", "", "l", "https://i.example/w.jpg", "5 EUR", "tee", "White", "M"],
    ["cap", "Cap", "", "l", "https://i.example/c.jpg", "7 EUR", "", "Black", ""],
    ["tee-b-s", "Tee black", "", "l", "", "6 EUR", "tee", "Black", "S"],
]


@pytest.mark.parametrize(
    ("variants_by", "names"),
    [
        ([], ["tee", "cap"]),
        (["*"], ["tee/tee-w-s", "tee/tee-w-m", "cap", "tee/tee-b-s"]),
        (["color"], ["tee/White", "cap/Black", "tee/Black"]),
    ],
)
def test_groups(tmp_path: Path, variants_by: list[str], names: list[str]) -> None:
    path = feed(tmp_path, [*HEADER, "item_group_id", "color", "size"], *GROUPS)
    reader, products, rejects = read(path, variants_by=variants_by)
    assert ([p.name for p in products], rejects) == (names, [])
    assert reader.counts.continuation == len(GROUPS) - len(names)


def test_an_item_lends_its_photo_to_no_other_colour(tmp_path: Path) -> None:
    rows = [GROUPS[0], GROUPS[3], ["tee-r-s", "", "", "l", "", "6 EUR", "tee", "Red", "S"]]
    path = feed(tmp_path, [*HEADER, "item_group_id", "color", "size"], *rows)
    _, products, rejects = read(path, variants_by=["color"])
    assert [(p.variant_key, p.image_refs) for p in products] == [("White", ("https://i.example/w.jpg",)), ("Black", ())]
    assert [(r.record, r.code) for r in rejects] == [(3, Code.MISSING_TITLE)]


def test_images_in_their_order(tmp_path: Path) -> None:
    a, b, c, d = (f"https://i.example/{name},w_400.jpg" for name in "abcd")
    header = [*HEADER, "lifestyle_image_link", "additional_image_link"]
    first = [*row("1")[:4], a, "1 USD", d, f"{b}, {c}"]
    second = [*row("2")[:4], a, "1 USD", "", json.dumps([c, b])]
    _, products, _ = read(feed(tmp_path, header, first, second))
    assert [p.image_refs for p in products] == [(a, b, c, d), (a, c, b)]


def test_a_repeated_column_counts_each_time(tmp_path: Path) -> None:
    header = [*HEADER, "additional_image_link", "additional_image_link", "product_highlight", "product_highlight"]
    cells = [*row("1"), "https://i.example/b.jpg", "https://i.example/c.jpg", "Dishwasher safe", "Holds 0.3 l"]
    _, products, _ = read(feed(tmp_path, header, cells))
    assert products[0].image_refs[1:] == ("https://i.example/b.jpg", "https://i.example/c.jpg")
    assert products[0].description == "A mug Dishwasher safe; Holds 0.3 l"
    with pytest.raises(ConfigError, match="two columns of the same name: 'title'"):
        read(feed(tmp_path, [*HEADER, "title"], [*row("1"), "x"]))


@pytest.mark.parametrize(
    ("google", "own", "category"),
    [
        ("Apparel > Dresses", "Kleider", "Apparel > Dresses"),
        ("2271", "Kleider > Sommer", "Kleider > Sommer"),
        ("2271", "", ""),
        ("2271 - Apparel > Dresses", "Kleider", "Apparel > Dresses"),
        ("3D printers", "", "3D printers"),
        ("", '["Home > Mugs", "Sale"]', "Home > Mugs"),
    ],
)
def test_category(tmp_path: Path, google: str, own: str, category: str) -> None:
    path = feed(tmp_path, [*HEADER, "product_type", "google_product_category"], [*row("1"), own, google])
    assert read(path)[1][0].category == category


def test_attributes_and_details(tmp_path: Path) -> None:
    header = [*HEADER, "color", "material", "size", "pattern", "gender", "age_group", "product_detail", "is_bundle"]
    shirt = [*row("1"), "White/Blue", "Linen", "M", "Striped", "female", "adult"]
    one = [*shirt, "Details:Collar type:Mandarin: high,Details:Color:Navy", "no"]
    two = [*row("2"), *[""] * 6, "Details:Sleeve:Long,Details:Fit:Slim", "yes"]
    three = [*row("3"), *[""] * 6, '["Details:Sleeve:Long", "Care:Wash:30 degrees"]', ""]
    _, products, _ = read(feed(tmp_path, header, one, two, three))
    assert products[0].attributes == {
        "color": "White/Blue",
        "material": "Linen",
        "size": "M",
        "pattern": "Striped",
        "gender": "female",
        "age_group": "adult",
        "collar_type": "Mandarin: high",
    }
    assert products[1].attributes == {"sleeve": "Long", "fit": "Slim"}
    assert products[2].attributes == {"sleeve": "Long", "wash": "30 degrees"}


XML = """<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>
<item><g:id>m-b</g:id><title>Mug blue</title><description>&lt;b&gt;A mug&lt;/b&gt;</description><g:link>l</g:link>
<g:image_link>https://i.example/a.jpg</g:image_link>
<g:additional_image_link>https://i.example/b.jpg</g:additional_image_link>
<g:additional_image_link>https://i.example/c.jpg</g:additional_image_link>
<g:price>5.00 EUR</g:price><g:item_group_id>mug</g:item_group_id><g:color>Blue</g:color>
<g:google_product_category>2169</g:google_product_category><g:product_type>Home &gt; Mugs</g:product_type>
<g:product_type>Gifts</g:product_type><g:product_highlight>Light</g:product_highlight>
<g:product_highlight>Tough</g:product_highlight>
<g:product_detail><g:section_name>General</g:section_name><g:attribute_name>Volume</g:attribute_name>
<g:attribute_value>0.3 l</g:attribute_value></g:product_detail>
<g:product_detail><g:section_name>General</g:section_name><g:attribute_name>Handle</g:attribute_name>
<g:attribute_value>round</g:attribute_value></g:product_detail></item>
<item><g:id>m-r</g:id><title>Mug red</title><g:link>l</g:link><g:image_link>https://i.example/r.jpg</g:image_link>
<g:price>5.00 EUR</g:price><g:item_group_id>mug</g:item_group_id><g:color>Red</g:color></item>
</channel></rss>"""


def test_xml(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, XML, "feed.xml"), variants_by=["color"])
    assert (reader.format, [p.name for p in products], rejects) == ("google", ["mug/Blue", "mug/Red"], [])
    mug = products[0]
    assert (mug.title, mug.description, mug.category) == ("Mug blue", "A mug Light; Tough", "Home > Mugs")
    assert mug.attributes == {"color": "Blue", "volume": "0.3 l", "handle": "round"}
    assert mug.image_refs == tuple(f"https://i.example/{name}.jpg" for name in "abc")
    assert (mug.price, mug.currency) == (Decimal(5), "EUR")


def test_repeated_values_of_a_text(tmp_path: Path) -> None:
    cells = [
        "1",
        '["Mug", "Mug again"]',
        "[sic] a mug",
        "l",
        "https://i.example/a.jpg",
        '["1 USD", "2 USD"]',
        '["Red", "Blue"]',
    ]
    product = read(feed(tmp_path, [*HEADER, "color"], cells))[1][0]
    assert (product.title, product.description, product.price) == ("Mug", "[sic] a mug", Decimal(1))
    assert product.attributes == {"color": "Red, Blue"}


def test_long_titles_and_duplicate_ids_are_told(tmp_path: Path) -> None:
    rows = [
        row("1", "Mug " * 40),
        row("2", f"<b>{'x' * 149}</b>"),
        row("2", "Other"),
        row("3"),
        row("3"),
        row("", "Cup"),
    ]
    reader, products, rejects = read(feed(tmp_path, HEADER, *rows))
    assert [p.sku for p in products] == ["1", "2", "3"]
    assert [(r.key, r.code) for r in rejects] == [
        ("2", Code.DUPLICATE_KEY),
        ("3", Code.DUPLICATE_KEY),
        (None, Code.MISSING_KEY),
    ]
    assert "by another record" in rejects[0].message
    assert "by the same record" in rejects[1].message
    assert reader.notes == ["1 x title longer than 150 characters, product: 1"]


def test_quoted_cells_with_newlines_and_html(tmp_path: Path) -> None:
    cells = row("1")
    cells[2] = "<ul><li>Stoneware</li>\n<li>Tom &amp; Jerry</li></ul>"
    reader, products, rejects = read(feed(tmp_path, HEADER, cells, row("2")))
    assert (products[0].description, rejects) == ("Stoneware Tom & Jerry", [])
    assert (products[1].line, reader.counts.records) == (4, 2)


def test_availability_is_no_status_but_may_be_chosen(tmp_path: Path) -> None:
    path = feed(tmp_path, [*HEADER, "availability"], [*row("1"), "in_stock"], [*row("2"), "out_of_stock"])
    assert len(read(path)[1]) == 2
    _, products, rejects = read(path, where={"availability": ["in_stock"]})
    assert ([p.sku for p in products], [r.code for r in rejects]) == (["1"], [Code.NOT_SELECTED])


def test_the_mapping_replaces_and_adds(tmp_path: Path) -> None:
    path = feed(
        tmp_path, [*HEADER, "custom_label_0", "mpn"], [*row("1"), "summer", "M-1"], [*row("2"), "winter", "M-1"]
    )
    mapping = {
        "title": "custom_label_0",
        "attributes.season": "custom_label_0",
        "product_key": "mpn",
        "description": [],
    }
    reader, products, _ = read(path, mapping=mapping, variants_by=["*"])
    assert [(p.name, p.title, p.attributes, p.description) for p in products] == [
        ("M-1/1", "summer", {"season": "summer"}, ""),
        ("M-1/2", "winter", {"season": "winter"}, ""),
    ]
    assert reader.mapping_used["product_key"] == ["mpn"]
    with pytest.raises(ConfigError, match="did you mean 'mpn'"):
        read(path, mapping={"product_key": "mpm"})
    with pytest.raises(ConfigError, match="no column 'Group'"):
        read(path, group_by="Group")


def test_what_is_no_feed_is_not_called_one(tmp_path: Path) -> None:
    assert read(write(tmp_path, "id,title,image\n1,Mug,a.jpg\n"))[0].format == "csv"


TEXT = st.sampled_from(
    [
        "",
        "",
        "a",
        "b",
        "Red",
        "[]",
        '["a", "b"]',
        "[",
        '{"a": 1}',
        "[1]",
        "2271",
        "1 - ",
        "x:y:z",
        "::",
        ",",
        "<p>",
        '["',
    ]
)
COLUMNS = [
    "id", "title", "image_link", "item_group_id", "color", "product_type", "google_product_category",
    "additional_image_link", "additional_image_link", "product_highlight", "product_detail", "price", "status",
]  # fmt: skip


@LIGHT
@given(st.lists(st.lists(TEXT, min_size=12, max_size=14), max_size=10), VARIANTS)
def test_any_rows(rows: list[list[str]], variants_by: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter="\t").writerows([COLUMNS, *rows])
    survive(out.getvalue().encode(), format="google", variants_by=variants_by)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"sample catalogs are not at {SAMPLES}; set PACKSHOT_SAMPLES")
@pytest.mark.parametrize("name", ["google_merchant_feed.tsv", "google_merchant_feed.xml"])
def test_sample(name: str) -> None:
    # By csv.reader and ElementTree alone: 20 records, each its own group with its id as the group's, all with one
    # image and a title, none with additional images or a product type; prices are whole USD amounts.
    reader, products, rejects = read(SAMPLES / "catalogs" / name, variants_by=["*"])
    assert (reader.format, len(products), rejects) == ("google", 20, [])
    assert (products[0].name, products[0].price, products[0].currency) == ("ocean-blue-shirt", Decimal(50), "USD")
    assert all(len(p.image_refs) == 1 and p.brand == "partners-demo" and p.sku == p.product_key for p in products)
