"""Real files of real shop systems, when they are at hand (PACKSHOT_SAMPLES names their folder)."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from packshot.catalog import CatalogOptions, open_catalog
from packshot.errors import ConfigError
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
    "name",
    ["saleor_populatedb.json"],
)
def test_files_whose_title_or_key_nobody_knows_say_so(name: str) -> None:
    with pytest.raises(ConfigError):
        open_catalog(CATALOGS / name, CatalogOptions())
