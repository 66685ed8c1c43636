"""Try on the real store what packshot relies on: for ``packshot doctor``."""

from __future__ import annotations

import hashlib
import io
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from PIL import Image

from packshot.errors import Code, PackshotError
from packshot.storage.endpoint import is_loopback

if TYPE_CHECKING:
    from packshot.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. ``next_step`` is empty when there is nothing to do."""

    name: str
    ok: bool
    message: str
    next_step: str = ""


def probe_store(store: ObjectStore) -> list[Finding]:
    """Write, write again, write damaged, read as the public, delete. The first failure to write ends it."""
    folder = "/".join(p for p in (store.prefix, "packshot-probe", uuid.uuid4().hex) if p)
    key, spare = f"{folder}/image.png", f"{folder}/damaged.png"
    with tempfile.TemporaryDirectory(prefix="packshot-probe-") as temporary:
        path = Path(temporary) / "probe.png"
        path.write_bytes(_picture())
        findings = [_step("write", lambda: _write(store, key, path))]
        if findings[0].ok:
            findings.append(_step("overwrite", lambda: _overwrite(store, key, path)))
            findings.append(_step("integrity", lambda: _damaged(store, spare, path)))
            findings.append(_public(store, key, path.read_bytes()))
            findings.append(_step("delete", lambda: _delete(store, key, spare)))
    return findings


def _step(name: str, action: Callable[[], Finding]) -> Finding:
    try:
        return action()
    except PackshotError as error:
        return Finding(name, False, error.message, error.code.next_step)


def _write(store: ObjectStore, key: str, path: Path) -> Finding:
    _put(store, key, path)
    return Finding("write", True, f"{store.bucket} at {store.host} stored an image and confirmed size and SHA-256")


def _overwrite(store: ObjectStore, key: str, path: Path) -> Finding:
    if not store.profile.if_none_match:
        return Finding("overwrite", True, "conditional writes are not used with this profile")
    if _put(store, key, path):
        return Finding(
            "overwrite", False, "the store overwrote an object it was asked not to",
            "set PACKSHOT_S3_PROFILE=generic: this store does not honour If-None-Match",
        )  # fmt: skip
    return Finding("overwrite", True, "an existing object is not overwritten")


def _damaged(store: ObjectStore, key: str, path: Path) -> Finding:
    try:
        store.put_image(key, path, "image/png", _sha256(path), _md5(b"something else"), {})
    except PackshotError as error:
        if error.code is Code.S3_INTEGRITY or error.details.get("http_status") == 400:
            return Finding("integrity", True, "a body that does not fit its Content-MD5 is refused")
        raise
    return Finding(
        "integrity", False, "the store accepted a body that does not fit its Content-MD5",
        "use it only where the line to it is safe, such as https",
    )  # fmt: skip


def _delete(store: ObjectStore, *keys: str) -> Finding:
    for key in keys:
        store.delete(key)
    return Finding("delete", True, "the probe's objects were removed")


def _public(store: ObjectStore, key: str, expected: bytes) -> Finding:
    """What a visitor of the shop gets: no credentials, no cookies."""
    url = store.public_url(key)
    try:
        with requests.Session() as session:
            session.trust_env = not is_loopback(url)
            # A callable as auth keeps requests from adding a password out of ~/.netrc.
            answer = session.get(url, timeout=(5, 30), auth=lambda request: request)
    except requests.RequestException as error:
        return Finding(
            "public", False, f"{url} cannot be reached ({type(error).__name__})", "correct PACKSHOT_S3_PUBLIC_BASE_URL"
        )
    kind = answer.headers.get("Content-Type", "")
    if answer.status_code != 200:
        step = f"allow public reading of {store.prefix or 'the bucket'}: {store.profile.note}"
        return Finding("public", False, f"{url} answers {answer.status_code} without credentials", step)
    if answer.content != expected:
        return Finding(
            "public", False, f"{url} answers with something else ({len(answer.content)} bytes, {kind})",
            "correct PACKSHOT_S3_PUBLIC_BASE_URL: it does not lead to this bucket",
        )  # fmt: skip
    if kind.partition(";")[0].strip() != "image/png":
        return Finding("public", False, f"{url} comes as {kind!r} instead of image/png", store.profile.note)
    if "attachment" in answer.headers.get("Content-Disposition", "").lower():
        return Finding(
            "public", False, f"{url} comes with Content-Disposition: attachment, so browsers do not show it",
            "serve images from a custom domain and set it as PACKSHOT_S3_PUBLIC_BASE_URL",
        )  # fmt: skip
    return Finding("public", True, f"{store.public_url('')}... is readable without credentials")


def _put(store: ObjectStore, key: str, path: Path) -> bool:
    md5 = _md5(path.read_bytes())
    return store.put_image(key, path, "image/png", _sha256(path), md5, {"made-by": "packshot doctor"}).created


def _md5(body: bytes) -> bytes:
    return hashlib.md5(body, usedforsecurity=False).digest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(buffer, "PNG")
    return buffer.getvalue()
