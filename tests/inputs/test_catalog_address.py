"""What may be typed as a catalog, and what of it anybody may see."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.errors import Code, ConfigError
from packshot.inputs.address import CatalogAddress, Place, read_address
from packshot.options import RunOptions


@pytest.mark.parametrize(
    ("typed", "place", "target", "label", "stem"),
    [
        ("shop.csv", Place.FILE, "shop.csv", "shop.csv", "shop"),
        ("a/shop.v2.csv.gz", Place.FILE, "a/shop.v2.csv.gz", "a/shop.v2.csv.gz", "shop.v2"),
        ("a/shop.zip#x/b.csv", Place.FILE, "a/shop.zip#x/b.csv", "a/shop.zip#x/b.csv", "b"),
        ("photos/*.csv", Place.FILE, "photos/*.csv", "photos/*.csv", "photos"),
        (r"C:\shop\a.csv", Place.FILE, r"C:\shop\a.csv", r"C:\shop\a.csv", r"C:\shop\a"),
        ("-", Place.STDIN, "", "standard input", "stdin"),
        ("sql:products", Place.SQL, "products", "sql:products", "products"),
        ("SQL: shop.products ", Place.SQL, "shop.products", "sql:shop.products", "shop.products"),
        ("s3://feeds/a/b.csv.gz", Place.S3, "feeds/a/b.csv.gz", "s3://feeds/a/b.csv.gz", "b"),
        ("s3://feeds/a.zip#b.csv", Place.S3, "feeds/a.zip", "s3://feeds/a.zip#b.csv", "b"),
        ("https://x.com/f/a.csv?sig=KEY#t", Place.URL, "https://x.com/f/a.csv?sig=KEY", "https://x.com/f/a.csv", "a"),
        ("HTTPS://x.com/f%20g.csv", Place.URL, "HTTPS://x.com/f%20g.csv", "https://x.com/f%20g.csv", "f g"),
        ("http://x.com:81/?t=KEY", Place.URL, "http://x.com:81/?t=KEY", "http://x.com:81/", "x"),
        ("http://x.io/a.zip?k=KEY#b%20c.csv", Place.URL, "http://x.io/a.zip?k=KEY", "http://x.io/a.zip#b c.csv", "b c"),
    ],
)  # fmt: skip
def test_places(typed: str, place: Place, target: str, label: str, stem: str) -> None:
    found = read_address(typed)
    assert (found.place, found.target, found.label, found.stem) == (place, target, label, stem)
    for shown in (found.label, found.name, found.stem):
        assert "KEY" not in shown
    assert RunOptions(catalog=typed).catalog_stem == stem


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("ftp://shop:KEY@x.com/a.csv", "ftp:// addresses cannot be read"),
        ("postgresql://shop:KEY@x.com/shop", "postgresql:// addresses cannot be read"),
        ("file:///etc/passwd", "file:// addresses cannot be read"),
        ("https://shop:KEY@x.com/a.csv", "https://x.com/a.csv: a catalog's URL may hold neither a user nor"),
        ("https://KEY@x.com/a.csv", "neither a user nor a password"),
        ("https:///a.csv?KEY", "has no host"),
        ("https://x.com:port/a.csv?KEY", "not written like a URL"),
        ("https://[::1/a.csv?KEY", "not written like a URL"),
        ("s3:feeds/a.csv", "s3://BUCKET/KEY"),
        ("s3://feeds", "s3://BUCKET/KEY"),
        ("s3://feeds/a/", "s3://BUCKET/KEY"),
        ("s3://KEY:KEY@feeds/a.csv", "s3://BUCKET/KEY"),
        ("sql:", "name of a table or view"),
        ("sql:postgresql://shop:KEY@x.com/shop", "its database is a setting"),
    ],
)
def test_refused_without_showing_secrets(typed: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_address(typed)
    assert caught.value.code is Code.CATALOG_INVALID
    assert says in caught.value.message
    assert "KEY" not in caught.value.message.replace("BUCKET/KEY", "")
    assert RunOptions(catalog=typed).catalog_stem == "catalog"


def test_photos_lie_beside_files_only() -> None:
    for typed in ("a/shop.csv", "a/shop.csv.gz", "a/*.csv", "a/shop.zip#b.csv"):
        assert read_address(typed).folder == Path("a").absolute(), typed
    for typed in ("https://x.com/a.csv", "s3://feeds/a.csv", "sql:products", "-"):
        assert read_address(typed).folder is None, typed


@given(st.text() | st.from_regex(r"(https?|s3|sql|ftp):/{0,2}\S{0,30}", fullmatch=True))
def test_any_text_is_a_place_or_refused(typed: str) -> None:
    try:
        found: CatalogAddress | None = read_address(typed)
    except ConfigError:
        found = None
    assert found is None or isinstance(found.stem, str)
