"""The prepared product photos in the bucket: what one worker has fetched, no other needs to fetch again.

They lie outside the public part, each under the SHA-256 of the photo's original bytes, and are never overwritten: what
was sent with a picture's prompt can be looked up by the hash that its job keeps.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Self

from packshot.errors import ArchiveError
from packshot.settings import Settings
from packshot.storage import ObjectStore

CACHE_CONTROL = "private, max-age=31536000, immutable"
_ABSENT = (403, 404)
"""A store that forbids listing answers 403 for what is not there. Writing tells whether more is forbidden."""


class PhotoShelf:
    """Photos, and notes on where they came from, below one prefix of a bucket. Threads may share it."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self.place = f"{store.host}/{store.bucket}/{prefix}"
        """Where it is, for people, and to tell one shelf from another."""

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The shelf that the settings name; None where they want none."""
        return cls(ObjectStore(settings), settings.photo_shelf) if settings.photo_shelf else None

    def key(self, sha256: str) -> str:
        """The object's key for a photo, by the hash (hex) of its original bytes."""
        return f"{self._prefix}/{sha256[:2]}/{sha256}.jpg"

    def keep(self, sha256: str, path: Path, source: str) -> bytes | None:
        """Make sure the photo is there. Returns its bytes if another preparation of it was there first: those are what
        everybody sends.

        Raises:
            ArchiveError: as :meth:`ObjectStore.put_image` says.
        """
        body = path.read_bytes()
        digest = hashlib.sha256(body).hexdigest()
        found = self._digest(sha256)
        if not found:
            md5 = hashlib.md5(body, usedforsecurity=False).digest()
            try:
                self._store.put_image(
                    self.key(sha256), path, "image/jpeg", digest, md5, {"photo": source}, cache_control=CACHE_CONTROL
                )
            except ArchiveError:
                found = self._digest(sha256)  # another worker was a moment earlier
                if found in ("", digest):
                    raise
        return None if found in ("", digest) else self.photo(sha256)

    def photo(self, sha256: str) -> bytes | None:
        """The prepared JPEG; None when it is not there.

        Raises:
            ArchiveError: S3_UNREACHABLE, S3_FAILED, S3_INTEGRITY, BUCKET_MISSING.
        """
        return self._read(self.key(sha256))

    def note(self, name: str) -> bytes | None:
        """What was noted of an address; None when nothing was. Raises as :meth:`photo` does."""
        return self._read(self._note_key(name))

    def keep_note(self, name: str, content: bytes) -> None:
        """Replace what is noted of an address.

        Raises:
            ArchiveError: S3_DENIED, S3_UNREACHABLE, S3_FAILED, BUCKET_MISSING.
        """
        self._store.put_text(self._note_key(name), content, "application/json")

    def _note_key(self, name: str) -> str:
        return f"{self._prefix}/urls/{name}.json"

    def _digest(self, sha256: str) -> str:
        """SHA-256 of the object's bytes; empty when there is none."""
        try:
            found = self._store.head(self.key(sha256))
        except ArchiveError as error:
            if error.details.get("http_status") in _ABSENT:
                return ""
            raise
        return found.metadata.get("sha256", "") if found else ""

    def _read(self, key: str) -> bytes | None:
        try:
            return self._store.read(key)
        except ArchiveError as error:
            if error.details.get("http_status") in _ABSENT and error.details.get("aws_code") != "NoSuchBucket":
                return None
            raise
