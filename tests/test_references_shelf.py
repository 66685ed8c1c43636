"""Photos in the bucket: private, for every machine, and never a reason to hold a job."""

from __future__ import annotations

import hashlib
import io
import ipaddress
import json
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest
from PIL import Image

from packshot.download import DownloadPolicy
from packshot.errors import ArchiveError, ConfigError
from packshot.photo_shelf import PhotoShelf
from packshot.references import ReferenceStore
from packshot.settings import Settings, load_settings
from packshot.storage import ObjectStore
from tests.fixtures_store import Web, hashes, page, picture

POLICY = DownloadPolicy((), (ipaddress.ip_network("127.0.0.0/8"),), 10, 1_000_000)


@pytest.fixture
def shelf(store: ObjectStore) -> PhotoShelf:
    return PhotoShelf(store, f"references/t-{uuid.uuid4().hex[:12]}")


def machine(home: Path, shelf: PhotoShelf | None) -> ReferenceStore:
    return ReferenceStore(home, POLICY, 5_000_000, shelf)


def tagged(body: bytes, web: Web, path: str = "/a.png") -> None:
    """A page that answers 304 to whoever has it."""
    tag = f'"{hashes(body)[0][:8]}"'

    def answer(handler: object) -> None:
        same = handler.headers["If-None-Match"] == tag  # type: ignore[attr-defined]
        (page(b"", 304, Content_Length="") if same else page(body, ETag=tag))(handler)  # type: ignore[arg-type]

    web.pages[path] = answer


def downloads(web: Web) -> list[bool]:
    """For each request whether it was for all of the photo."""
    return ["if-none-match" not in headers for _, headers in web.seen]


def test_a_photo_is_kept_by_the_hash_of_its_original_with_its_source(
    web: Web, tmp_path: Path, shelf: PhotoShelf, store: ObjectStore
) -> None:
    tagged(picture(), web)
    got = machine(tmp_path, shelf).get(web.url("/a.png?token=secret"), tmp_path)
    assert got.sha256 == hashes(picture())[0]
    body = shelf.photo(got.sha256)
    assert body == Path(got.path).read_bytes()
    found = store.head(shelf.key(got.sha256))
    assert found
    assert (found.mime, found.metadata["sha256"]) == ("image/jpeg", hashlib.sha256(body or b"").hexdigest())
    assert "/a.png" in found.metadata["photo"]
    assert "secret" not in str(found.metadata)


def test_the_public_cannot_read_it(web: Web, tmp_path: Path, shelf: PhotoShelf, store: ObjectStore) -> None:
    tagged(picture(), web)
    got = machine(tmp_path, shelf).get(web.url("/a.png"), tmp_path)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as failure:
        opener.open(store.public_url(shelf.key(got.sha256)), timeout=10)
    assert failure.value.code == 403


def test_another_machine_does_not_download_it_again(web: Web, tmp_path: Path, shelf: PhotoShelf) -> None:
    tagged(picture(), web)
    url = web.url("/a.png")
    one = machine(tmp_path / "one", shelf).get(url, tmp_path)
    two = machine(tmp_path / "two", shelf).get(url, tmp_path)
    assert downloads(web) == [True, False]
    assert two.sha256 == one.sha256
    assert Path(two.path).read_bytes() == Path(one.path).read_bytes()
    assert machine(tmp_path / "two", None).get(url, tmp_path) == two
    assert downloads(web) == [True, False, False], "what it noted it has on its own disk now"


def test_a_photo_that_changed_is_downloaded_everywhere(web: Web, tmp_path: Path, shelf: PhotoShelf) -> None:
    tagged(picture(), web)
    machine(tmp_path / "one", shelf).get(web.url("/a.png"), tmp_path)
    tagged(picture(color="red"), web)
    for name in ("two", "one"):
        got = machine(tmp_path / name, shelf).get(web.url("/a.png"), tmp_path)
        assert got.sha256 == hashes(picture(color="red"))[0]
    assert shelf.photo(hashes(picture())[0]), "the old one stays: it was sent"


def test_a_worker_has_what_another_machine_prepared(web: Web, tmp_path: Path, shelf: PhotoShelf) -> None:
    tagged(picture(), web)
    got = machine(tmp_path / "planner", shelf).get(web.url("/a.png"), tmp_path)
    worker = machine(tmp_path / "worker", shelf)
    assert worker.have(got.sha256).read_bytes() == Path(got.path).read_bytes()
    assert not worker.have("0" * 64).exists()
    assert not machine(tmp_path / "alone", None).have(got.sha256).exists()
    assert len(web.seen) == 1


def test_everybody_sends_what_was_prepared_first(tmp_path: Path, shelf: PhotoShelf) -> None:
    """Another version of the image library may encode the same photo in other bytes."""
    (tmp_path / "a.png").write_bytes(picture())
    sha256 = hashes(picture())[0]
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(buffer, "JPEG")
    (tmp_path / "theirs.jpg").write_bytes(buffer.getvalue())
    assert shelf.keep(sha256, tmp_path / "theirs.jpg", "a.png") is None
    got = machine(tmp_path / "home", shelf).get("a.png", tmp_path)
    assert Path(got.path).read_bytes() == buffer.getvalue()


def test_what_is_there_is_not_asked_for_again(
    tmp_path: Path, shelf: PhotoShelf, store: ObjectStore, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagged(picture(), web)
    machine(tmp_path, shelf).get(web.url("/a.png"), tmp_path)
    store.delete(shelf.key(hashes(picture())[0]))  # nobody does this; it shows who asks
    machine(tmp_path, shelf).get(web.url("/a.png"), tmp_path)
    assert shelf.photo(hashes(picture())[0]) is None
    other = PhotoShelf(store, f"references/t-{uuid.uuid4().hex[:12]}")
    machine(tmp_path, other).get(web.url("/a.png"), tmp_path)
    assert other.photo(hashes(picture())[0]), "another place gets it, although it was not downloaded again"
    assert downloads(web) == [True, False, False]


def test_a_note_that_is_damaged_means_a_download(web: Web, tmp_path: Path, shelf: PhotoShelf) -> None:
    tagged(picture(), web)
    url = web.url("/a.png")
    name = hashlib.sha256(url.encode()).hexdigest()
    for content in (b"", b"[]", json.dumps({"sha256": "../../x", "etag": "x", "last_modified": ""}).encode()):
        shelf.keep_note(name, content)
        got = machine(tmp_path / uuid.uuid4().hex, shelf).get(url, tmp_path)
        assert got.sha256 == hashes(picture())[0]
    assert downloads(web) == [True] * 3


@pytest.mark.parametrize(
    "broken",
    [{"s3_endpoint_url": "http://127.0.0.1:9"}, {"s3_bucket": "no-such-bucket"}, {"s3_secret_access_key": "wrong"}],
)
def test_a_shelf_that_fails_holds_nothing(
    web: Web, tmp_path: Path, store_settings: Settings, broken: dict[str, str]
) -> None:
    tagged(picture(), web)
    tagged(picture(color="red"), web, "/b.png")
    values = store_settings.model_dump() | broken
    photos = machine(tmp_path, PhotoShelf.of(Settings(_env_file=None, **values)))
    for name, color in (("/a.png", "teal"), ("/b.png", "red")):
        assert photos.get(web.url(name), tmp_path).sha256 == hashes(picture(color=color))[0]
    assert photos.shelf_problem
    assert "wrong" not in photos.shelf_problem


def test_an_object_that_was_altered_is_not_used(tmp_path: Path, shelf: PhotoShelf, store: ObjectStore) -> None:
    key, promised = shelf.key("1" * 64), {"sha256": "2" * 64}
    store._client.put_object(Bucket=store.bucket, Key=key, Body=picture(kind="JPEG"), Metadata=promised)
    with pytest.raises(ArchiveError, match="SHA-256 differs"):
        shelf.photo("1" * 64)
    assert not machine(tmp_path / "home", shelf).have("1" * 64).exists()


# --- the setting ----------------------------------------------------------------------------------------------
def test_off_means_no_shelf(store_settings: Settings) -> None:
    assert PhotoShelf.of(store_settings)
    for values in ({"reference_prefix": "off"}, {"s3_prefix": ""}):
        assert PhotoShelf.of(store_settings.model_copy(update=values)) is None, "all of the bucket would be public"


@pytest.mark.parametrize(
    ("prefix", "public"),
    [("pub/references", "pub"), ("pub", "pub"), ("references", "references"), ("a b", "pub"), ("a//b", "pub")],
)
def test_a_public_or_odd_place_is_refused(prefix: str, public: str) -> None:
    with pytest.raises(ConfigError, match="PACKSHOT_REFERENCE_PREFIX"):
        load_settings(reference_prefix=prefix, s3_prefix=public)
    assert load_settings(reference_prefix="pub2/photos", s3_prefix="pub").photo_shelf == "pub2/photos"
