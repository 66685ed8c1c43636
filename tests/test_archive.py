"""A temporary URL, or bytes in the spool, becomes a permanent object: real web server, real S3."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from packshot.archive import Archived, Destination, archive_image
from packshot.download import DownloadPolicy
from packshot.errors import ArchiveError, Code
from packshot.settings import Settings
from packshot.storage import ObjectStore
from tests.fixtures_store import Web, hashes, page, picture

POLICY = DownloadPolicy(("127.0.0.1",), (ipaddress.ip_network("127.0.0.0/8"),), 10, 1_000_000)
WHERE = Destination("autumn", "MUG-01", "hero")


def archive(
    store: ObjectStore, source: str | Path, spool: Path, expected: tuple[int, int] | None = (64, 48), **more: Any
) -> Archived:
    options: dict[str, Any] = {"store": store, "policy": POLICY, "max_pixels": 1_000_000, "spool": spool} | more
    return archive_image(source, expected, WHERE, {"job": "k1"}, **options)


@pytest.mark.parametrize(("kind", "extension"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
def test_url_to_permanent_object(store: ObjectStore, web: Web, tmp_path: Path, kind: str, extension: str) -> None:
    body = picture(kind=kind)
    sha256 = hashes(body)[0]
    web.pages["/gen"] = page(body, mime="application/octet-stream")
    got = archive(store, web.url("/gen?Expires=1"), tmp_path / "spool")
    assert got == Archived(
        bucket=store.bucket,
        key=f"{store.prefix}/autumn/MUG-01/hero/{sha256[:16]}.{extension}",
        sha256=sha256,
        bytes=len(body),
        mime=f"image/{kind.lower()}",
        width=64,
        height=48,
        created=True,
        size_ok=True,
    )
    answer = requests.get(store.public_url(got.key), timeout=10)
    assert answer.content == body
    assert answer.headers["Content-Type"] == got.mime
    found = store.head(got.key)
    assert found is not None
    assert found.metadata == {"job": "k1", "sha256": sha256}
    assert list((tmp_path / "spool").iterdir()) == []


def test_file_to_permanent_object(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "answer.bin"
    path.write_bytes(picture())
    got = archive(store, path, tmp_path / "spool")
    assert requests.get(store.public_url(got.key), timeout=10).content == picture()
    assert path.read_bytes() == picture()


def test_again_is_harmless(store: ObjectStore, web: Web, tmp_path: Path) -> None:
    web.pages["/gen"] = page(picture())
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: archive(store, web.url("/gen"), tmp_path), range(12)))
    assert sum(r.created for r in results) == 1
    assert len({r.key for r in results}) == 1
    assert list(tmp_path.glob("download-*")) == []


@pytest.mark.parametrize(("expected", "ok"), [((64, 48), True), (None, True), ((48, 64), False), ((4096, 4096), False)])
def test_wrong_size_is_told_and_kept(
    store: ObjectStore, web: Web, tmp_path: Path, expected: tuple[int, int] | None, ok: bool
) -> None:
    web.pages["/gen"] = page(picture())
    got = archive(store, web.url("/gen"), tmp_path, expected)
    assert got.size_ok is ok
    assert store.head(got.key) is not None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (picture(640, 480)[:-500], Code.IMAGE_TRUNCATED),
        (b"\0\1\2 no image", Code.NOT_AN_IMAGE),
        (b"<html>", Code.NOT_AN_IMAGE),
        (picture(1001, 1000), Code.TOO_LARGE),
    ],
)
@pytest.mark.parametrize("remote", [True, False])
def test_what_is_no_whole_image_never_reaches_the_store(
    store: ObjectStore, web: Web, tmp_path: Path, body: bytes, code: Code, remote: bool
) -> None:
    web.pages["/gen"] = page(body)
    path = tmp_path / "answer.bin"
    path.write_bytes(body)
    spool = tmp_path / "spool"
    with pytest.raises(ArchiveError) as caught:
        archive(store, web.url("/gen") if remote else path, spool, max_pixels=1_000_000)
    assert caught.value.code is code
    assert not spool.exists() or list(spool.iterdir()) == []
    assert path.exists()
    for extension in ("png", "jpg", "webp"):
        assert store.head(f"{store.prefix}/autumn/MUG-01/hero/{hashes(body)[0][:16]}.{extension}") is None


def test_a_store_that_refuses_leaves_no_temporary_file(store_settings: Settings, web: Web, tmp_path: Path) -> None:
    web.pages["/gen"] = page(picture())
    values = store_settings.model_dump(exclude_unset=True) | {"s3_secret_access_key": "wrong"}
    with pytest.raises(ArchiveError) as caught:
        archive(ObjectStore(Settings(_env_file=None, **values)), web.url("/gen"), tmp_path)
    assert caught.value.code is Code.S3_DENIED
    assert list(tmp_path.iterdir()) == []
