"""Vendure's padded product CSV."""

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

HEADER = (
    "name         , slug , description   , assets        , facets                                 , optionGroups , "
    "optionValues , sku , price , variantAssets , variantFacets , product:customPage\n"
)
EASEL = (
    'Studio Easel ,      , "Tall, oiled" , e1.jpg|e2.jpg , category:Art|category:Easels|brand:Wood| , size | wood , '
    "small | oak  , e-s , 91.5  ,               ,               , grid\n"
    "             ,      ,               ,               ,                                        ,              , "
    "large | ash  , e-l , 120   , large.jpg     , finish:Waxed  ,     \n"
    "             ,      ,               ,               ,                                        ,              , "
    "      | elm  ,     ,       ,               ,               ,     \n"
)
SMOCK = (
    "Smock        , smk  , Keeps dry     ,               , type:Cloth|type:Apron                  ,              , "
    "             , s   , 12    ,               ,               ,     \n"
)


def test_one_product_with_what_all_its_variants_say(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, HEADER + EASEL + SMOCK), currency="eur")
    assert (reader.format, rejects) == ("vendure", [])
    assert (reader.counts.accepted, reader.counts.continuation) == (2, 2)
    easel, smock = products
    assert (easel.name, easel.title, easel.description, easel.sku) == ("e-s", "Studio Easel", "Tall, oiled", "e-s")
    assert (easel.brand, easel.category) == ("Wood", "Art > Easels")
    assert easel.attributes == {"size": "small, large", "wood": "oak, ash, elm", "finish": "Waxed"}
    assert easel.image_refs == ("e1.jpg", "e2.jpg", "large.jpg")
    assert (str(easel.price), easel.currency) == ("91.5", "EUR")
    assert (smock.name, smock.attributes) == ("smk", {"type": "Cloth, Apron"})


def test_every_variant(tmp_path: Path) -> None:
    _, products, rejects = read(write(tmp_path, HEADER + EASEL + SMOCK), variants_by=["*"], media_root="assets")
    assert rejects == []
    both = ("assets/e1.jpg", "assets/e2.jpg")
    assert [(p.name, p.title, p.attributes, p.image_refs) for p in products] == [
        ("e-s/e-s", "Studio Easel", {"size": "small", "wood": "oak"}, both),
        ("e-s/e-l", "Studio Easel", {"size": "large", "wood": "ash", "finish": "Waxed"}, ("assets/large.jpg", *both)),
        ("e-s/elm", "Studio Easel", {"wood": "elm"}, both),
        ("smk/s", "Smock", {"type": "Cloth, Apron"}, ()),
    ]


def test_variants_by_an_option(tmp_path: Path) -> None:
    _, products, _ = read(write(tmp_path, HEADER + EASEL), variants_by=["wood", "Size"])
    assert [p.name for p in products] == ["e-s/oak / small", "e-s/ash / large", "e-s/elm"]


def test_values_without_a_group_have_a_name_all_the_same(tmp_path: Path) -> None:
    product = read(
        write(tmp_path, HEADER + SMOCK.replace(", s   ,", ", s   ,").replace("             , s ", "red, s "))
    )[1]
    assert product[0].attributes["option1"] == "red"


LANGUAGES = (
    "name:en, name:de, slug:en, slug:de, description:en, assets, facets:en, facets:de, optionGroups, optionValues:en, "
    "optionValues:de, sku, price\n"
    "Mug, Becher, mug, becher, A mug, m.jpg, brand:Kiln, brand:Ofen|art:Krug, size, big, gross, m, 5\n"
)


def test_one_language(tmp_path: Path) -> None:
    path = write(tmp_path, LANGUAGES)
    reader, products, _ = read(path)
    assert (products[0].title, products[0].brand, products[0].attributes) == ("Mug", "Kiln", {"size": "big"})
    assert reader.notes == ["several languages: en taken, not de; set locale to choose among them"]
    reader, products, _ = read(path, locale="de_DE")
    assert (products[0].title, products[0].brand) == ("Becher", "Ofen")
    assert products[0].attributes == {"art": "Krug", "size": "gross"}
    assert any("description:en" in note for note in reader.notes)
    # The key is the same in every language, or each would be bought again.
    assert products[0].product_key == "mug"
    with pytest.raises(ConfigError, match="Found: en, de"):
        read(path, locale="fr")


def test_custom_fields_are_left_alone_unless_mapped(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + EASEL)
    assert "grid" not in repr(read(path)[1])
    mapped = read(path, mapping={"attributes.page": "product:customPage", "image_refs": "variantAssets"})[1][0]
    assert mapped.attributes["page"] == "grid"
    assert mapped.image_refs == ("large.jpg",)


def test_disabled_products(tmp_path: Path) -> None:
    text = "name,optionGroups,optionValues,sku,enabled\nA,,,a,TRUE\nB,,,b,false\n,,,b2,\nC,,,c,\n"
    reader, products, rejects = read(write(tmp_path, text))
    assert [p.name for p in products] == ["a", "c"]
    assert [(r.key, r.code) for r in rejects] == [("b", Code.NOT_SELECTED)]
    assert reader.counts.continuation == 1


def test_a_sku_on_several_products_is_refused_and_the_way_out_named(tmp_path: Path) -> None:
    text = "name,optionGroups,optionValues,sku,price\nOak Chair,,,ch,1\nAsh Chair,,,ch,2\n"
    _, products, rejects = read(write(tmp_path, text))
    assert [p.title for p in products] == ["Oak Chair"]
    assert [r.code for r in rejects] == [Code.DUPLICATE_KEY]
    assert "key_fallback" in rejects[0].message
    assert [p.name for p in read(write(tmp_path, text), key_fallback="title")[1]] == ["Oak Chair", "Ash Chair"]


def test_a_product_without_a_key(tmp_path: Path) -> None:
    text = "name,optionGroups,optionValues,sku,price\nOak Chair,,,,1\n,,,x,1\n"
    reader, products, rejects = read(write(tmp_path, text))
    assert ([r.code for r in rejects], products) == ([Code.MISSING_KEY], [])
    assert reader.counts.continuation == 1


def test_rows_below_a_short_one_belong_to_nobody(tmp_path: Path) -> None:
    text = "name,optionGroups,optionValues,sku,price\nA,size,s,a,1\nB,size\n,,m,b-m,2\nC,,,c,3\n"
    _, products, rejects = read(write(tmp_path, text), variants_by=["*"])
    assert [p.name for p in products] == ["a/a", "c/c"]
    assert [(r.record, r.key, r.code) for r in rejects] == [
        (2, None, Code.BAD_WIDTH),
        (3, "b-m", Code.ORPHAN_VARIANT),
    ]


CELL = st.sampled_from(
    ["", "", " ", "a", "b ", " Red|Blue", "size|color", "brand:X|type:Y", "x.jpg|y.jpg", "<b>", "false"]
)
COLUMNS = ["name", "slug", "sku", "optionGroups", "optionValues", "facets", "assets", "variantAssets", "enabled"]


@LIGHT
@given(
    st.lists(st.lists(CELL, min_size=8, max_size=10), max_size=12),
    VARIANTS,
    st.sampled_from(["reject", "first", "last"]),
    st.sampled_from(["", "title", "options"]),
)
def test_any_rows(rows: list[list[str]], variants_by: list[str], on_duplicate: str, fallback: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([COLUMNS, *rows])
    options = {"variants_by": variants_by, "on_duplicate": on_duplicate, "key_fallback": fallback}
    survive(out.getvalue().encode(), **options)


CATALOGS = SAMPLES / "catalogs"


@pytest.mark.skipif(not CATALOGS.is_dir(), reason=f"sample catalogs are not at {CATALOGS}; set PACKSHOT_SAMPLES")
def test_real_files() -> None:
    # Read by eye. custom-fields and multiple-languages: one product of three variants, with one option. In
    # invalid-row-length the second of three products has 12 cells of 14, and a blank line follows it.
    for name, brand in (("custom-fields", ""), ("multiple-languages", "KB")):
        reader, products, rejects = read(CATALOGS / f"vendure_{name}.csv")
        assert [(p.name, p.title, p.brand) for p in products] == [("PPS12", "Perfect Paper Stretcher", brand)]
        assert products[0].attributes["size"] == "Half Imperial, Quarter Imperial, Full Imperial"
        assert (reader.counts.records, reader.counts.continuation, rejects) == (3, 2, [])
        assert [p.sku for p in read(CATALOGS / f"vendure_{name}.csv", variants_by=["*"])[1]] == [
            "PPS12",
            "PPS14",
            "PPSF",
        ]
    assert read(CATALOGS / "vendure_multiple-languages.csv", locale="zh")[1][0].title == "完美的纸张拉伸器"
    reader, products, rejects = read(CATALOGS / "vendure_invalid-row-length.csv")
    assert [p.name for p in products] == ["M02", "10112"]
    assert [(r.record, r.line, r.code) for r in rejects] == [(2, 3, Code.BAD_WIDTH)]
    assert (reader.counts.records, reader.counts.blank) == (4, 1)
