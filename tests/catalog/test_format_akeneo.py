"""Akeneo's products and product models."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.catalog import CatalogOptions, open_catalog
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import SAMPLES, read, read_all, write
from tests.catalog.test_catalog_properties import LIGHT, VARIANTS, survive

PRODUCTS = (
    "sku;family;parent;categories;enabled;groups;name-en_US;name-de_DE;description-en_US-shop;description-en_US-print;"
    "color;eu_shoes_size;ean;weight;weight-unit;picture;X_SELL-products\n"
    "bag;bags;;master_bags,sale;1;;Bag;Tasche;Line one\\nline two;Print;black;;400001;0.5;KILOGRAM;"
    "files/bag/picture/b.jpg;\n"
    "run-r-40;shoes;run_red;master_shoes;1;;;;;;;40;400002;800;GRAM;;bag\n"
    "run-r-41;shoes;run_red;master_shoes;1;;;;;;;41;400003;;GRAM;files/own.jpg;\n"
    "run-b-40;shoes;run_blue;master_shoes;0;;;;;;;40;400004;;;;\n"
    "run-g-40;shoes;run_green;master_shoes;1;;;;;;;40;400005;;;;\n"
    "old;shoes;;master_shoes;0;;Old shoe;Alter Schuh;;;;;400006;;;;\n"
    "lost;shoes;gone;master_shoes;1;;;;;;;40;400007;;;;\n"
    "alone;shoes;gone;master_shoes;1;;Alone;Allein;;;;40;400008;;;;\n"
)
MODELS = (
    "code;family_variant;parent;categories;name-en_US;name-de_DE;description-en_US-shop;price-EUR;price-USD;material;"
    "color;image\n"
    "run;shoes_color_size;;master_shoes;Runner;Läufer;Made to run;99.90;109.00;mesh;;files/run/image/run.jpg\n"
    "run_red;shoes_color_size;run;master_shoes;;;;;;;red;files/run_red/image/red.jpg\n"
    "run_blue;shoes_color_size;run;master_shoes;;;Blue one;;;;blue;\n"
    "run_green;shoes_color_size;run;master_shoes;;;;;;;green;\n"
    "cap;caps;;master_caps;Cap;Mütze;;;;wool;;\n"
)


@pytest.fixture
def products(tmp_path: Path) -> Path:
    write(tmp_path, MODELS, "models.csv")
    return write(tmp_path, PRODUCTS, "products.csv")


def test_simple_products(products: Path) -> None:
    reader, read_products, _ = read(products)
    bag = read_products[0]
    assert (reader.format, reader.delimiter) == ("akeneo", ";")
    assert (bag.name, bag.sku, bag.title, bag.description) == ("bag", "bag", "Bag", "Line one line two")
    assert bag.category == "bags > master bags, sale"
    assert bag.attributes == {"color": "black", "weight": "0.5 KILOGRAM"}
    assert (bag.image_refs, bag.status) == (("files/bag/picture/b.jpg",), "active")


def test_without_the_models_file_variants_are_refused_and_the_option_named(products: Path) -> None:
    reader, read_products, rejects = read(products)
    assert [p.name for p in read_products] == ["bag", "alone"]
    assert [(r.key, r.code) for r in rejects] == [
        ("run-r-40", Code.ORPHAN_VARIANT),
        ("run-r-41", Code.ORPHAN_VARIANT),
        ("run-b-40", Code.ORPHAN_VARIANT),
        ("run-g-40", Code.ORPHAN_VARIANT),
        ("old", Code.NOT_SELECTED),
        ("lost", Code.ORPHAN_VARIANT),
    ]
    assert "'run_red'" in rejects[0].message
    assert "`parents` names the file with the product models" in rejects[0].message
    assert any("whose parent is not in the catalog, taken by itself: alone" in note for note in reader.notes)


def test_one_product_of_a_root_model(products: Path) -> None:
    reader, read_products, rejects = read(products, parents="models.csv", channel="shop")
    assert [p.name for p in read_products] == ["bag", "run", "alone"]
    run = read_products[1]
    assert (run.title, run.description, run.category) == ("Runner", "Made to run", "shoes > master shoes")
    assert (str(run.price), run.currency) == ("99.90", "EUR")
    assert run.attributes == {
        "material": "mesh",
        "color": "red, blue, green",
        "eu_shoes_size": "40, 41",
        "weight": "800 GRAM",
    }
    assert run.image_refs[0] == "files/run/image/run.jpg"
    assert set(run.image_refs[1:]) == {"files/run_red/image/red.jpg", "files/own.jpg"}
    assert [(r.key, r.code) for r in rejects] == [("old", Code.NOT_SELECTED), ("lost", Code.ORPHAN_VARIANT)]
    assert rejects[1].message.endswith("nor is it in models.csv")
    assert reader.counts.continuation == 3


def test_every_variant(products: Path) -> None:
    _, read_products, rejects = read(products, parents="models.csv", variants_by=["*"], currency="USD", channel="shop")
    assert [(p.name, p.description, p.attributes, p.image_refs) for p in read_products if p.product_key == "run"] == [
        (
            "run/run-r-40",
            "Made to run",
            {"material": "mesh", "color": "red", "eu_shoes_size": "40", "weight": "800 GRAM"},
            ("files/run_red/image/red.jpg",),
        ),
        (
            "run/run-r-41",
            "Made to run",
            {"material": "mesh", "color": "red", "eu_shoes_size": "41"},
            ("files/own.jpg",),
        ),
        (
            "run/run-g-40",
            "Made to run",
            {"material": "mesh", "color": "green", "eu_shoes_size": "40"},
            ("files/run/image/run.jpg",),
        ),
    ]
    run = read_products[1]
    assert (run.title, run.sku, str(run.price), run.currency) == ("Runner", "run-r-40", "109.00", "USD")
    assert [(r.key, r.code) for r in rejects] == [
        ("run", Code.NOT_SELECTED),
        ("old", Code.NOT_SELECTED),
        ("lost", Code.ORPHAN_VARIANT),
    ]


def test_a_sub_model_speaks_before_its_root(products: Path) -> None:
    options: dict[str, Any] = {"parents": "models.csv", "variants_by": ["color"], "statuses": ["active", "draft"]}
    found = {p.variant_key: p for p in read(products, **options)[1] if p.product_key == "run"}
    assert list(found) == ["red", "blue", "green"]
    assert [p.description for p in found.values()] == ["Made to run", "Blue one", "Made to run"]
    assert [p.title for p in found.values()] == ["Runner"] * 3


def test_both_files_are_read_in_one_language_and_channel(products: Path) -> None:
    reader, read_products, _ = read(products, parents="models.csv", locale="de", channel="shop")
    assert [p.title for p in read_products] == ["Tasche", "Läufer", "Allein"]
    assert "models.csv: not there in de_DE, so taken in another language: description-en_US-shop" in reader.notes
    assert len(set(reader.notes)) == len(reader.notes)
    assert read(products, channel="print")[1][0].description == "Print"
    with pytest.raises(ConfigError, match="Found: en_US, de_DE"):
        read(products, locale="fr_FR")
    with pytest.raises(ConfigError, match="Found: shop, print"):
        read(products, channel="web")


def test_titles_may_all_stand_in_the_models_file(tmp_path: Path) -> None:
    write(tmp_path, MODELS.replace("name-en_US;name-de_DE", "name-de_DE;name-en_US"), "models.csv")
    path = write(tmp_path, "sku;family;parent;categories\nr1;shoes;run_red;a\n", "products.csv")
    assert [(p.name, p.title) for p in read(path, parents="models.csv")[1]] == [("run", "Runner")]
    assert [(p.name, p.title) for p in read(path, parents="models.csv", locale="en")[1]] == [("run", "Läufer")]
    with pytest.raises(ConfigError, match="title"):
        read(path)


def test_the_mapping_holds_for_both_files(products: Path) -> None:
    mapping: dict[str, str | list[str]] = {
        "title": ["name-de_DE", "name-en_US"],
        "attributes.code": "ean",
        "category": "categories",
        "description": [],
    }
    found = read(products, parents="models.csv", mapping=mapping)[1]
    assert [(p.title, p.category, p.description) for p in found[:2]] == [
        ("Tasche", "master_bags,sale", ""),
        ("Läufer", "master_shoes", ""),
    ]
    assert found[0].attributes["code"] == "400001"


def test_newer_files_know_products_by_uuid(tmp_path: Path) -> None:
    write(tmp_path, MODELS, "models.csv")
    header = "uuid;identifier;family;parent;enabled;name-en_US\n"
    path = write(tmp_path, header + "u1;;shoes;;1;Shoe\nu2;;shoes;run_red;1;\nu3;x;shoes;run_red;1;\n")
    found = read(path, parents="models.csv", variants_by=["*"])[1]
    assert [(p.name, p.sku) for p in found] == [("u1", None), ("run/u2", None), ("run/x", "x")]


def test_models_alone_are_products_and_those_below_them_their_variants(products: Path) -> None:
    path = products.parent / "models.csv"
    reader, found, rejects = read(path)
    assert (reader.format, [p.name for p in found], rejects) == ("akeneo", ["run", "cap"], [])
    assert (found[0].sku, found[0].attributes) == (None, {"material": "mesh", "color": "red, blue, green"})
    assert reader.counts.continuation == 3
    every = read(path, variants_by=["*"])[1]
    assert [(p.name, p.title) for p in every] == [
        ("run/run_red", "Runner"),
        ("run/run_blue", "Runner"),
        ("run/run_green", "Runner"),
        ("cap", "Cap"),
    ]


def test_models_that_name_each_other(tmp_path: Path) -> None:
    header = "code;family_variant;parent;name-en_US\n"
    write(tmp_path, header + "a;f;b;\nb;f;a;Loop\nc;f;c;Self\n", "models.csv")
    path = write(tmp_path, "sku;family;parent;categories\n1;f;a;\n2;f;b;\n3;f;c;\n")
    for variants_by in ([], ["*"]):
        assert {p.title for p in read(path, parents="models.csv", variants_by=variants_by)[1]} == {"Loop", "Self"}


def test_a_broken_model_is_told(tmp_path: Path) -> None:
    write(tmp_path, MODELS + "hat;caps;;x\n", "models.csv")
    path = write(tmp_path, "sku;family;parent;categories\n1;f;hat;\n2;f;cap;\n")
    reader, found, rejects = read(path, parents="models.csv")
    assert ([p.name for p in found], [r.code for r in rejects]) == (["cap"], [Code.ORPHAN_VARIANT])
    assert "1 x unreadable record of models.csv left out, line: 7" in reader.notes
    assert reader.counts.records == 2


def test_a_parents_file_that_is_none(products: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read(products, parents="nothing.csv")
    with pytest.raises(ConfigError, match="has no column 'code'"):
        read(products, parents="products.csv")


def test_a_parents_file_where_none_is_read(tmp_path: Path) -> None:
    write(tmp_path, MODELS, "models.csv")
    with pytest.raises(ConfigError, match="is read as csv, which knows no parents in a second file"):
        read(write(tmp_path, "sku,title\n1,Mug\n"), parents="models.csv")


def test_a_table_with_a_family_is_not_yet_akeneos(tmp_path: Path) -> None:
    assert read(write(tmp_path, "sku,family,name\n1,Mugs,Mug\n"))[0].format == "csv"


CELL = st.sampled_from(["", "", "a", "b", "c", "Red", "1", "0", "files/x.jpg", "a\\nb", "<p></p>"])
COLUMNS = ["sku", "family", "parent", "categories", "enabled", "name-en_US", "color", "image", "weight", "weight-unit"]
MODEL_COLUMNS = ["code", "family_variant", "parent", "name-en_US", "color", "image"]


def table(columns: list[str], rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerows([columns, *rows])
    return out.getvalue()


@LIGHT
@given(
    st.lists(st.lists(CELL, min_size=9, max_size=11), max_size=8),
    st.lists(st.lists(CELL, min_size=5, max_size=7), max_size=8),
    VARIANTS,
    st.sampled_from(["reject", "first", "last"]),
    st.sampled_from(["", "title", "sku#options"]),
)
def test_any_rows(
    rows: list[list[str]], models: list[list[str]], variants_by: list[str], on_duplicate: str, fallback: str
) -> None:
    options: dict[str, Any] = {"variants_by": variants_by, "on_duplicate": on_duplicate, "key_fallback": fallback}
    survive(table(MODEL_COLUMNS, models).encode(), **options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, table(MODEL_COLUMNS, models), "models.csv")
        path = write(folder, table(COLUMNS, [["first", *COLUMNS[1:]], *rows]))
        read_all(open_catalog(path, CatalogOptions(parents="models.csv", **options)))


CATALOGS = SAMPLES / "catalogs"
with_samples = pytest.mark.skipif(
    not CATALOGS.is_dir(), reason=f"sample catalogs are not at {CATALOGS}; set PACKSHOT_SAMPLES to their folder"
)


def sample(name: str) -> list[dict[str, str]]:
    with (CATALOGS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


@with_samples
def test_real_products_and_models() -> None:
    # With the csv module alone: 242 products, 6 of them without a parent, 5 of these with a name; 80 models, 31 below
    # another one. A product's name is its own, else its model's, else that one's model's.
    rows, models = sample("akeneo_products.csv"), {row["code"]: row for row in sample("akeneo_product_models.csv")}

    def line(row: dict[str, str]) -> list[dict[str, str]]:
        above = models.get(row["parent"])
        return [row, *line(above)] if above else [row]

    def key(row: dict[str, str]) -> str:
        last = line(row)[-1]
        return last.get("code") or last["sku"]

    named = [row for row in rows if any(step["name-en_US"] for step in line(row))]
    path = CATALOGS / "akeneo_products.csv"
    options = {"parents": "akeneo_product_models.csv", "locale": "en_US"}
    reader, products, rejects = read(path, variants_by=["*"], **options)
    assert [p.sku for p in products] == [row["sku"] for row in named]
    assert [p.product_key for p in products] == [key(row) for row in named]
    assert [p.title for p in products] == [
        " ".join(next(step["name-en_US"] for step in line(row) if step["name-en_US"]).split()) for row in named
    ]
    assert [p.attributes.get("color", "") for p in products] == [
        next((step["color"] for step in line(row) if step["color"]), "") for row in named
    ]
    assert (len(rows), len(products), len(rejects)) == (242, 236, 6)
    nameless = [key(row) for row in rows if row not in named]
    assert [(r.key, r.code) for r in rejects] == [(name, Code.MISSING_TITLE) for name in nameless]
    assert sorted(nameless) == ["dressshoe"] * 5 + ["watch"]
    reader, products, _ = read(path, **options)
    assert [p.product_key for p in products] == list(dict.fromkeys(key(row) for row in named))
    assert (reader.counts.accepted, reader.counts.continuation, reader.counts.rejected) == (52, 184, 6)


@with_samples
def test_real_products_without_their_models() -> None:
    _, products, rejects = read(CATALOGS / "akeneo_products.csv")
    rows = sample("akeneo_products.csv")
    assert [p.product_key for p in products] == [row["sku"] for row in rows if row["name-en_US"]]
    assert (len(products), len(rejects), {r.code for r in rejects}) == (
        5,
        237,
        {Code.ORPHAN_VARIANT, Code.MISSING_TITLE},
    )


@with_samples
def test_real_models_alone() -> None:
    reader, products, _ = read(CATALOGS / "akeneo_product_models.csv")
    roots = [row for row in sample("akeneo_product_models.csv") if not row["parent"]]
    assert [p.product_key for p in products] == [row["code"] for row in roots if row["name-en_US"]]
    assert (reader.counts.accepted, reader.counts.rejected, reader.counts.continuation) == (48, 1, 31)


@with_samples
def test_real_workbooks() -> None:
    # Looked at cell by cell: one record; a description with line ends inside; sheets of numbers without any name.
    _, products, rejects = read(CATALOGS / "akeneo_product_with_carriage_return.xlsx")
    assert [(p.name, p.title, p.description) for p in products] == [
        ("SKU-001", "Donec", "dictum magna. Lorem ispum Est")
    ]
    assert rejects == []
    for name in ("floats", "integers", "timestamp_dates"):
        path = CATALOGS / f"akeneo_products_with_{name}.xlsx"
        with pytest.raises(ConfigError, match="title"):
            open_catalog(path)
        found = read(path, format="akeneo", mapping={"title": "family"})[1]
        assert [p.name for p in found] == ["rangers001", "rangers002"]
