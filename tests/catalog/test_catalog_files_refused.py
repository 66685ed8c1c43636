"""Files that are no catalog are refused before anything is read from them, with a sentence that helps."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from packshot.catalog import CatalogOptions, open_catalog
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import write

GOOD = "sku,title\n1,Mug\n"


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        open_catalog(path, CatalogOptions.model_validate(options))
    assert caught.value.code is Code.CATALOG_INVALID
    assert str(path) in caught.value.message or "encoding" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b" \n\r\n\t", "nothing but blanks"),
        (b"\xef\xbb\xbf\n", "nothing but blanks"),
        (b"<!DOCTYPE html>\n<html><body>Log in</body></html>", "web page"),
        (b"\xef\xbb\xbf  <HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "git lfs pull"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html><html/>', "web page"),
        (b'<?xml version="1.0"?><!DOCTYPE rss SYSTEM "x.dtd"><rss/>', "a DTD is refused"),
        (b'<?xml version="1.0"?><rss/>', "is XML, but no element"),
        (b"[\n]", "no JSON object"),
        (b"PAR1 and no more", "Parquet file that cannot be read"),
        (b"\x1f\x8b\x08\x00abc", "gzip"),
        (b"%PDF-1.7", "PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel"),
        (bytes(range(1, 256)) * 3, "binary"),
        (b"sku,title\n", "header but no records"),
        (b"sku,title\n,\n\n , \n", "header but no records"),
        (b"sku,title,sku\n1,Mug,2\n", "two columns of the same name: 'sku'"),
        (b"sku , title,sku\n1,Mug,2\n", "two columns of the same name: 'sku'"),
        (b"colour,weight\nred,1\n", "hold the product's key"),
        (b"sku,weight\n1,1\n", "hold the product's title"),
        (b'sku,"title\n1,Mug\n', "never ends"),
        (b"sku,ti\x00tle\n1,Mug\n", "NUL"),
    ],
)
def test_refused_with_its_reason(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in refusal(write(tmp_path, content))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere.csv")
    assert "folder" in refusal(tmp_path)


def test_missing_column_is_named_with_neighbours_and_suggestion(tmp_path: Path) -> None:
    path = write(tmp_path, "Nummer;Artikel;Farbe\n1;Becher;rot\n")
    message = refusal(path, mapping={"product_key": "Numer", "title": "Artikel", "brand": "Hersteller"})
    assert "'Numer' (did you mean 'Nummer'?)" in message
    assert "'Hersteller'" in message
    assert "Found: Nummer, Artikel, Farbe" in message


def test_shopify_without_its_columns_names_them(tmp_path: Path) -> None:
    assert "'Handle'" in refusal(write(tmp_path, GOOD), format="shopify")


def test_shopify_column_twice_in_other_case(tmp_path: Path) -> None:
    path = write(tmp_path, "Handle,Title,title,Image Src\na,Mug,Mug,\n")
    assert "two columns 'title'" in refusal(path)


@pytest.mark.parametrize("name", ["utf-99", "rot13", "hex", "undefined", "a\x00b"])
def test_unknown_encoding(tmp_path: Path, name: str) -> None:
    assert "is not an encoding" in refusal(write(tmp_path, GOOD), encoding=name)


def test_declared_encoding_that_does_not_fit(tmp_path: Path) -> None:
    refusal(write(tmp_path, GOOD), encoding="utf-16")


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ";;"},
        {"delimiter": '"'},
        {"delimiter": "\n"},
        {"mapping": {"titel": "Artikel"}},
        {"mapping": {"attributes.": "Farbe"}},
        {"variants_by": ["*", "Color"]},
        {"format": "xml"},
        {"quote": "'"},
    ],
)
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CatalogOptions.model_validate(options)


def test_json_lines_without_objects_or_mapped_keys(tmp_path: Path) -> None:
    assert "no JSON object" in refusal(write(tmp_path, GOOD), format="json")
    path = write(tmp_path, '{"nr": 1, "bez\\ud800": "x"}\n', "shop.jsonl")
    assert "'nummer'" in refusal(path, mapping={"product_key": "nummer"})
    assert "product's title" in refusal(path, mapping={"product_key": "nr"})
    refusal(path, mapping={"product_key": "nr"}).encode()
