"""Amazon's listing files."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.catalog.formats import amazon
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import SAMPLES, read, write
from tests.catalog.test_catalog_properties import LIGHT, VARIANTS, survive

NAMES = [
    "feed_product_type", "item_sku", "brand_name", "item_name", "standard_price", "currency", "other_image_url2",
    "main_image_url", "other_image_url1", "swatch_image_url", "parent_child", "parent_sku", "product_description",
    "bullet_point1", "bullet_point2", "color_name", "size_name", "material_type", "update_delete",
]  # fmt: skip


def flat(rows: list[dict[str, str]], names: list[str] = NAMES, settings: str = "TemplateType=fptcustom") -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\r\n")
    writer.writerow([settings, "Version=2026.1"])
    writer.writerow([f"The {name}" for name in names])
    writer.writerow(names)
    writer.writerows([row.get(name, "") for name in names] for row in rows)
    return out.getvalue()


PARENT = {
    "feed_product_type": "shirt", "item_sku": "P", "brand_name": "Acme", "item_name": "Tee", "parent_child": "Parent",
    "product_description": "<p>A tee</p>", "bullet_point1": "Soft", "main_image_url": "https://i.example/p.jpg",
    "update_delete": "Update",
}  # fmt: skip


def child(sku: str, color: str = "", size: str = "", **more: str) -> dict[str, str]:
    return {"item_sku": sku, "parent_child": "Child", "parent_sku": "P", "color_name": color, "size_name": size, **more}


FAMILY = [
    PARENT,
    child("w-s", "White", "S", item_name="Tee, white, S", main_image_url="https://i.example/w.jpg"),
    child("w-m", "White", "M", standard_price="9.99", currency="EUR"),
    child("b-s", "Black", "S", bullet_point1="Softer", bullet_point2="Lasts"),
    {"item_sku": "MUG", "item_name": "Mug", "feed_product_type": "mug", "material_type": "Clay"},
]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 4, 1, 2, 0], [1, 0, 2, 4, 3]])
def test_one_product_of_a_family_wherever_the_parent_stands(tmp_path: Path, order: list[int]) -> None:
    reader, products, rejects = read(write(tmp_path, flat([FAMILY[n] for n in order])))
    assert (reader.format, reader.delimiter, rejects) == ("amazon", "\t", [])
    assert "the header was found on line 3; what stands above it is left out" in reader.notes
    tee, mug = sorted(products, key=lambda p: p.product_key, reverse=True)
    assert (tee.name, tee.title, tee.description, tee.brand, tee.category) == (
        "P",
        "Tee",
        "A tee Soft",
        "Acme",
        "shirt",
    )
    assert tee.image_refs[0] == "https://i.example/p.jpg"
    assert (mug.name, mug.title, mug.category, mug.attributes) == ("MUG", "Mug", "mug", {"material": "Clay"})
    assert (reader.counts.accepted, reader.counts.continuation) == (2, 3)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 4, 2, 1, 0]])
def test_every_variant_with_its_own_words_first(tmp_path: Path, order: list[int]) -> None:
    reader, products, rejects = read(write(tmp_path, flat([FAMILY[n] for n in order])), variants_by=["*"])
    found = {p.name: p for p in products}
    assert (set(found), rejects) == ({"P/w-s", "P/w-m", "P/b-s", "MUG"}, [])
    assert reader.counts.continuation == 1
    assert [(found[n].title, found[n].image_refs[0][-5:]) for n in ("P/w-s", "P/w-m")] == [
        ("Tee, white, S", "w.jpg"),
        ("Tee", "p.jpg"),
    ]
    assert (found["P/w-m"].price, found["P/w-m"].currency, found["P/w-s"].price) == (Decimal("9.99"), "EUR", None)
    assert found["P/b-s"].description == "Softer; Lasts"
    assert found["P/b-s"].attributes == {"color": "Black", "size": "S"}
    assert found["P/b-s"].sku == "b-s"


def test_by_colour(tmp_path: Path) -> None:
    reader, products, _ = read(write(tmp_path, flat(FAMILY)), variants_by=["color"])
    assert [p.name for p in products] == ["P/White", "P/Black", "MUG"]
    assert reader.counts.continuation == 2


def test_photos_by_their_numbers_and_no_swatch(tmp_path: Path) -> None:
    refs = {name: f"https://i.example/{name}.jpg" for name in NAMES if "image" in name}
    (mug,) = read(write(tmp_path, flat([{"item_sku": "1", "item_name": "Mug", **refs}])))[1]
    assert [ref[18:-4] for ref in mug.image_refs] == ["main_image_url", "other_image_url1", "other_image_url2"]


@pytest.mark.parametrize("word", ["Delete", "delete", "Löschen", "Elimina"])
def test_deleted_listings_are_rejects(tmp_path: Path, word: str) -> None:
    rows = [PARENT, child("a", "Red", update_delete=word), child("b", "Blue"), {"item_sku": "X", "update_delete": word}]
    for variants_by in ([], ["*"]):
        reader, products, rejects = read(write(tmp_path, flat(rows)), variants_by=variants_by)
        assert [(r.record, r.code) for r in rejects] == [(2, Code.NOT_SELECTED), (4, Code.NOT_SELECTED)]
        assert (len(products), reader.counts.continuation) == (1, 1)


def test_children_of_a_deleted_parent_stand_alone(tmp_path: Path) -> None:
    gone = {**PARENT, "update_delete": "Delete"}
    reader, products, rejects = read(write(tmp_path, flat([gone, child("a", item_name="Tee"), child("b")])))
    assert [p.name for p in products] == ["a"]
    assert [(r.key, r.code) for r in rejects] == [(None, Code.NOT_SELECTED), ("b", Code.ORPHAN_VARIANT)]
    assert any("whose parent is not in the catalog" in note for note in reader.notes)


def test_words_of_another_language_make_no_difference(tmp_path: Path) -> None:
    rows = [{**PARENT, "parent_child": "Übergeordnet"}, child("a", "Rot", parent_child="Untergeordnet")]
    assert [p.name for p in read(write(tmp_path, flat(rows)), variants_by=["*"])[1]] == ["P/a"]


def test_a_parent_without_children_and_one_that_names_itself(tmp_path: Path) -> None:
    rows = [{**PARENT, "parent_sku": "P"}, {**PARENT, "item_sku": "Q"}]
    _, products, rejects = read(write(tmp_path, flat(rows)), variants_by=["*"])
    assert ([p.name for p in products], rejects) == (["P", "Q"], [])


@pytest.mark.parametrize("variants_by", [[], ["*"], ["color"]])
def test_a_sku_is_needed(tmp_path: Path, variants_by: list[str]) -> None:
    path = write(tmp_path, flat([PARENT, child("", "Red", "S"), child("b", "Red", "M"), {"item_name": "Mug"}]))
    _, products, rejects = read(path, variants_by=variants_by)
    assert [(r.record, r.code) for r in rejects] == [(2, Code.MISSING_KEY), (4, Code.MISSING_KEY)]
    assert all("key_fallback" in r.message for r in rejects)
    assert len(products) == 1
    _, products, rejects = read(path, variants_by=variants_by, key_fallback="title#options")
    names = {"*": ["P/Tee#Red/S", "P/b", "Mug#"], "color": ["P/Red", "Mug#"]}
    assert [p.name for p in products] == names.get("".join(variants_by), ["P", "Mug#"])
    assert rejects == []


def test_duplicate_skus(tmp_path: Path) -> None:
    rows = [*FAMILY, FAMILY[1], {**FAMILY[4], "item_name": "Cup"}]
    for variants_by in ([], ["*"]):
        _, _, rejects = read(write(tmp_path, flat(rows)), variants_by=variants_by)
        assert [(r.record, r.code) for r in rejects] == [(6, Code.DUPLICATE_KEY), (7, Code.DUPLICATE_KEY)]
        assert ["by the same record" in r.message for r in rejects] == [True, False]


@pytest.mark.parametrize(("encoding", "told"), [("utf-8", False), ("cp1252", True), ("utf-16", False)])
def test_encodings(tmp_path: Path, encoding: str, told: bool) -> None:
    path = write(tmp_path, flat([{"item_sku": "1", "item_name": "Größe “5”"}]).encode(encoding), "flat.txt")
    reader, products, _ = read(path)
    assert products[0].title == "Größe “5”"
    assert any("guess" in note for note in reader.notes) is told


def test_shift_jis_when_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, flat([{"item_sku": "1", "item_name": "マグカップ表"}]).encode("shift_jis"), "flat.txt")
    assert read(path, encoding="shift_jis")[1][0].title == "マグカップ表"
    assert read(path, fallback_encoding="shift_jis")[1][0].title == "マグカップ表"


# --- newer templates --------------------------------------------------------------------------------------------

DE, EN = "[marketplace_id=A1][language_tag=de_DE]", "[marketplace_id=A1][language_tag=en_GB]"
NEW = [
    "::record_action", "contribution_sku#1.value", "product_type#1.value", "parentage_level[marketplace_id=A1]#1.value",
    "child_parent_sku_relationship[marketplace_id=A1]#1.child_relationship_type",
    "child_parent_sku_relationship[marketplace_id=A1]#1.parent_sku", "variation_theme#1.name",
    f"item_name{DE}#1.value", f"item_name{EN}#1.value", f"brand{DE}#1.value", f"product_description{DE}#1.value",
    f"bullet_point{DE}#10.value", f"bullet_point{DE}#2.value", f"bullet_point{DE}#1.value", f"bullet_point{EN}#1.value",
    f"color{DE}#1.standardized_values#1", f"color{DE}#1.value", f"material{DE}#1.value",
    "apparel_size[marketplace_id=A1]#1.size_system", "apparel_size[marketplace_id=A1]#1.size",
    "other_product_image_locator_2[marketplace_id=A1]#1.media_location",
    "other_product_image_locator_1[marketplace_id=A1]#1.media_location",
    "main_product_image_locator[marketplace_id=A1]#1.media_location",
    "main_product_image_locator[marketplace_id=A2]#1.media_location",
    "swatch_product_image_locator[marketplace_id=A1]#1.media_location",
    "purchasable_offer[marketplace_id=A1][audience=ALL]#1.currency",
    "purchasable_offer[marketplace_id=A1][audience=ALL]#1.our_price#1.schedule#1.value_with_tax",
]  # fmt: skip
TEE = [
    "Erstellen", "t-s", "SHIRT", "Untergeordnet", "Variation", "T", "COLOR/SIZE", "Hemd", "Shirt", "Acme", "Ein Hemd",
    "zehn", "zwei", "eins", "one", "red", "Rot", "Leinen", "EU", "M", "https://i.example/2.jpg",
    "https://i.example/1.jpg", "https://i.example/0.jpg", "https://i.example/x.jpg", "https://i.example/s.jpg",
    "EUR", "19.90",
]  # fmt: skip
SETTINGS = "settings=attributeRow=4&contentLanguageTag=de_DE&dataRow=6&labelRow=3"


def new_template(settings: str = SETTINGS) -> str:
    out = io.StringIO()
    blank = [""] * len(NEW)
    example, parent = blank.copy(), blank.copy()
    example[1], example[7] = "ABC123", "Beispiel"
    parent[1], parent[3], parent[7] = "T", "Übergeordnet", "Hemd, alle"
    gone = ["Löschen", "old", *blank[2:]]
    rows = [[settings, *blank[1:]], ["Angebot", *blank[1:]], [f"Label {n}" for n in range(len(NEW))], NEW]
    csv.writer(out, delimiter="\t").writerows([*rows, example, parent, TEE, gone])
    return out.getvalue()


def test_newer_templates(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, new_template()), variants_by=["*"])
    assert (reader.format, [p.name for p in products]) == ("amazon", ["T/t-s"])
    assert [(r.record, r.code, "example" in r.message) for r in rejects] == [
        (1, Code.NOT_SELECTED, True),
        (4, Code.NOT_SELECTED, False),
    ]
    shirt = products[0]
    assert (shirt.title, shirt.description, shirt.brand, shirt.category) == (
        "Hemd",
        "Ein Hemd eins; zwei; zehn",
        "Acme",
        "SHIRT",
    )
    assert shirt.attributes == {"color": "Rot", "material": "Leinen", "size": "M"}
    assert shirt.image_refs == tuple(f"https://i.example/{n}.jpg" for n in range(3))
    assert (shirt.price, shirt.currency) == (Decimal("19.90"), "EUR")


def test_the_language_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, new_template("no settings"))
    for locale in ("en", "en_GB", "en-gb"):
        _, products, _ = read(path, variants_by=["*"], locale=locale)
        assert [(p.name, p.title) for p in products][-1] == ("T/t-s", "Shirt")
        assert products[-1].description == "Ein Hemd one"  # the only description there is
    assert read(path)[1][0].name == "ABC123"


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("item_sku", "item_sku"),
        ("Other_Image_URL8", "other_image_url"),
        ("bullet_point_3", "bullet_point"),
        ("::record_action", "record_action"),
        ("bullet_point[marketplace_id=A][language_tag=en_US]#3.value", "bullet_point"),
        ("outer[marketplace_id=A]#1.material[language_tag=en_US]#1.value", "outer.material"),
        ("variation_theme#1.name", "variation_theme"),
    ],
)
def test_field_names(column: str, name: str) -> None:
    assert amazon.field_name(column) == name


# --- the rest ---------------------------------------------------------------------------------------------------


def test_the_mapping_replaces_and_adds(tmp_path: Path) -> None:
    path = write(tmp_path, flat(FAMILY))
    mapping = {"category": "brand_name", "attributes.theme": "size_name", "image_refs": "swatch_image_url"}
    _, products, _ = read(path, mapping=mapping, variants_by=["*"])
    assert (products[0].category, products[0].attributes["theme"], products[0].image_refs) == ("Acme", "S", ())
    with pytest.raises(ConfigError, match="no column 'colour_name' \\(did you mean 'color_name'"):
        read(path, mapping={"attributes.color": "colour_name"})


def test_a_plain_table_with_amazons_words_is_no_flat_file(tmp_path: Path) -> None:
    assert read(write(tmp_path, "item_sku,item_name\n1,Mug\n"))[0].format == "csv"


CELL = st.sampled_from(["", "", "P", "a", "b", "Red", "Delete", "Parent", "Child", "https://i.example/a.jpg", "9 EUR"])
ANY = [
    "item_sku",
    "parent_sku",
    "parent_child",
    "item_name",
    "color_name",
    "size_name",
    "update_delete",
    "bullet_point1",
]


@LIGHT
@given(
    st.lists(st.lists(CELL, min_size=7, max_size=9), max_size=12),
    VARIANTS,
    st.sampled_from(["", "title", "handle#options"]),
    st.sampled_from(["reject", "first", "last"]),
)
def test_any_rows(rows: list[list[str]], variants_by: list[str], key_fallback: str, on_duplicate: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter="\t").writerows([["settings=attributeRow=2&dataRow=4"], ANY, *rows])
    survive(out.getvalue().encode(), variants_by=variants_by, key_fallback=key_fallback, on_duplicate=on_duplicate)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"sample catalogs are not at {SAMPLES}; set PACKSHOT_SAMPLES")
@pytest.mark.parametrize(("variants_by", "accepted"), [([], 32), (["*"], 119), (["color"], 32)])
def test_sample(variants_by: list[str], accepted: int) -> None:
    # By csv.reader alone, below line 3: 151 rows = 32 parents + 119 children, no orphan, no SKU twice, every parent has
    # children, 32 distinct (parent_sku, color_name); only children have a price.
    reader, products, rejects = read(SAMPLES / "catalogs" / "amazon_flatfile.txt", variants_by=variants_by)
    counts = reader.counts
    assert (reader.format, reader.encoding, rejects) == ("amazon", "cp1252", [])
    assert (counts.records, counts.accepted, counts.continuation) == (151, accepted, 151 - accepted)
    assert sum(p.price is not None for p in products) == (accepted if variants_by else 0)
