"""Magento's CSV: configurable products and their variants, store views, packed attributes, relative photos."""

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
    "sku", "store_view_code", "attribute_set_code", "product_type", "categories", "name", "description",
    "product_online", "price", "base_image", "small_image", "additional_images", "additional_attributes",
    "configurable_variations",
]  # fmt: skip


def table(*rows: dict[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, HEADER, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


PANTS = {
    "sku": "MP", "product_type": "configurable", "name": "Track pants", "product_online": "1", "price": "30",
    "categories": "Default Category/Men,Default Category/Men/Pants,Default Category/Sale",
    "base_image": "/m/p/mp.jpg", "small_image": "/m/p/mp.jpg", "additional_images": "/m/p/mp-1.jpg,/m/p/mp-2.jpg",
    "additional_attributes": "climate=Cool|Windy,has_options=1,url_key=track,new=No",
    "configurable_variations": "sku=MP-S,size=S,color=Blue|sku=MP-M,size=M,color=Blue",
}  # fmt: skip
SMALL = {
    "sku": "MP-S", "product_type": "simple", "name": "Track pants-S-Blue", "product_online": "1", "price": "28",
    "base_image": "/m/p/blue.jpg", "additional_attributes": "color=Blue,size=S,care=Wash cold, dry flat",
}  # fmt: skip
MEDIUM = SMALL | {"sku": "MP-M", "additional_attributes": 'color=Blue,size=M,care="Wash ""cold"", dry=flat"'}
ROOT = {"media_root": "https://cdn.example/media/catalog/product"}


def test_one_product_for_a_configurable(tmp_path: Path) -> None:
    # Exports put the variants before the product that lists them.
    reader, products, rejects = read(write(tmp_path, table(SMALL, MEDIUM, PANTS)), **ROOT)
    assert (reader.format, rejects, reader.counts.continuation) == ("magento", [], 2)
    (pants,) = products
    assert (pants.product_key, pants.sku, pants.title, str(pants.price)) == ("MP", "MP", "Track pants", "30")
    assert pants.category == "Men > Pants; Sale"
    assert pants.attributes == {
        "climate": "Cool, Windy",
        "color": "Blue",
        "size": "S, M",
        "care": 'Wash cold, dry flat, Wash "cold", dry=flat',
    }
    root = ROOT["media_root"]
    assert pants.image_refs == tuple(f"{root}/m/p/{n}.jpg" for n in ("mp", "mp-1", "mp-2", "blue"))


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    def essence(*rows: dict[str, str]) -> tuple[object, ...]:
        (p,) = read(write(tmp_path, table(*rows)), **ROOT)[1]
        return p.product_key, p.variant_key, p.sku, p.title, dict(p.attributes), p.image_refs

    assert essence(SMALL, MEDIUM, PANTS) == essence(PANTS, SMALL, MEDIUM)


def test_every_variant(tmp_path: Path) -> None:
    _, products, _ = read(write(tmp_path, table(SMALL, MEDIUM, PANTS)), variants_by=["*"], **ROOT)
    assert [(p.product_key, p.variant_key, str(p.price)) for p in products] == [
        ("MP", "MP-S", "28"),
        ("MP", "MP-M", "28"),
    ]
    assert [p.attributes["size"] for p in products] == ["S", "M"]
    assert {p.category for p in products} == {"Men > Pants; Sale"}
    assert products[0].image_refs == (f"{ROOT['media_root']}/m/p/blue.jpg",)


def test_configurables_that_have_none_of_their_variants(tmp_path: Path) -> None:
    itself = PANTS | {"sku": "X", "configurable_variations": "sku=X,size=S"}
    rival = PANTS | {"sku": "Y"}  # lists what MP has listed already
    reader, products, rejects = read(write(tmp_path, table(PANTS, rival, itself, SMALL)), variants_by=["*"], **ROOT)
    assert [(p.product_key, p.variant_key) for p in products] == [("Y", ""), ("X", ""), ("MP", "MP-S")]
    assert (rejects, reader.counts.continuation) == ([], 1)


def test_switched_off(tmp_path: Path) -> None:
    off = PANTS | {"product_online": "2"}
    _, products, rejects = read(write(tmp_path, table(off)))
    assert (products, [r.code for r in rejects]) == ([], [Code.NOT_SELECTED])
    _, products, _ = read(write(tmp_path, table(off)), statuses=["draft"])
    assert [p.status for p in products] == ["draft"]


def test_photos_need_their_root(tmp_path: Path) -> None:
    reader, (pants,), _ = read(write(tmp_path, table(PANTS)))
    assert pants.image_refs == ()
    assert any("a path from a root that media_root does not name" in note for note in reader.notes)
    none = {"base_image": "no_selection", "small_image": "/s.jpg", "additional_images": ""}
    _, (pants,), _ = read(write(tmp_path, table(PANTS | none)), **ROOT)
    assert pants.image_refs == (f"{ROOT['media_root']}/s.jpg",)


GERMAN = {"sku": "MP", "store_view_code": "de", "name": "Trainingshose"}
FRENCH = {"sku": "MP", "store_view_code": "fr_fr", "name": "Pantalon", "product_online": "2"}


def test_store_views_are_no_duplicates(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, table(GERMAN, PANTS, FRENCH)))
    assert ([p.title for p in products], rejects, reader.counts.continuation) == (["Track pants"], [], 2)
    assert any(note.startswith("2 x row of another store view") for note in reader.notes)


@pytest.mark.parametrize("wanted", [{"locale": "de"}, {"locale": "de-AT"}, {"channel": "DE"}])
def test_the_wanted_view_lends_its_words(tmp_path: Path, wanted: dict[str, str]) -> None:
    reader, (pants,), _ = read(write(tmp_path, table(PANTS, FRENCH, GERMAN)), **wanted, **ROOT)
    assert (pants.title, str(pants.price), pants.record) == ("Trainingshose", "30", 1)
    assert len(pants.image_refs) == 3
    assert reader.counts.continuation == 2


def test_a_view_may_switch_a_product_off(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, table(PANTS, FRENCH, GERMAN)), locale="fr_FR")
    assert (products, [r.code for r in rejects]) == ([], [Code.NOT_SELECTED])


def test_a_view_that_is_not_there_is_said(tmp_path: Path) -> None:
    reader, (pants,), _ = read(write(tmp_path, table(PANTS, FRENCH, GERMAN)), channel="es")
    assert pants.title == "Track pants"
    assert any("store view es not in the file" in note and "fr_fr, de" in note for note in reader.notes)


def test_an_export_of_one_view_only(tmp_path: Path) -> None:
    english = GERMAN | {"store_view_code": "en", "name": "Trousers"}
    path = write(tmp_path, table(FRENCH | {"product_online": "1"}, english, GERMAN))
    assert [p.title for p in read(path)[1]] == ["Pantalon"]
    reader, products, _ = read(path, locale="de")
    assert [(p.title, p.record) for p in products] == [("Trainingshose", 3)]
    assert reader.counts.continuation == 2


def test_a_view_twice_is_a_duplicate(tmp_path: Path) -> None:
    _, _, rejects = read(write(tmp_path, table(PANTS, PANTS | {"name": "Other"})))
    assert [r.code for r in rejects] == [Code.DUPLICATE_KEY]


def test_without_sku(tmp_path: Path) -> None:
    _, _, rejects = read(write(tmp_path, table(PANTS | {"sku": ""})))
    assert [r.code for r in rejects] == [Code.MISSING_KEY]
    assert "key_fallback" in rejects[0].message
    _, _, rejects = read(write(tmp_path, table(PANTS | {"sku": ""}, GERMAN | {"sku": ""})))
    assert [r.code for r in rejects] == [Code.MISSING_KEY] * 2


def test_sample_datas_layout(tmp_path: Path) -> None:
    content = 'category,name,sku,description,material,attribute_set\n"Gear\nBags",Sack,S1,"<p>Big","Wool\n Silk",Bag\n'
    reader, (sack,), _ = read(write(tmp_path, content))
    assert (reader.format, sack.category, sack.attributes) == ("magento", "Gear > Bags", {"material": "Wool, Silk"})


def test_the_mapping_replaces_photos_and_adds_attributes(tmp_path: Path) -> None:
    mapping = {"image_refs": "additional_images", "attributes.look": "attribute_set_code"}
    _, (pants,), _ = read(write(tmp_path, table(PANTS | {"attribute_set_code": "Slim"})), mapping=mapping, **ROOT)
    assert [ref.rsplit("/", 1)[1] for ref in pants.image_refs] == ["mp-1.jpg", "mp-2.jpg"]
    assert pants.attributes["look"] == "Slim"


CELL = st.sampled_from(["", "", "a", "b", "c", "/x.jpg", "1", "2"])
PACKED = st.sampled_from(["", "sku=a|sku=b", "sku=c,size=S", "color=Red,size=", "sku=", "=,=|", 'a="b,c'])
ROW = st.tuples(
    CELL,
    st.sampled_from(["", "de", "fr"]),
    CELL,
    st.sampled_from(["configurable", "simple", ""]),
    *[CELL] * 8,
    PACKED,
    PACKED,
)


@LIGHT
@given(
    st.lists(ROW, max_size=10),
    VARIANTS,
    st.sampled_from(["", "de", "es"]),
    st.sampled_from(["", "title", "handle#options"]),
    st.sampled_from(["reject", "first", "last"]),
)
def test_any_rows(
    rows: list[tuple[str, ...]], variants_by: list[str], locale: str, key_fallback: str, on_duplicate: str
) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([HEADER, *rows])
    content = out.getvalue().encode()
    survive(content, variants_by=variants_by, locale=locale, key_fallback=key_fallback, on_duplicate=on_duplicate)


CATALOGS = SAMPLES / "catalogs"


@pytest.mark.skipif(
    not CATALOGS.is_dir(), reason=f"samples are not at {CATALOGS}; set PACKSHOT_SAMPLES to their folder"
)
@pytest.mark.parametrize(
    # Counted with csv.DictReader: rows, the first row's SKU and how many have "Collections" among their categories.
    ("name", "rows", "first", "collections"),
    [
        ("magento_gear_bags.csv", 14, "24-MB01", 7),
        ("magento_gear_watches.csv", 9, "24-MG04", 4),
        ("magento_gear_fitness_equipment.csv", 9, "24-UG06", 2),
    ],
)
def test_the_samples(name: str, rows: int, first: str, collections: int) -> None:
    reader, products, rejects = read(CATALOGS / name)
    assert (reader.format, rejects, reader.counts.continuation) == ("magento", [], 0)
    assert (len(products), products[0].product_key) == (rows, first)
    assert sum("> Collections" in p.category for p in products) == collections
    assert all(p.category.startswith("Gear > ") for p in products)
