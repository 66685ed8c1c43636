"""PrestaShop's product files, and its combinations, which are no catalog."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import SAMPLES, read, write
from tests.catalog.test_catalog_properties import LIGHT, VARIANTS, survive

HEADER = [
    "Product ID", "Active (0/1)", "Name *", "Categories (x,y,z...)", "Price tax excluded", "On sale (0/1)",
    "Reference #", "Supplier reference #", "Manufacturer", "EAN13", "Summary", "Description",
    "Available for order (0 = No, 1 = Yes)", "Image URLs (x,y,z...)", "Feature(Name:Value:Position)",
]  # fmt: skip


def table(*rows: dict[str, str], header: list[str] = HEADER) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, header, restval="", delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


LAMP = {
    "Product ID": "1", "Active (0/1)": "1", "Name *": "Desk lamp", "Categories (x,y,z...)": "Home,Home/Lamps,New",
    "Price tax excluded": "49.5", "Reference #": "LAMP", "Manufacturer": "Lumen", "EAN13": "1234567890123",
    "Summary": "<p>Short</p>", "Description": "<p>Bends.</p>",
    "Image URLs (x,y,z...)": "https://s.example/1.jpg,https://s.example/2.jpg",
    "Feature(Name:Value:Position)": "Colour:Red:1,Made of:Steel, brass,Colour:Black:3:1,Empty::4",
}  # fmt: skip


def test_a_product(tmp_path: Path) -> None:
    shade = LAMP | {"Product ID": "2", "Reference #": "SHADE"}  # the same EAN: samples share one among all
    reader, products, rejects = read(write(tmp_path, table(LAMP, shade)))
    assert (reader.format, reader.delimiter, rejects) == ("prestashop", ";", [])
    lamp = products[0]
    assert [p.product_key for p in products] == ["LAMP", "SHADE"]
    assert (lamp.title, lamp.description, lamp.brand, str(lamp.price)) == ("Desk lamp", "Bends.", "Lumen", "49.5")
    assert lamp.category == "Lamps; New"
    assert lamp.attributes == {"colour": "Red, Black", "made_of": "Steel, brass"}
    assert lamp.image_refs == ("https://s.example/1.jpg", "https://s.example/2.jpg")


def test_without_a_reference_the_id_is_the_key(tmp_path: Path) -> None:
    _, products, _ = read(write(tmp_path, table(LAMP | {"Reference #": ""})))
    assert [(p.product_key, p.sku) for p in products] == [("id:1", None)]
    _, _, rejects = read(write(tmp_path, table(LAMP | {"Reference #": "", "Product ID": ""})))
    assert [r.code for r in rejects] == [Code.MISSING_KEY]
    assert "key_fallback" in rejects[0].message


def test_a_shared_reference(tmp_path: Path) -> None:
    path = write(tmp_path, table(LAMP, LAMP | {"Product ID": "2", "Name *": "Other lamp"}))
    assert [r.code for r in read(path)[2]] == [Code.DUPLICATE_KEY]
    assert [p.product_key for p in read(path, mapping={"product_key": "Product ID"})[1]] == ["1", "2"]


def test_switched_off(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, table(LAMP | {"Active (0/1)": "0"})))
    assert (products, [r.code for r in rejects]) == ([], [Code.NOT_SELECTED])


def test_the_list_that_the_back_office_exports(tmp_path: Path) -> None:
    content = '"Product ID";Image;Name;Reference;Category;"Price (tax excl.)";Quantity;Status\n'
    content += "1;https://s.example/1.jpg;Mug;M-1;Kitchen;11.90;3;1\n2;;Bowl;B-1;Kitchen;9;0;0\n"
    reader, products, rejects = read(write(tmp_path, content))
    assert reader.format == "prestashop"
    assert [(p.product_key, p.category, str(p.price), p.image_refs) for p in products] == [
        ("M-1", "Kitchen", "11.90", ("https://s.example/1.jpg",))
    ]
    assert [r.code for r in rejects] == [Code.NOT_SELECTED]


COMBINATIONS = "Product ID*;Product reference;Attribute (Name:Type:Position)*;Value (Value:Position)*;Reference\n"


@pytest.mark.parametrize("format", ["auto", "prestashop"])
def test_combinations_are_refused(tmp_path: Path, format: str) -> None:
    with pytest.raises(ConfigError, match=r"combinations: .* Give the file of the products"):
        read(write(tmp_path, COMBINATIONS + "1;LAMP;Colour:color:0;Red:0;LAMP-R\n"), format=format)


def test_the_mapping_adds_an_attribute(tmp_path: Path) -> None:
    mapping = {"attributes.maker": "Manufacturer", "title": "Summary"}
    _, (lamp,), _ = read(write(tmp_path, table(LAMP)), mapping=mapping)
    assert (lamp.title, lamp.attributes["maker"]) == ("Short", "Lumen")


CELL = st.sampled_from(["", "", "1", "0", "a", "b", "x.jpg", "A/B,C", ":", "a:b:c,d", "a:b,c:d:1:0", ",:,"])


@LIGHT
@given(
    st.lists(st.tuples(*[CELL] * len(HEADER)), max_size=10),
    VARIANTS,
    st.sampled_from(["", "title", "handle#options"]),
    st.sampled_from(["reject", "first", "last"]),
)
def test_any_rows(rows: list[tuple[str, ...]], variants_by: list[str], key_fallback: str, on_duplicate: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerows([HEADER, *rows])
    content = out.getvalue().encode()
    survive(content, variants_by=variants_by, key_fallback=key_fallback, on_duplicate=on_duplicate)


SAMPLE = SAMPLES / "catalogs" / "prestashop_products_import.csv"


@pytest.mark.skipif(not SAMPLE.is_file(), reason=f"{SAMPLE} is not there; set PACKSHOT_SAMPLES to the samples' folder")
def test_the_sample() -> None:
    # Counted with csv.DictReader(delimiter=";"): 7 rows, all active, RP-demo_1 to RP-demo_7, one EAN13 for all, 2
    # photos in the first row and 1 in each other; the first 5 by Apple.
    reader, products, rejects = read(SAMPLE)
    assert (reader.format, reader.delimiter, rejects) == ("prestashop", ";", [])
    assert [p.product_key for p in products] == [f"RP-demo_{n}" for n in range(1, 8)]
    assert [len(p.image_refs) for p in products] == [2, 1, 1, 1, 1, 1, 1]
    assert [p.brand for p in products] == [*["Apple"] * 5, "Belkin", "Shure"]
