"""Catalogs from a real web server, a real S3 server, standard input and databases, as a person would type them."""

from __future__ import annotations

import gzip
import io
import sqlite3
import stat
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from packshot.catalog import CatalogOptions, CatalogReader, Product
from packshot.errors import Code, ConfigError
from packshot.inputs.folder import UNUSED_FOR, CatalogFolder, Kept
from packshot.inputs.sources import sources_of, stdin_as_file
from packshot.options import RunOptions
from packshot.plan import Planner
from packshot.run import plan_only
from packshot.sandbox.ports import free_ports
from packshot.sandbox.seaweed import Seaweed
from packshot.settings import Settings
from packshot.storage import ObjectStore
from packshot.storage.client import s3_client
from tests.fixtures_store import Page, Web, page, picture

ROWS = b"sku,title,image\n1,Mug,mug.jpg\n2,Cup,https://127.0.0.1:1/cup.jpg\n"
SECRET = "sig-9f2c71"
SHOTS = """
version: 1
shots:
  - name: front
    aspect_ratio: "1:1"
    image_size: 1K
    references: 1
    prompt: "{{ title }}"
"""


def settings_of(home: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, home=home, **{"download_cidrs": ("127.0.0.0/8",)} | values)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path / "home")


def read(typed: str, settings: Settings, **options: Any) -> tuple[CatalogReader, list[Product]]:
    reader = CatalogReader(sources_of(typed, settings), CatalogOptions(**options))
    return reader, [item for item in reader if isinstance(item, Product)]


def refused(typed: str, settings: Settings) -> ConfigError:
    """The error; it shows no secret, and nothing is left behind that a later run would take for a catalog."""
    with pytest.raises(ConfigError) as caught:
        read(typed, settings)
    assert SECRET not in str(caught.value) + repr(caught.value.details)
    return caught.value


def kept_files(settings: Settings) -> list[Path]:
    return [path for path in (settings.home / "catalogs").rglob("*") if path.is_file() and path.suffix != ".json"]


def with_validator(body: bytes, name: str, value: str, mime: str = "text/csv") -> Page:
    """Answers 304 to who knows the present state."""
    asks = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}[name]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get(asks) == value:
            page(b"", 304, "")(handler)
        else:
            page(body, 200, mime, **{name.replace("-", "_"): value})(handler)

    return answer


# --- URLs -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "mime", ["text/csv", "text/plain", "application/octet-stream", "application/json", "text/html", ""]
)
def test_a_url_is_read_like_a_file(web: Web, settings: Settings, mime: str) -> None:
    web.pages["/feeds/shop.v2.csv"] = page(ROWS, mime=mime)
    reader, products = read(web.url(f"/feeds/shop.v2.csv?token={SECRET}#top"), settings)
    assert (reader.name, [p.product_key for p in products]) == ("shop-v2", ["1", "2"])
    assert web.seen[0][0] == f"/feeds/shop.v2.csv?token={SECRET}"
    source = sources_of(web.url(f"/feeds/shop.v2.csv?token={SECRET}"), settings)[0]
    assert source.name == products[0].source == "shop.v2.csv"
    assert source.label == web.url("/feeds/shop.v2.csv")
    assert SECRET not in repr(source) + repr(products)
    for path in (settings.home / "catalogs").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
        assert SECRET not in str(path)


@pytest.mark.parametrize("validator", [("ETag", '"one"'), ("Last-Modified", "Mon, 05 Oct 2026 10:00:00 GMT")])
def test_what_has_not_changed_is_not_fetched_again(web: Web, settings: Settings, validator: tuple[str, str]) -> None:
    web.pages["/a.csv"] = with_validator(ROWS, *validator)
    first = read(web.url("/a.csv"), settings)[1]
    reader, again = read(web.url("/a.csv"), settings)
    assert again == first
    assert len(web.seen) == 2
    assert validator[1] in web.seen[1][1].values()
    web.pages["/a.csv"] = with_validator(b"sku,title\n3,Jug\n", validator[0], "Tue, 06 Oct 2026 10:00:00 GMT")
    assert [p.product_key for p in read(web.url("/a.csv"), settings)[1]] == ["3"]
    assert [p.product_key for p in reader if isinstance(p, Product)] == ["1", "2"], "who reads the old one still does"
    for path in kept_files(settings):
        path.unlink()
    assert [p.product_key for p in read(web.url("/a.csv"), settings)[1]] == ["3"]
    assert "if-none-match" not in web.seen[-1][1], "what is lost is fetched whole"


def test_without_validators_it_is_fetched_each_time(web: Web, settings: Settings) -> None:
    web.pages["/a.csv"] = page(ROWS, mime="text/csv")
    read(web.url("/a.csv"), settings)
    web.pages["/a.csv"] = page(b"sku,title\n3,Jug\n", mime="text/csv")
    assert [p.product_key for p in read(web.url("/a.csv"), settings)[1]] == ["3"]


def test_compressed_behind_a_url(web: Web, settings: Settings) -> None:
    web.pages["/a.csv.gz"] = page(gzip.compress(ROWS), mime="application/gzip")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x/b c.csv", ROWS)
        archive.writestr("y.csv", b"sku,title\n9,Other\n")
    web.pages["/a.zip"] = page(packed.getvalue(), mime="application/zip")
    reader, products = read(web.url("/a.csv.gz"), settings)
    assert (reader.name, len(products)) == ("a", 2)
    reader, products = read(web.url("/a.zip?x=1#x/b%20c.csv"), settings)
    assert (reader.name, len(products), products[0].source) == ("b-c", 2, "a.zip#x/b c.csv")
    assert "a.zip#x/b c.csv" in refused(web.url("/a.zip"), settings).message
    assert len(sources_of(web.url("/a.zip#y.csv"), settings)[0].open().read()) == len(b"sku,title\n9,Other\n")


def test_a_second_file_beside_a_url(web: Web, settings: Settings) -> None:
    web.pages["/f/a.csv"] = page(ROWS, mime="text/csv")
    web.pages["/f/the%20models.csv"] = page(b"code,label\n", mime="text/csv")
    beside = sources_of(web.url(f"/f/a.csv?t={SECRET}"), settings)[0].beside("the models.csv")
    assert beside.open().read() == b"code,label\n"
    assert beside.name == "the models.csv"
    assert web.seen[-1][0] == "/f/the%20models.csv"
    with pytest.raises(ConfigError):
        beside.beside("http://127.0.0.1:1/elsewhere.csv")


def test_redirects_are_followed_and_guarded(web: Web, settings: Settings, tmp_path: Path) -> None:
    web.pages["/a.csv"] = page(b"", 302, Location=f"/b.csv?s={SECRET}")
    web.pages["/b.csv"] = page(ROWS, mime="text/csv")
    reader, products = read(web.url("/a.csv"), settings)
    assert (reader.name, len(products)) == ("a", 2)
    web.pages["/loop"] = page(b"", 302, Location="/loop")
    assert refused(web.url("/loop"), settings).code is Code.DOWNLOAD_REFUSED
    for away in ("http://10.0.0.1/a.csv", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"):
        web.pages["/away"] = page(b"", 302, Location=away)
        assert refused(web.url("/away"), settings).code is Code.DOWNLOAD_REFUSED
    closed = settings_of(tmp_path / "closed", download_cidrs=())
    error = refused(web.url(f"/b.csv?s={SECRET}"), closed)
    assert error.code is Code.DOWNLOAD_REFUSED
    assert "127.0.0.1, a private address" in error.message


def slow_end(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(ROWS)
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (page(b"gone", 404, "text/plain"), Code.CATALOG_UNREACHABLE, "answers 404"),
        (page(b"<Error><Code>AccessDenied</Code></Error>", 403, "text/xml"), Code.CATALOG_UNREACHABLE, "answers 403"),
        (page(b"", 500, "text/plain"), Code.CATALOG_UNREACHABLE, "answers 500"),
        (page(b"", 410, "text/plain"), Code.CATALOG_UNREACHABLE, "has expired"),
        (page(b"<html>Log in", 200, "text/html"), Code.CATALOG_INVALID, "is a web page"),
        (page(b"<!DOCTYPE html><p>Log in", 200, "text/csv"), Code.CATALOG_INVALID, "is a web page"),
        (page(b"", 200, "text/csv"), Code.CATALOG_UNREACHABLE, "sent no bytes"),
        (slow_end, Code.CATALOG_UNREACHABLE, "a.csv"),
        (page(ROWS * 100, 200, "text/csv"), Code.CATALOG_INVALID, "at most 1000 bytes are allowed (PACKSHOT_CATALOG_M"),
        (page(gzip.compress(ROWS * 100), 200), Code.CATALOG_INVALID, "larger than 1,000 bytes when it is unpacked"),
        (page(gzip.compress(ROWS)[:-9], 200), Code.CATALOG_INVALID, "damaged or cut off"),
    ],
)
def test_answers_that_are_no_catalog(web: Web, tmp_path: Path, answer: Page, code: Code, says: str) -> None:
    settings = settings_of(tmp_path / "home", catalog_max_bytes=1000)
    web.pages["/a.csv"] = answer
    error = refused(web.url(f"/a.csv?s={SECRET}"), settings)
    assert error.code is code
    assert says in error.message
    assert web.url("/a.csv") in error.message


def test_no_server(settings: Settings) -> None:
    error = refused(f"http://127.0.0.1:{free_ports(1)[0]}/a.csv?s={SECRET}", settings)
    assert (error.code, "cannot be fetched" in error.message) == (Code.CATALOG_UNREACHABLE, True)
    assert not kept_files(settings)


def test_a_password_never_gets_as_far_as_the_network(web: Web, settings: Settings) -> None:
    url = web.url("/a.csv").replace("http://", f"http://shop:{SECRET}@")
    assert "neither a user nor a password" in refused(url, settings).message
    with pytest.raises(ConfigError):
        stdin_as_file(url, settings, io.BytesIO())
    assert web.seen == []


def test_a_home_that_cannot_be_written(web: Web, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    web.pages["/a.csv"] = page(ROWS, mime="text/csv")
    error = refused(web.url("/a.csv"), settings_of(tmp_path / "home"))
    assert (error.code, "cannot be kept in" in error.message) == (Code.SETTINGS_INVALID, True)


# --- S3 -------------------------------------------------------------------------------------------------------
@pytest.fixture
def put(seaweed: Seaweed, store_settings: Settings) -> Callable[[str, bytes], str]:
    """Stores an object in the private part of the bucket; returns its s3:// address."""
    client = s3_client(
        endpoint=seaweed.endpoint_url, region="us-east-1", addressing="path",
        access_key_id=seaweed.access_key_id, secret_access_key=seaweed.secret_access_key,
    )  # fmt: skip
    folder = store_settings.s3_prefix.replace("pub/", "feeds/")

    def put_object(name: str, body: bytes) -> str:
        client.put_object(Bucket=seaweed.bucket, Key=f"{folder}/{name}", Body=body)
        return f"s3://{seaweed.bucket}/{folder}/{name}"

    return put_object


def test_an_object_is_read_and_fetched_again_only_when_it_changed(
    put: Callable[[str, bytes], str], store_settings: Settings
) -> None:
    address = put("spring sale.csv.gz", gzip.compress(ROWS))
    reader, products = read(address, store_settings)
    assert (reader.name, len(products), products[0].source) == ("spring-sale", 2, "spring sale.csv.gz")
    kept = kept_files(store_settings)
    kept[0].write_bytes(gzip.compress(b"sku,title\n7,Kept\n"))
    assert [p.product_key for p in read(address, store_settings)[1]] == ["7"], "the copy was used"
    put("spring sale.csv.gz", gzip.compress(b"sku,title\n3,Jug\n"))
    assert [p.product_key for p in read(address, store_settings)[1]] == ["3"]
    put("models.csv", b"code\n")
    assert sources_of(address, store_settings)[0].beside("models.csv").open().read() == b"code\n"


def test_what_the_store_refuses(put: Callable[[str, bytes], str], store_settings: Settings, tmp_path: Path) -> None:
    address = put("a.csv", ROWS)
    bucket = address.split("/")[2]
    error = refused(address + "x", store_settings)
    assert (error.code, "NoSuchKey" in error.message) == (Code.CATALOG_UNREACHABLE, True)
    assert refused("s3://no-such-bucket-here/a.csv", store_settings).code is Code.CATALOG_UNREACHABLE
    small = store_settings.model_copy(update={"catalog_max_bytes": 10})
    assert "has 64 bytes (PACKSHOT_CATALOG_MAX_BYTES)" in refused(address, small).message
    stranger = Settings(_env_file=None, home=tmp_path / "stranger", s3_endpoint_url=store_settings.s3_endpoint_url,
                        s3_profile="seaweedfs", s3_access_key_id="me", s3_secret_access_key=SECRET)  # fmt: skip
    assert refused(address, stranger).code is Code.S3_DENIED
    nobody = stranger.model_copy(update={"s3_secret_access_key": None})
    error = refused(address, nobody)
    assert (error.code, "PACKSHOT_S3_SECRET_ACCESS_KEY" in error.message) == (Code.SETTINGS_INVALID, True)
    away = stranger.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{free_ports(1)[0]}"})
    assert refused(f"s3://{bucket}/a.csv", away).code is Code.S3_UNREACHABLE
    assert not kept_files(stranger)


# --- standard input -------------------------------------------------------------------------------------------
def test_standard_input_becomes_a_file(settings: Settings) -> None:
    typed = stdin_as_file("-", settings, io.BytesIO(gzip.compress(ROWS)))
    reader, products = read(typed, settings)
    assert (reader.name, len(products), products[0].source) == ("stdin", 2, "stdin")
    again = stdin_as_file("-", settings, io.BytesIO(b"sku,title\n1,Other\n"))
    assert again != typed
    assert read(again, settings)[0].name == "stdin", "the name is a part of each product's identity"
    assert stdin_as_file("a.csv", settings, io.BytesIO(b"x")) == "a.csv"
    assert not [path for path in (settings.home / "catalogs").iterdir() if path.name.startswith("fetching")]


def test_standard_input_that_cannot_be_used(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="standard input is empty"):
        stdin_as_file("-", settings, io.BytesIO())
    small = settings.model_copy(update={"catalog_max_bytes": 10})
    with pytest.raises(ConfigError, match=r"more than 10 bytes \(PACKSHOT_CATALOG_MAX_BYTES\)"):
        stdin_as_file("-", small, io.BytesIO(ROWS))
    assert not kept_files(settings)
    assert "is for packshot inspect, plan and run only" in refused("-", settings).message


# --- databases ------------------------------------------------------------------------------------------------
def test_a_table(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, title TEXT)")
        connection.execute("INSERT INTO products VALUES ('001', 'Mug')")
    connection.close()
    settings = settings_of(tmp_path / "home", catalog_database_url=f"sqlite:///{tmp_path / 'shop.db'}")
    reader, products = read("sql:products", settings)
    assert (reader.name, reader.kind, products[0].product_key) == ("products", "SQL", "001")
    unset = refused("sql:products", settings_of(tmp_path / "home"))
    assert (unset.code, "PACKSHOT_CATALOG_DATABASE_URL" in unset.message) == (Code.SETTINGS_INVALID, True)


# --- the folder of catalogs -----------------------------------------------------------------------------------
def test_what_nobody_uses_any_more_is_removed(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    folder = CatalogFolder(tmp_path, now=lambda: now)

    def keep(content: bytes, sha256: str) -> Path:
        with folder.new_file() as file:
            file.write_bytes(content)
            return folder.keep(file, sha256)

    old, used = keep(b"old", "a" * 64), keep(b"used", "b" * 64)
    folder.remember("https://x.com/old", Kept("a" * 64, "e", ""))
    folder.remember("https://x.com/used", Kept("b" * 64, "e", ""))
    now += UNUSED_FOR / 2
    kept = folder.recall("https://x.com/used")
    assert kept is not None
    assert folder.find(kept) == used
    now += UNUSED_FOR / 2 + 1
    new = keep(b"new", "c" * 64)
    assert (old.exists(), used.exists(), new.exists()) == (False, True, True)
    assert folder.recall("https://x.com/old") is None
    assert folder.recall("https://x.com/used") == kept
    assert stat.S_IMODE((tmp_path / "catalogs").stat().st_mode) == 0o700


@pytest.mark.parametrize("note", [b"", b"[]", b'{"sha256": "../../x", "etag": "", "last_modified": ""}', b"\xff"])
def test_a_note_that_was_spoiled_is_no_note(web: Web, settings: Settings, note: bytes) -> None:
    web.pages["/a.csv"] = with_validator(ROWS, "ETag", '"one"')
    read(web.url("/a.csv"), settings)
    for path in (settings.home / "catalogs").glob("*.json"):
        path.write_bytes(note)
    assert len(read(web.url("/a.csv"), settings)[1]) == 2


# --- planning with them ---------------------------------------------------------------------------------------
def photo_settings(folder: Path) -> Settings:
    (folder / "shots.yaml").write_text(SHOTS)
    return settings_of(folder / "home", shots=folder / "shots.yaml", apiyi_format="gemini")


def test_relative_photos_lie_beside_a_compressed_file(tmp_path: Path) -> None:
    (tmp_path / "shop.csv.gz").write_bytes(gzip.compress(b"sku,title,image\n1,Mug,mug.png\n"))
    (tmp_path / "mug.png").write_bytes(picture())
    plan = Planner(photo_settings(tmp_path), RunOptions(catalog=str(tmp_path / "shop.csv.gz"))).plan(lambda keys: {})
    assert (plan.to_make, plan.held) == (1, 0)


def test_relative_photos_of_a_fetched_catalog_are_never_fetched(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mug.png").write_bytes(picture())  # in the working folder: not what the catalog means
    web.pages["/shop.csv"] = page(b"sku,title,image\n1,Mug,mug.png\n", mime="text/csv")
    web.pages["/mug.png"] = web.pages["/photos/mug.png"] = page(picture())
    settings = photo_settings(tmp_path)
    plan = Planner(settings, RunOptions(catalog=web.url("/shop.csv"))).plan(lambda keys: {})
    assert (plan.to_make, plan.held) == (0, 1)
    assert [path for path, _ in web.seen] == ["/shop.csv"]
    assert any("mug.png" in note and "media_root" in note for note in plan.notes)
    (tmp_path / "catalog.yaml").write_text(f"source: {web.url('/shop.csv')}\nmedia_root: {web.url('/photos')}\n")
    plan = Planner(settings, RunOptions(catalog="catalog.yaml")).plan(lambda keys: {})
    assert (plan.to_make, plan.held) == (1, 0)
    assert web.seen[-1][0] == "/photos/mug.png"


def test_a_signature_is_in_no_row_and_no_message(web: Web, store: ObjectStore, store_settings: Settings) -> None:
    from packshot.db.engine import open_engine, upgrade
    from packshot.run import start_run

    web.pages["/shop.csv"] = page(ROWS, mime="text/csv")
    settings = store_settings.model_copy(
        update={"download_cidrs": ("127.0.0.0/8",), "apiyi_key": Settings(_env_file=None, apiyi_key="sk-x").apiyi_key}
    )
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = open_engine(settings.db_url)
    upgrade(engine)
    options = RunOptions(catalog=web.url(f"/shop.csv?sig={SECRET}"))
    assert plan_only(settings, options).jobs
    started = start_run(settings, options, None)
    assert started.run_id
    engine.dispose()
    for path in settings.home.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    with sqlite3.connect(settings.home / "packshot.db") as connection:
        source, parameters = connection.execute("SELECT source, parameters FROM run").fetchone()
    connection.close()
    assert source == web.url("/shop.csv")
    assert web.url("/shop.csv") in parameters
