"""From a temporary URL, or bytes in the spool, to a verified permanent object.

The bytes are stored as they came: never re-encoded. Whatever fails here costs bandwidth, never money.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from packshot.download import DownloadPolicy, disk_errors, download
from packshot.image_check import check_image
from packshot.stopwatch import Step, Timing, untimed
from packshot.storage import ObjectStore, object_key
from packshot.worker import this_worker

DOWNLOADS = "download-"
"""What folders of downloads under way begin with; the worker's name follows."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Whose picture it is; with the image's SHA-256 and type this makes the object's key."""

    catalog: str
    product_name: str
    shot: str


@dataclass(frozen=True, slots=True)
class Archived:
    """The permanent object. ``sha256`` is hex. ``created`` is False when the same bytes were there already.
    ``size_ok`` is False when other pixels came than were ordered; the image is kept all the same: it was paid for."""

    bucket: str
    key: str
    sha256: str
    bytes: int
    mime: str
    width: int
    height: int
    created: bool
    size_ok: bool


def archive_image(
    source: str | Path,
    expected: tuple[int, int] | None,
    destination: Destination,
    provenance: Mapping[str, str],
    *,
    store: ObjectStore,
    policy: DownloadPolicy,
    max_pixels: int,
    spool: Path,
    expires_at: datetime | None = None,
    timing: Timing = untimed,
) -> Archived:
    """Download or read ``source``, check that it is a whole image, store it and verify what the store holds.

    ``expected`` is (width, height) as ordered; None accepts any. ``provenance`` becomes object metadata. A file as
    ``source`` stays where it is; a download passes through ``spool`` and leaves nothing there. Safe to repeat: the
    key follows from the bytes. ``timing`` times its steps.

    Raises:
        ArchiveError: as :func:`packshot.download.download`, :func:`packshot.image_check.check_image` and
            :meth:`packshot.storage.ObjectStore.put_image` say.
    """
    if isinstance(source, Path):
        return _store(source, None, expected, destination, provenance, store, max_pixels, timing)
    with disk_errors(spool):
        spool.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f"{DOWNLOADS}{this_worker()}-", dir=spool)
    with folder as temporary:
        path = Path(temporary) / "image"
        with timing(Step.DOWNLOAD):
            got = download(source, path, policy, expires_at=expires_at)
        return _store(path, (got.sha256, got.md5), expected, destination, provenance, store, max_pixels, timing)


def _store(
    path: Path,
    hashes: tuple[str, bytes] | None,
    expected: tuple[int, int] | None,
    destination: Destination,
    provenance: Mapping[str, str],
    store: ObjectStore,
    max_pixels: int,
    timing: Timing,
) -> Archived:
    with timing(Step.CHECK):
        sha256, md5 = hashes or _hashes(path)
        facts = check_image(path, max_pixels)
    key = object_key(store.prefix, destination.catalog, destination.product_name, destination.shot, sha256, facts.mime)
    with timing(Step.UPLOAD):
        result = store.put_image(key, path, facts.mime, sha256, md5, provenance)
    return Archived(
        bucket=store.bucket,
        key=key,
        sha256=sha256,
        bytes=path.stat().st_size,
        mime=facts.mime,
        width=facts.width,
        height=facts.height,
        created=result.created,
        size_ok=expected is None or expected == (facts.width, facts.height),
    )


def _hashes(path: Path) -> tuple[str, bytes]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
            md5.update(chunk)
    return sha256.hexdigest(), md5.digest()
