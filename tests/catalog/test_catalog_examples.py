"""The catalogs the repository ships read as its documentation says."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from packshot.catalog import Product
from packshot.errors import Code
from tests.catalog.catalog_files import read

CATALOGS = Path(__file__).resolve().parents[2] / "examples" / "catalog"
PLAIN = {
    "product_key": "Nummer",
    "title": "Artikel",
    "description": "Artikeltext",
    "category": "Warengruppe",
    "brand": "Hersteller",
    "attributes.color": "Farbe",
    "attributes.material": "Werkstoff",
    "image_refs": "Fotos",
}


def assert_photos(products: list[Product]) -> None:
    for product in products:
        assert product.image_refs, product.name
        for ref in product.image_refs:
            assert (CATALOGS / ref).is_file(), ref


def test_the_shop_has_nine_products_and_one_draft() -> None:
    reader, products, rejects = read(CATALOGS / "products.csv")
    assert reader.format == "shopify"
    assert [p.product_key for p in products] == [
        "stoneware-mug",
        "linen-shirt",
        "oak-table-lamp",
        "trail-leather-boot",
        "ceramic-vase",
        "wool-scarf",
        "wooden-toy-car",
        "lavender-soap",
        "canvas-backpack",
    ]
    assert [(r.key, r.code) for r in rejects] == [("brass-wall-clock", Code.NOT_SELECTED)]
    counts = reader.counts
    assert (counts.records, counts.continuation, counts.blank) == (20, 10, 0)
    assert_photos(products)
    shirt = products[1]
    assert shirt.attributes["size"] == "S, M, L"
    assert shirt.image_refs == ("photos/linen-shirt-white.jpg", "photos/linen-shirt-indigo.jpg")
    for product in products:
        assert not {"<", "&nbsp;"} & {*product.description}
        assert "Default Title" not in repr(product)


def test_the_shirt_in_both_colours() -> None:
    _, products, _ = read(CATALOGS / "products.csv", variants_by=["Color"])
    assert len(products) == 10
    assert [(p.variant_key, p.image_refs) for p in products if p.product_key == "linen-shirt"] == [
        ("White", ("photos/linen-shirt-white.jpg",)),
        ("Indigo", ("photos/linen-shirt-indigo.jpg",)),
    ]


def test_json_lines() -> None:
    _, products, rejects = read(CATALOGS / "products.jsonl")
    assert ([p.product_key for p in products], rejects) == (["mug-01", "vase-01", "car-01"], [])
    assert_photos(products)


def test_a_german_table_by_mapping() -> None:
    reader, products, rejects = read(CATALOGS / "products_plain.csv", mapping=PLAIN, split={"image_refs": "|"})
    assert (reader.delimiter, len(products), rejects) == (";", 4, [])
    assert products[1].title == "Leinenhemd »Düne«"
    assert products[1].attributes == {"color": "weiß", "material": "Leinen"}
    assert_photos(products)


@pytest.mark.parametrize("photo", sorted((CATALOGS / "photos").glob("*.jpg")), ids=lambda path: path.stem)
def test_photos_are_small_squares(photo: Path) -> None:
    assert photo.stat().st_size < 40_000
    with Image.open(photo) as image:
        image.load()
        assert (image.format, image.size, image.mode) == ("JPEG", (800, 800), "RGB")
