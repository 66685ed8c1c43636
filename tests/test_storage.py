"""The object store, against a real S3 server that checks signatures, checksums and conditions."""

from __future__ import annotations

import hashlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
import requests
from botocore.config import Config
from hypothesis import example, given
from hypothesis import strategies as st

from packshot.errors import ArchiveError, Code, ConfigError
from packshot.sandbox.seaweed import Seaweed
from packshot.settings import Settings
from packshot.storage import ObjectStore, PutResult, object_key
from packshot.storage.keys import slug
from packshot.storage.store import ascii_value
from tests.fixtures_store import hashes, picture

SHA = "ab" * 32


def put(store: ObjectStore, folder: Path, name: str = "a.png", body: bytes | None = None) -> PutResult:
    body = picture() if body is None else body
    path = folder / f"{threading.get_ident()}-upload"
    path.write_bytes(body)
    return store.put_image(f"{store.prefix}/{name}", path, "image/png", *hashes(body), {"sku": "Größe 主图"})


def changed(settings: Settings, **values: object) -> Settings:
    return Settings(_env_file=None, **(settings.model_dump(exclude_unset=True) | values))


# --- keys -------------------------------------------------------------------------------------------------------


def test_key_is_readable() -> None:
    key = object_key("pub/shop", "autumn", "MUG-01", "hero", SHA, "image/jpeg")
    assert key == "pub/shop/autumn/MUG-01/hero/abababababababab.jpg"
    assert object_key("", "autumn", "MUG-01", "hero", SHA, "image/webp").startswith("autumn/")


def test_key_refuses_a_prefix_that_the_public_policy_could_not_match() -> None:
    for prefix in ("pub//x", "öffentlich", "/pub", "a b"):
        with pytest.raises(ConfigError, match="S3_PREFIX"):
            object_key(prefix, "c", "p", "s", SHA, "image/png")


def test_names_that_differ_only_in_what_slugging_loses_stay_apart() -> None:
    names = ["a/b", "a b", "a-b", "á-b", "a-b ", "A-b", "主图", "主圖", "", ".", "..", "x" * 120, "x" * 121, "x" * 122]
    assert len({slug(n) for n in names}) == len(names)
    assert slug("a-b") == "a-b"
    assert slug("Größe M").startswith("Grosse-M-")


@given(st.text(max_size=300), st.text(max_size=300))
@example("foo bar", slug("foo bar"))
def test_slugs_are_safe_and_injective(one: str, other: str) -> None:
    for text in (one, other):
        name = slug(text)
        assert name.isascii()
        assert 0 < len(name) <= 120
        assert name.strip(".") == name
        assert not set(name) & set("/\\?#%& \t\n\0")
    assert (slug(one) == slug(other)) == (one == other)


def test_metadata_is_ascii_and_never_ends_inside_an_escape() -> None:
    for count in range(20, 40):
        value = ascii_value("x" * count + "图" * 100)
        assert value.isascii()
        assert len(value) <= 240
        assert "%" not in value[-2:]


# --- writing ----------------------------------------------------------------------------------------------------


def test_put_then_public_get(store: ObjectStore, tmp_path: Path) -> None:
    result = put(store, tmp_path)
    assert result.created
    assert result.etag == hashlib.md5(picture()).hexdigest()
    answer = requests.get(store.public_url(f"{store.prefix}/a.png"), timeout=10)
    assert answer.status_code == 200
    assert answer.content == picture()
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Content-Disposition" not in answer.headers
    found = store.head(f"{store.prefix}/a.png")
    assert found is not None
    assert found.checksum_sha256 == hashes(picture())[0]
    assert found.metadata == {"sha256": hashes(picture())[0], "sku": "Gr%C3%B6%C3%9Fe%20%E4%B8%BB%E5%9B%BE"}


def test_second_put_of_the_same_image_is_a_success(store: ObjectStore, tmp_path: Path) -> None:
    assert put(store, tmp_path).created
    assert not put(store, tmp_path).created


def test_another_image_at_the_key_is_not_overwritten(store: ObjectStore, tmp_path: Path) -> None:
    put(store, tmp_path)
    with pytest.raises(ArchiveError, match="already taken by another object") as caught:
        put(store, tmp_path, body=picture(10, 10))
    assert caught.value.code is Code.S3_INTEGRITY
    assert requests.get(store.public_url(f"{store.prefix}/a.png"), timeout=10).content == picture()


def test_many_writers_of_one_key_make_one_object(store: ObjectStore, tmp_path: Path) -> None:
    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(lambda _: put(store, tmp_path), range(24)))
    assert sum(r.created for r in results) == 1
    assert len({r.etag for r in results}) == 1


def test_generic_profile_writes_without_conditions(store_settings: Settings, tmp_path: Path) -> None:
    store = ObjectStore(changed(store_settings, s3_profile="generic"))
    assert put(store, tmp_path).created
    assert put(store, tmp_path).created


@pytest.mark.parametrize("profile", ["seaweedfs", "generic"])
@pytest.mark.parametrize("wrong", ["md5", "sha256"])
def test_body_that_does_not_fit_its_hash(store_settings: Settings, tmp_path: Path, profile: str, wrong: str) -> None:
    store = ObjectStore(changed(store_settings, s3_profile=profile))
    path = tmp_path / "x"
    path.write_bytes(picture())
    sha256, md5 = hashes(picture())
    if wrong == "md5":
        md5 = hashes(b"other")[1]
    else:
        sha256 = hashes(b"other")[0]
    key = f"{store.prefix}/x.png"
    if wrong == "sha256" and profile == "generic":
        store.put_image(
            key, path, "image/png", sha256, md5, {}
        )  # nothing can notice: the hash travels as metadata only
        return
    with pytest.raises(ArchiveError) as caught:
        store.put_image(key, path, "image/png", sha256, md5, {})
    assert caught.value.code is Code.S3_INTEGRITY
    assert caught.value.details["http_status"] == 400
    assert store.head(key) is None


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"s3_secret_access_key": "wrong-secret-value"}, Code.S3_DENIED),
        ({"s3_access_key_id": "AKIAWRONG"}, Code.S3_DENIED),
        ({"s3_bucket": "no-such-bucket"}, Code.BUCKET_MISSING),
    ],
)
def test_refusals(store_settings: Settings, tmp_path: Path, change: dict[str, str], code: Code) -> None:
    store = ObjectStore(changed(store_settings, **change))
    with pytest.raises(ArchiveError) as caught:
        put(store, tmp_path)
    error = caught.value
    assert error.code is code
    assert error.details["operation"] == "PutObject"
    assert store.host in error.message
    for secret in ("wrong-secret-value", store_settings.s3_secret_access_key.get_secret_value()):  # type: ignore[union-attr]
        assert secret not in str(error)
        assert secret not in repr(error.details)


def test_wrong_secret_is_refused_on_head_too(store_settings: Settings) -> None:
    with pytest.raises(ArchiveError) as caught:
        ObjectStore(changed(store_settings, s3_secret_access_key="wrong")).head("pub/x")
    assert caught.value.code is Code.S3_DENIED


def test_unreachable_store(store_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        store = ObjectStore(changed(store_settings, s3_endpoint_url=url))
        with pytest.raises(ArchiveError) as caught:
            put(store, tmp_path)
    assert caught.value.code is Code.S3_UNREACHABLE


def test_the_public_reads_only_below_the_public_prefix(seaweed: Seaweed, store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(picture())
    store.put_image("private/x.png", path, "image/png", *hashes(picture()), {})
    assert requests.get(f"{seaweed.public_base_url}/private/x.png", timeout=10).status_code == 403
    assert requests.get(seaweed.public_base_url, timeout=10).status_code == 403
    assert requests.put(f"{seaweed.public_base_url}/pub/x.png", data=b"x", timeout=10).status_code == 403
    store.delete("private/x.png")
    assert store.head("private/x.png") is None


def test_proxy_variables_do_not_capture_loopback(
    store_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    store = ObjectStore(store_settings)
    assert put(store, tmp_path).created
    assert all(f.ok for f in store.probe())


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"s3_profile": "aws", "s3_region": "eu-west-1"}, "https://shop.s3.eu-west-1.amazonaws.com/pub/a.png"),
        (
            {"s3_profile": "oss", "s3_endpoint_url": "https://s3.oss-cn-hangzhou.aliyuncs.com"},
            "https://shop.s3.oss-cn-hangzhou.aliyuncs.com/pub/a.png",
        ),
        ({"s3_profile": "r2", "s3_endpoint_url": "https://x.example/"}, "https://x.example/shop/pub/a.png"),
        ({"s3_public_base_url": "https://img.shop.example/"}, "https://img.shop.example/pub/a.png"),
    ],
)
def test_public_url(values: dict[str, str], url: str) -> None:
    base = {"s3_bucket": "shop", "s3_access_key_id": "a", "s3_secret_access_key": "b"}
    assert ObjectStore(Settings(_env_file=None, **(base | values))).public_url("pub/a.png") == url  # type: ignore[arg-type]


def test_region_follows_the_profile_unless_set() -> None:
    base = {"s3_bucket": "b", "s3_access_key_id": "a", "s3_secret_access_key": "b", "s3_profile": "r2"}
    base["s3_endpoint_url"] = "https://x.example"
    assert ObjectStore(Settings(_env_file=None, **base)).region == "auto"  # type: ignore[arg-type]
    assert ObjectStore(Settings(_env_file=None, s3_region="weur", **base)).region == "weur"  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["", "s3.example.com", "https://user:pw@s3.example.com", "ftp://x"])
def test_endpoint_that_cannot_work(url: str) -> None:
    values = {"s3_bucket": "b", "s3_access_key_id": "a", "s3_secret_access_key": "b", "s3_profile": "r2"}
    with pytest.raises(ConfigError, match="S3_ENDPOINT_URL") as caught:
        ObjectStore(Settings(_env_file=None, s3_endpoint_url=url, **values))  # type: ignore[arg-type]
    assert "pw" not in str(caught.value)


# --- doctor -----------------------------------------------------------------------------------------------------


def listing(seaweed: Seaweed, prefix: str) -> list[str]:
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=seaweed.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=seaweed.access_key_id,
        aws_secret_access_key=seaweed.secret_access_key,
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )
    return [o["Key"] for o in client.list_objects_v2(Bucket=seaweed.bucket, Prefix=prefix).get("Contents", [])]


def test_probe_finds_nothing_wrong_and_leaves_nothing(seaweed: Seaweed, store: ObjectStore) -> None:
    findings = store.probe()
    assert [f.name for f in findings] == ["write", "overwrite", "integrity", "public", "delete"]
    assert [f for f in findings if not f.ok] == []
    assert listing(seaweed, store.prefix) == []


def test_probe_sees_that_the_public_cannot_read(store_settings: Settings) -> None:
    found = {f.name: f for f in ObjectStore(changed(store_settings, s3_prefix="secret")).probe()}
    assert found["write"].ok
    assert not found["public"].ok
    assert "403" in found["public"].message
    assert found["public"].next_step


def test_probe_ends_at_a_store_that_refuses_us(store_settings: Settings) -> None:
    (finding,) = ObjectStore(changed(store_settings, s3_secret_access_key="wrong")).probe()
    assert not finding.ok
    assert "PACKSHOT_S3_SECRET_ACCESS_KEY" in finding.next_step
