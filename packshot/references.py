"""The product's own photos, ready to be sent along with a prompt.

Whatever the catalog names (a URL or a file next to it) becomes an upright JPEG without transparency, small enough
for the API (APIYI: 7 MB at most, below 5 MB advised; docs.apiyi.com).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from packshot.download import DownloadPolicy, disk_errors, download, revalidate, shown
from packshot.errors import ArchiveError, Code
from packshot.image_check import open_image
from packshot.shots.model import Reference

LONG_EDGE = 2048
QUALITY = 90
"""A 2048 x 2048 photo of pure noise, the worst there is, stays below 4 MB at this quality."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")

_LOCKS = 64


class ReferenceStore:
    """Fetches and prepares photos, each once: what :meth:`get` found, or failed to find, holds as long as this object
    does, so all shots of a run see the same photo. Make one per run; threads may share it.

    Prepared photos stay under ``home``/references. A later run asks the server whether the photo changed, and
    downloads it only then. The host list of ``policy`` does not apply: shops keep photos anywhere. Private addresses
    are refused all the same, unless ``policy.cidrs`` names them.
    """

    def __init__(self, home: Path, policy: DownloadPolicy, max_pixels: int) -> None:
        self._folder = home / "references"
        self._policy = replace(policy, hosts=("*",))
        self._max_pixels = max_pixels
        self._known: dict[str, Reference | ArchiveError] = {}
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def get(self, ref: str, catalog_folder: Path) -> Reference:
        """The photo ``ref``: an http(s) URL, or a path relative to ``catalog_folder`` that stays inside it.

        ``Reference.sha256`` is over the photo's original bytes, ``path`` the JPEG to send.

        Raises:
            ArchiveError: REFERENCE_UNAVAILABLE (the message says why), DISK_FULL.
        """
        remote = ref.lower().startswith(("http://", "https://"))
        name = ref if remote else f"{catalog_folder.absolute()}\0{ref}"
        with self._locks[hash(name) % _LOCKS]:
            if name not in self._known:
                self._known[name] = self._try(ref, None if remote else catalog_folder)
            known = self._known[name]
        if isinstance(known, ArchiveError):
            raise ArchiveError(known.code, known.message, **known.details)
        return known

    def _try(self, ref: str, catalog_folder: Path | None) -> Reference | ArchiveError:
        try:
            with disk_errors(self._folder):
                (self._folder / "urls").mkdir(parents=True, exist_ok=True)
                sha256 = self._fetch(ref) if catalog_folder is None else self._read(ref, catalog_folder)
            return Reference(source=ref, sha256=sha256, path=str(self._prepared(sha256)), mime="image/jpeg")
        except ArchiveError as error:
            if error.code is Code.DISK_FULL:
                raise
            name = ref if catalog_folder else shown(ref)
            said = error.message if name in error.message else f"{name}: {error.message}"
            return ArchiveError(Code.REFERENCE_UNAVAILABLE, f"photo {said}", cause=error.code.value, **error.details)

    def _fetch(self, url: str) -> str:
        """SHA-256 of the photo at ``url``, prepared on the disk when this returns."""
        note = self._folder / "urls" / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
        last = _read_note(note)
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=self._folder) as temporary:
            path = Path(temporary) / "photo"
            if last and (last["etag"] or last["last_modified"]) and self._prepared(last["sha256"]).exists():
                got = revalidate(url, path, self._policy, etag=last["etag"], last_modified=last["last_modified"])
                if got is None:
                    return last["sha256"]
            else:
                got = download(url, path, self._policy)
            self._prepare(path, got.sha256)
        _write(
            note,
            json.dumps({"sha256": got.sha256, "etag": got.etag, "last_modified": got.last_modified}).encode(),
        )
        return got.sha256

    def _read(self, ref: str, catalog_folder: Path) -> str:
        root = catalog_folder.resolve()
        try:
            path = (root / ref).resolve()
            inside = path.is_relative_to(root) and ".." not in Path(ref).parts and not Path(ref).is_absolute()
            regular = inside and path.is_file()
        except (OSError, ValueError, RuntimeError):  # a NUL, a name too long, a loop of links
            raise _unavailable("is not a usable path") from None
        if not inside:
            raise _unavailable(f"lies outside {catalog_folder}; allowed: a path below it, without '..'")
        if not regular:
            raise _unavailable(f"is not a file in {catalog_folder}")
        try:
            if path.stat().st_size > self._policy.max_bytes:
                raise _unavailable(f"has more than {self._policy.max_bytes} bytes")
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise _unavailable(f"cannot be read ({error.strerror})") from None
        self._prepare(path, sha256)
        return sha256

    def _prepared(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.jpg"

    def _prepare(self, path: Path, sha256: str) -> None:
        if self._prepared(sha256).exists():
            return
        with open_image(path, self._max_pixels, FORMATS) as image:
            photo = _flatten(ImageOps.exif_transpose(image))
            photo.thumbnail((LONG_EDGE, LONG_EDGE), Image.Resampling.LANCZOS)
        with tempfile.TemporaryDirectory(prefix="encode-", dir=self._folder) as temporary:
            jpeg = Path(temporary) / "photo.jpg"
            # The colour profile is kept, the rest (place, camera, thumbnail) is nobody's business.
            photo.save(jpeg, "JPEG", quality=QUALITY, icc_profile=photo.info.get("icc_profile"))
            _write(self._prepared(sha256), jpeg.read_bytes())


def _flatten(image: Image.Image) -> Image.Image:
    """RGB; what was transparent is white. A profile that describes other than RGB values is dropped."""
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA", "P") else None
    if image.mode.startswith("I"):  # 16 bits of grey: a plain conversion would clip it to white
        image = image.convert("I").point([value >> 8 for value in range(65536)], "L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(layer, mask=layer.getchannel("A"))
    else:
        flat = image.convert("RGB")
    flat.info = {"icc_profile": profile}
    return flat


def _read_note(path: Path) -> dict[str, str] | None:
    """What was remembered of a URL; None when nothing usable was."""
    try:
        note: dict[str, Any] = json.loads(path.read_text())
        return {name: str(note[name]) for name in ("sha256", "etag", "last_modified")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, also when another thread writes the same file."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _unavailable(why: str) -> ArchiveError:
    return ArchiveError(Code.REFERENCE_UNAVAILABLE, why)
