"""Columns in several languages, channels and currencies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.catalog.locales import Scoped, choose_columns, is_locale, scoped
from packshot.catalog.options import CatalogOptions
from packshot.errors import ConfigError
from tests.catalog.catalog_files import read, write


@pytest.mark.parametrize(
    ("column", "parts"),
    [
        ("name-en_US", ("name", "en_US", "")),
        ("name.de", ("name", "de", "")),
        ("name:zh_Hans", ("name", "zh_Hans", "")),
        ("name-zh-Hant-TW", ("name", "zh-Hant-TW", "")),
        ("name-es_419", ("name", "es_419", "")),
        ("name-fil_PH", ("name", "fil_PH", "")),
        ("description-en_US-ecommerce", ("description", "en_US", "ecommerce")),
        ("product:keywords:en", ("product:keywords", "en", "")),
        # None of these is a language.
        ("name", ("name", "", "")),
        ("weight-unit", ("weight-unit", "", "")),
        ("price-EUR", ("price-EUR", "", "")),
        ("product:customPage", ("product:customPage", "", "")),
        ("size-xl", ("size-xl", "", "")),
        ("image.url", ("image.url", "", "")),
        ("-de", ("-de", "", "")),
        ("", ("", "", "")),
    ],
)
def test_a_name_taken_apart(column: str, parts: tuple[str, str, str]) -> None:
    assert scoped(column) == Scoped(column, *parts)


@given(st.text(alphabet="ab-_.:enUSdeHans ", max_size=20))
def test_any_name(column: str) -> None:
    parts = scoped(column)
    assert column.startswith(parts.base)
    assert not parts.locale or is_locale(parts.locale)


@given(
    st.lists(st.sampled_from(["name-en_US", "name-en_GB", "name.de", "name", "text-de", "text-en-web", "text-en-app"])),
    st.sampled_from(["", "de", "en", "en_US", "en-gb", "fr"]),
    st.sampled_from(["", "web", "shop"]),
)
def test_one_column_for_each_thing(columns: list[str], locale: str, channel: str) -> None:
    found = [scoped(column) for column in columns]
    choice = choose_columns(found, CatalogOptions(locale=locale, channel=channel))
    assert set(choice.columns) == {parts.base for parts in found}
    assert all(scoped(column).base == base for base, column in choice.columns.items())


FILE = "sku,name-de_DE,name-en_US,name-en_GB,description-en_US,description-de_DE\n1,Becher,Mug,Cuppa,A mug,Ein Becher\n"


@pytest.mark.parametrize(
    ("locale", "title", "description", "note"),
    [
        ("", "Becher", "Ein Becher", "several languages: de_DE taken, not en_US, en_GB; set locale"),
        ("en_US", "Mug", "A mug", ""),
        ("EN-us", "Mug", "A mug", ""),
        ("de", "Becher", "Ein Becher", ""),
        ("de_AT", "Becher", "Ein Becher", "nothing is there in de_AT: de_DE taken"),
        ("en", "Mug", "A mug", "several languages: en_US taken, not en_GB; set locale"),
        ("en_GB", "Cuppa", "A mug", ""),
    ],
)
def test_the_locale_chooses(tmp_path: Path, locale: str, title: str, description: str, note: str) -> None:
    reader, products, _ = read(write(tmp_path, FILE), locale=locale)
    assert (products[0].title, products[0].description) == (title, description)
    assert [text[: len(note)] for text in reader.notes] == ([note] if note else [])


def test_a_locale_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no columns in 'fr'\. Found: de_DE, en_US, en_GB"):
        read(write(tmp_path, FILE), locale="fr")


def test_a_mapped_title_needs_no_choice(tmp_path: Path) -> None:
    mapping = {"title": "name-en_GB", "description": []}
    reader, products, _ = read(write(tmp_path, FILE), mapping=mapping)
    assert (products[0].title, reader.notes) == ("Cuppa", [])


def test_a_file_without_languages_has_nothing_to_choose(tmp_path: Path) -> None:
    reader, products, _ = read(write(tmp_path, "sku,name\n1,Mug\n"), locale="de")
    assert (products[0].title, reader.notes) == ("Mug", [])


def test_text_in_the_wanted_language_goes_before_text_in_none(tmp_path: Path) -> None:
    path = write(tmp_path, "sku,title,title_de,title_fr\n1,Mug,Becher,Tasse\n2,Pot,,Pot\n")
    assert [p.title for p in read(path)[1]] == ["Mug", "Pot"]
    assert [p.title for p in read(path, locale="de")[1]] == ["Becher", "Pot"]


def test_a_text_that_is_only_there_in_another_language_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "sku,name.de,description.en,name.en\n1,Becher,A mug,Mug\n")
    reader, products, _ = read(path, locale="de")
    assert (products[0].title, products[0].description) == ("Becher", "A mug")
    assert "not there in de, so taken in another language: description.en" in reader.notes


def test_channels(tmp_path: Path) -> None:
    path = write(tmp_path, "sku,name-en,description-en-print,description-en-web\n1,Mug,Short,Long\n")
    reader, products, _ = read(path)
    assert products[0].description == "Short"
    assert reader.notes == ["several channels: print taken, not web; set channel to choose among them"]
    reader, products, _ = read(path, channel="WEB")
    assert (products[0].description, reader.notes) == ("Long", [])
    with pytest.raises(ConfigError, match=r"no columns for the channel 'app'\. Found: print, web"):
        read(path, channel="app")


def test_a_number_is_no_language(tmp_path: Path) -> None:
    assert read(write(tmp_path, "sku,name_id,name_en\n1,77,Mug\n"))[1][0].title == "Mug"


def test_json_keys_come_in_languages_too(tmp_path: Path) -> None:
    text = '{"id": 1, "name:en": "Mug", "name:de": "Becher"}\n'
    reader, products, _ = read(write(tmp_path, text), locale="de")
    assert (products[0].title, reader.notes) == ("Becher", [])
    with pytest.raises(ConfigError, match="Found: en, de"):
        read(write(tmp_path, text), locale="fr")


def test_price_currency_and_link_are_found_by_their_names(tmp_path: Path) -> None:
    product = read(write(tmp_path, "sku,title,Price,Currency\n1,Mug,9.50,SEK\n"))[1][0]
    assert (str(product.price), product.currency) == ("9.50", "SEK")
    path = write(tmp_path, "sku,title,link\n,Mug,https://shop.example/mug\n")
    assert read(path, key_fallback="url")[1][0].product_key == "https://shop.example/mug"
