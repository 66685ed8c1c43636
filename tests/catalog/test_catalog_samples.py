"""Real files of real shop systems, when they are at hand (PACKSHOT_SAMPLES names their folder)."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from packshot.catalog import CatalogOptions, open_catalog
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import SAMPLES, read

CATALOGS = SAMPLES / "catalogs"
pytestmark = pytest.mark.skipif(
    not CATALOGS.is_dir(), reason=f"sample catalogs are not at {CATALOGS}; set PACKSHOT_SAMPLES to their folder"
)


def rows(path: Path, delimiter: str = ",") -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


SHOPIFY = ["apparel", "apparel_bom_semicolon", "apparel_new_header", "jewelery"]


@pytest.mark.parametrize("name", SHOPIFY)
def test_shopify(name: str) -> None:
    path = CATALOGS / f"shopify_{name}.csv"
    table = rows(path, ";" if "semicolon" in name else ",")
    column = next(i for i, cell in enumerate(table[0]) if cell.casefold() in ("handle", "url handle"))
    images = next(i for i, cell in enumerate(table[0]) if cell in ("Image Src", "Product image URL"))
    handles = [row[column] for row in table[1:]]
    reader, products, rejects = read(path)
    assert (reader.format, rejects) == ("shopify", [])
    assert [p.product_key for p in products] == list(dict.fromkeys(handles))
    assert reader.counts.records == len(handles)
    assert {ref for p in products for ref in p.image_refs} >= {row[images] for row in table[1:] if row[images]}
    assert "Default Title" not in repr(products)


def test_both_shopify_dialects_give_the_same_products() -> None:
    def essence(name: str) -> list[tuple[object, ...]]:
        products = read(CATALOGS / f"shopify_{name}.csv", name="x")[1]
        return [(p.product_key, p.title, p.description, p.attributes, p.image_refs) for p in products]

    assert essence("apparel") == essence("apparel_new_header") == essence("apparel_bom_semicolon")


@pytest.mark.parametrize(
    ("name", "delimiter", "key"),
    [
        ("magento_gear_bags.csv", ",", "sku"),
        ("magento_gear_fitness_equipment.csv", ",", "sku"),
        ("magento_gear_watches.csv", ",", "sku"),
        ("bigcommerce_jewelery.csv", ",", "Product Code/SKU"),
        ("prestashop_products_import.csv", ";", "Reference #"),
    ],
)
def test_one_product_a_row(name: str, delimiter: str, key: str) -> None:
    table = rows(CATALOGS / name, delimiter)
    column = table[0].index(key)
    reader, products, rejects = read(CATALOGS / name)
    assert (reader.delimiter, rejects) == (delimiter, [])
    assert [p.product_key for p in products] == [row[column] for row in table[1:]]


def test_commercetools_groups_by_base_id() -> None:
    table = rows(CATALOGS / "commercetools_products.csv")
    base = [row[table[0].index("baseId")] for row in table[1:]]
    path = CATALOGS / "commercetools_products.csv"
    assert [p.product_key for p in read(path)[1]] == list(dict.fromkeys(base))
    assert len(read(path, variants_by=["*"])[1]) == len(base)


def test_woocommerce_variations_follow_their_parent() -> None:
    path = CATALOGS / "woocommerce_sample_products.csv"
    table = rows(path)
    parent, kind = table[0].index("Parent"), table[0].index("Type")
    reader, products, rejects = read(path)
    assert rejects == []
    assert len(products) == len({row[parent] or row[2] for row in table[1:]})
    assert reader.counts.continuation == sum(row[kind] == "variation" for row in table[1:])


def test_akeneo_counts_every_row_though_names_are_elsewhere() -> None:
    table = rows(CATALOGS / "akeneo_products.csv", ";")
    reader, _, rejects = read(CATALOGS / "akeneo_products.csv")
    assert reader.counts.records == len(table) - 1
    assert {r.code for r in rejects} == {Code.MISSING_TITLE}


def test_vendure_padding_and_a_short_row() -> None:
    _, products, rejects = read(CATALOGS / "vendure_invalid-row-length.csv")
    assert [p.product_key for p in products] == ["M02", "10112"]
    assert [(r.line, r.code) for r in rejects] == [(3, Code.BAD_WIDTH)]
    assert read(CATALOGS / "vendure_custom-fields.csv")[1][0].title == "Perfect Paper Stretcher"


@pytest.mark.parametrize(
    "name",
    ["akeneo_products_with_floats.xlsx", "google_merchant_feed.xml", "saleor_populatedb.json"],
)
def test_formats_that_are_not_read_say_so(name: str) -> None:
    with pytest.raises(ConfigError):
        open_catalog(CATALOGS / name, CatalogOptions())
