"""WooCommerce's CSV: families by SKU and by id, whatever their order, and what their rows leave out."""

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

HEADER = [
    "ID", "Type", "SKU", "Name", "Published", "Visibility in catalog", "Description", "Regular price", "Categories",
    "Images", "Parent", "Attribute 1 name", "Attribute 1 value(s)", "Attribute 2 name", "Attribute 2 value(s)",
]  # fmt: skip


def table(*rows: dict[str, str], header: list[str] = HEADER) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, header, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


SHIRT = {
    "ID": "10", "Type": "variable", "SKU": "shirt", "Name": "Linen shirt", "Published": "1", "Images": "a.jpg, b.jpg",
    "Categories": "Clothing, Clothing > Shirts, Sale", "Attribute 1 name": "pa_color",
    "Attribute 1 value(s)": "Red, Blue", "Description": "<p>Cool &amp; light</p>",
}  # fmt: skip
RED = {
    "ID": "11", "Type": "variation", "SKU": "shirt-r", "Published": "1", "Parent": "shirt", "Images": "red.jpg",
    "Regular price": "19.90", "Attribute 1 name": "pa_color", "Attribute 1 value(s)": "Red",
}  # fmt: skip
BLUE = RED | {"ID": "12", "SKU": "", "Parent": "id:10", "Images": "", "Attribute 1 value(s)": "Blue"}


def test_one_product_for_all_variations(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, table(SHIRT, RED, BLUE)))
    assert (reader.format, rejects, reader.counts.continuation) == ("woocommerce", [], 2)
    (shirt,) = products
    assert (shirt.product_key, shirt.title, shirt.description) == ("shirt", "Linen shirt", "Cool & light")
    assert shirt.category == "Clothing > Shirts; Sale"
    assert shirt.attributes == {"color": "Red, Blue"}
    assert shirt.image_refs == ("a.jpg", "b.jpg", "red.jpg")


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    def essence(*rows: dict[str, str]) -> tuple[object, ...]:
        (p,) = read(write(tmp_path, table(*rows)))[1]
        return p.product_key, p.variant_key, p.sku, p.title, p.attributes, p.image_refs

    assert essence(SHIRT, RED, BLUE) == essence(RED, BLUE, SHIRT) == essence(RED, SHIRT, BLUE)


def test_every_variation_with_its_parents_texts(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, table(RED, SHIRT, BLUE)), variants_by=["*"])
    assert (rejects, reader.counts.continuation) == ([], 1)
    assert [(p.product_key, p.variant_key, p.sku) for p in products] == [
        ("shirt", "shirt-r", "shirt-r"),
        ("shirt", "id:12", None),
    ]
    assert [p.title for p in products] == ["Linen shirt", "Linen shirt"]
    assert [p.attributes for p in products] == [{"color": "Red"}, {"color": "Blue"}]
    # Blue has no photo of its own: its parent's, never red's.
    assert [p.image_refs for p in products] == [("red.jpg",), ("a.jpg", "b.jpg")]


def test_a_variation_never_shows_anothers_photo(tmp_path: Path) -> None:
    bare = SHIRT | {"Images": ""}
    _, products, _ = read(write(tmp_path, table(bare, RED, BLUE)), variants_by=["*"])
    assert [p.image_refs for p in products] == [("red.jpg",), ()]
    _, (shirt,), _ = read(write(tmp_path, table(bare, RED, BLUE)))
    assert shirt.image_refs == ("red.jpg",)


def test_variants_by_colour(tmp_path: Path) -> None:
    small = RED | {"ID": "13", "SKU": "shirt-r-s"}
    _, products, _ = read(write(tmp_path, table(SHIRT, RED, small, BLUE)), variants_by=["Color"])
    assert [(p.variant_key, p.sku) for p in products] == [("Red", "shirt-r"), ("Blue", None)]


def test_a_variable_product_whose_variations_are_elsewhere_is_a_product(tmp_path: Path) -> None:
    _, products, _ = read(write(tmp_path, table(SHIRT)), variants_by=["*"])
    assert [(p.product_key, p.variant_key) for p in products] == [("shirt", "")]


def test_a_variation_without_its_parent(tmp_path: Path) -> None:
    alone = RED | {"Parent": "gone", "Name": "Shirt, red"}
    nameless = BLUE | {"Parent": "id:99"}
    unclear = BLUE | {"ID": "14", "Parent": ""}
    _, products, rejects = read(write(tmp_path, table(alone, nameless, unclear)))
    assert [(p.product_key, p.title) for p in products] == [("shirt-r", "Shirt, red")]
    assert [(r.code, r.key) for r in rejects] == [(Code.ORPHAN_VARIANT, "id:12"), (Code.ORPHAN_VARIANT, "id:14")]
    assert "'id:99'" in rejects[0].message


def test_types_that_plugins_add(tmp_path: Path) -> None:
    box = SHIRT | {"Type": "variable-subscription"}
    monthly = RED | {"Type": "subscription_variation"}
    digital = {"ID": "20", "Type": "simple, downloadable, virtual", "SKU": "mp3", "Name": "Song", "Published": "1"}
    group = {"ID": "21", "Type": "grouped", "SKU": "set", "Name": "Set", "Published": "1", "Parent": "shirt"}
    reader, products, _ = read(write(tmp_path, table(box, monthly, digital, group)))
    assert [p.product_key for p in products] == ["shirt", "mp3", "set"]
    assert reader.counts.continuation == 1


def test_without_sku_the_id_is_the_key(tmp_path: Path) -> None:
    mug, cup = ({"ID": n, "Type": "simple", "Name": n, "Published": "1"} for n in ("7", "8"))
    _, products, _ = read(write(tmp_path, table(mug, cup)))
    assert [(p.product_key, p.sku) for p in products] == [("id:7", None), ("id:8", None)]
    no_id = {"Type": "simple", "Name": "Mug", "Published": "1"}
    _, _, rejects = read(write(tmp_path, table(no_id)))
    assert [r.code for r in rejects] == [Code.MISSING_KEY]
    assert "key_fallback" in rejects[0].message


@pytest.mark.parametrize(
    ("published", "status"), [("1", "active"), ("0", "private"), ("-1", "draft"), ("", ""), ("pending", "pending")]
)
def test_published(tmp_path: Path, published: str, status: str) -> None:
    path = write(tmp_path, table(SHIRT | {"Published": published}))
    _, products, rejects = read(path, statuses=["active", "private", "draft", "pending", ""])
    assert [p.status for p in products] == [status]
    _, products, rejects = read(path)
    assert [r.code for r in rejects] == ([] if status in ("active", "") else [Code.NOT_SELECTED])


def test_variations_of_a_draft_are_drafts(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, table(SHIRT | {"Published": "-1"}, RED)), variants_by=["*"])
    assert (products, [r.code for r in rejects]) == ([], [Code.NOT_SELECTED])


def test_a_variation_that_is_off_lends_nothing(tmp_path: Path) -> None:
    plain = SHIRT | {"Attribute 1 value(s)": ""}
    _, (shirt,), _ = read(write(tmp_path, table(plain, RED | {"Published": "0"}, BLUE)))
    assert shirt.attributes == {"color": "Blue"}
    assert "red.jpg" not in shirt.image_refs


def test_escapes(tmp_path: Path) -> None:
    sign = {
        "ID": "1", "Type": "simple", "SKU": "'-5", "Name": "'=Sign", "Published": "1", "Categories": "Salt\\, pepper",
        "Attribute 1 name": "Material", "Attribute 1 value(s)": "Oak\\, oiled, Pine",
        "Images": "https://shop.example/w_1\\,h_2/a.jpg, https://shop.example/b.jpg",
    }  # fmt: skip
    _, (product,), _ = read(write(tmp_path, table(sign)))
    assert (product.product_key, product.title, product.category) == ("-5", "=Sign", "Salt, pepper")
    assert product.attributes == {"material": "Oak, oiled, Pine"}
    assert product.image_refs == ("https://shop.example/w_1,h_2/a.jpg", "https://shop.example/b.jpg")


def test_any_letter_case_and_a_mark_in_front(tmp_path: Path) -> None:
    content = table(SHIRT, RED)
    head, _, rest = content.partition("\n")
    reader, (shirt,), _ = read(write(tmp_path, b"\xef\xbb\xbf" + (head.upper() + "\n" + rest).encode()))
    assert (reader.format, shirt.attributes) == ("woocommerce", {"color": "Red, Blue"})


def test_a_german_header(tmp_path: Path) -> None:
    german = dict(
        zip(
            HEADER,
            [
                "ID", "Typ", "Artikelnummer", "Name", "Veröffentlicht", "Sichtbarkeit im Katalog", "Beschreibung",
                "Regulärer Preis", "Kategorien", "Bilder", "Übergeordnetes Produkt", "Attribut 1 Name",
                "Attribut 1 Wert(e)", "Attribut 2 Name", "Attribut 2 Wert(e)",
            ],
            strict=True,
        )
    )  # fmt: skip
    content = table(SHIRT, RED | {"Regular price": "19,90"}).split("\n", 1)[1]
    out = io.StringIO()
    csv.writer(out).writerow(german.values())
    reader, products, _ = read(write(tmp_path, out.getvalue() + content), variants_by=["*"])
    assert reader.format == "woocommerce"
    assert [(p.product_key, p.sku, str(p.price)) for p in products] == [("shirt", "shirt-r", "19.90")]


def test_the_mapping_replaces_a_column_and_adds_an_attribute(tmp_path: Path) -> None:
    content = table(SHIRT | {"Fabric": "Linen", "Meta: title": "Best shirt"}, header=[*HEADER, "Fabric", "Meta: title"])
    mapping = {"title": "Meta: title", "attributes.fabric": "Fabric"}
    _, (shirt,), _ = read(write(tmp_path, content), mapping=mapping)
    assert (shirt.title, shirt.attributes["fabric"]) == ("Best shirt", "Linen")


CELL = st.sampled_from(["", "", "1", "2", "id:1", "id:2", "a", "b", "a, b", "x.jpg", "0", "-1"])
TYPE = st.sampled_from(["simple", "variable", "variation", "grouped", "", "?"])


@LIGHT
@given(
    st.lists(st.tuples(CELL, TYPE, *[CELL] * (len(HEADER) - 2)), max_size=10),
    VARIANTS,
    st.sampled_from(["", "title", "handle#options", "sku"]),
    st.sampled_from(["reject", "first", "last"]),
)
def test_any_rows(rows: list[tuple[str, ...]], variants_by: list[str], key_fallback: str, on_duplicate: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([HEADER, *rows])
    content = out.getvalue().encode()
    survive(content, variants_by=variants_by, key_fallback=key_fallback, on_duplicate=on_duplicate)


SAMPLE = SAMPLES / "catalogs" / "woocommerce_sample_products.csv"


@pytest.mark.skipif(not SAMPLE.is_file(), reason=f"{SAMPLE} is not there; set PACKSHOT_SAMPLES to the samples' folder")
def test_the_sample() -> None:
    # Counted with csv.DictReader: 24 rows, 9 of Type "variation", whose Parent is cc-tee (3 times) or cc-hoodie (6);
    # all have a SKU, all are published; 2 are variable, 13 neither; each of the two comes in Blue, Green and Red.
    reader, products, rejects = read(SAMPLE)
    counts = reader.counts
    assert (reader.format, rejects) == ("woocommerce", [])
    assert (counts.records, counts.accepted, counts.continuation) == (24, 15, 9)
    keys = {p.product_key: p for p in products}
    assert keys["cc-hoodie"].attributes == {"color": "Blue, Green, Red", "logo": "Yes, No"}
    assert keys["cc-tee"].category == "Clothing > Tshirts"
    reader, products, rejects = read(SAMPLE, variants_by=["*"])
    assert (len(products), reader.counts.continuation, rejects) == (22, 2, [])
    assert sum(p.product_key == "cc-hoodie" for p in products) == 6
    assert all(p.image_refs for p in products if p.product_key in ("cc-hoodie", "cc-tee"))
    assert len(read(SAMPLE, variants_by=["Color"])[1]) == 13 + 3 + 3
