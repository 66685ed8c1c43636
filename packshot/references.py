"""The product's own photos, ready to be sent along with a prompt.

Whatever the catalog names (a URL or a file next to it) is fetched once, checked, and prepared as
:mod:`packshot.photo` says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from packshot.download import DownloadPolicy, disk_errors, download, revalidate, shown
from packshot.errors import ArchiveError, Code
from packshot.photo import prepared_photo
from packshot.photo_shelf import PhotoShelf
from packshot.shots.model import Reference

_LOCKS = 64

Note = dict[str, str]
"""What was remembered of a URL: the photo's hash, and the validators it came with."""

T = TypeVar("T")


class ReferenceStore:
    """Fetches and prepares photos, each once: what :meth:`get` found, or failed to find, holds as long as this object
    does, so all shots of a run see the same photo. Make one per run; threads may share it.

    Prepared photos stay under ``home``/references. A later run asks the server whether the photo changed, and
    downloads it only then. The host list of ``policy`` does not apply: shops keep photos anywhere. Private addresses
    are refused all the same, unless ``policy.cidrs`` names them.

    ``shelf``: where other machines find the photos too, and what they noted of addresses. It saves work and keeps a
    record; when it fails, that is noted in ``shelf_problem`` and everything goes on without it.
    """

    def __init__(self, home: Path, policy: DownloadPolicy, max_pixels: int, shelf: PhotoShelf | None = None) -> None:
        self._folder = home / "references"
        self._policy = replace(policy, hosts=("*",))
        self._max_pixels = max_pixels
        self.shelf = shelf
        self.shelf_problem = ""
        """What the shelf failed with first; after that it is left alone."""
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

    def have(self, sha256: str) -> Path:
        """The file of a photo that a run has prepared. What another machine did comes from the shelf; what is not even
        there, or not to be had at this moment, is a file that does not exist.

        Raises:
            ArchiveError: DISK_FULL.
        """
        path = self._prepared(sha256)
        if self.shelf is not None and not path.exists():
            try:
                body = self.shelf.photo(sha256)
            except ArchiveError:
                body = None
            if body is not None:
                with disk_errors(self._folder):
                    self._folder.mkdir(parents=True, exist_ok=True)
                    write_whole(path, body)
        return path

    def _try(self, ref: str, catalog_folder: Path | None) -> Reference | ArchiveError:
        name = ref if catalog_folder else shown(ref)
        try:
            with disk_errors(self._folder):
                (self._folder / "urls").mkdir(parents=True, exist_ok=True)
                sha256 = self._fetch(ref) if catalog_folder is None else self._read(ref, catalog_folder)
                self._put_on_shelf(sha256, name)
            return Reference(source=ref, sha256=sha256, path=str(self._prepared(sha256)), mime="image/jpeg")
        except ArchiveError as error:
            if error.code is Code.DISK_FULL:
                raise
            said = error.message if name in error.message else f"{name}: {error.message}"
            return ArchiveError(Code.REFERENCE_UNAVAILABLE, f"photo {said}", cause=error.code.value, **error.details)

    def _fetch(self, url: str) -> str:
        """SHA-256 of the photo at ``url``, prepared on the disk when this returns."""
        name = hashlib.sha256(url.encode()).hexdigest()
        path_of_note = self._folder / "urls" / f"{name}.json"
        noted = _read_note(path_of_note)
        last = noted or self._note_of_shelf(name)
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=self._folder) as temporary:
            path = Path(temporary) / "photo"
            if last and (last["etag"] or last["last_modified"]) and self.have(last["sha256"]).exists():
                got = revalidate(url, path, self._policy, etag=last["etag"], last_modified=last["last_modified"])
            else:
                got = download(url, path, self._policy)
            if got is None:  # as it was
                assert last is not None
                now = last
            else:
                now = {"sha256": got.sha256, "etag": got.etag, "last_modified": got.last_modified}
                self._prepare(path, got.sha256)
        content = json.dumps(now).encode()
        if now != noted:
            write_whole(path_of_note, content)
        if now != last or not self._is_on_shelf(now["sha256"]):
            self._on_shelf(lambda shelf: shelf.keep_note(name, content))
        return now["sha256"]

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
        if not self._prepared(sha256).exists():
            write_whole(self._prepared(sha256), prepared_photo(path, self._max_pixels))

    # --- the shelf --------------------------------------------------------------------------------------------
    def _mark(self, sha256: str) -> Path:
        """Beside a photo: on which shelf it is, so that nobody has to ask."""
        return self._folder / f"{sha256}.kept"

    def _is_on_shelf(self, sha256: str) -> bool:
        mark = self._mark(sha256)
        return self.shelf is not None and mark.exists() and mark.read_text() == self.shelf.place

    def _put_on_shelf(self, sha256: str, source: str) -> None:
        def keep(shelf: PhotoShelf) -> None:
            other = shelf.keep(sha256, self._prepared(sha256), source)
            if other is not None:
                write_whole(self._prepared(sha256), other)
            write_whole(self._mark(sha256), shelf.place.encode())

        if not self._is_on_shelf(sha256):
            self._on_shelf(keep)

    def _note_of_shelf(self, name: str) -> Note | None:
        content = self._on_shelf(lambda shelf: shelf.note(name))
        return None if content is None else _note(content)

    def _on_shelf(self, act: Callable[[PhotoShelf], T]) -> T | None:
        """What ``act`` returns; None, and no shelf from then on, when it fails."""
        if self.shelf is None or self.shelf_problem:
            return None
        try:
            return act(self.shelf)
        except ArchiveError as error:  # a full disk raises OSError, and goes on
            self.shelf_problem = error.message
            return None


def _read_note(path: Path) -> Note | None:
    """What was remembered of a URL; None when nothing usable was."""
    try:
        return _note(path.read_bytes())
    except OSError:
        return None


def _note(content: bytes) -> Note | None:
    try:
        note: dict[str, Any] = json.loads(content)
        read = {name: str(note[name]) for name in ("sha256", "etag", "last_modified")}
    except (ValueError, KeyError, TypeError):
        return None
    return read if re.fullmatch("[0-9a-f]{64}", read["sha256"]) else None


def write_whole(path: Path, content: bytes) -> None:
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
