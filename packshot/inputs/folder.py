"""PACKSHOT_HOME/catalogs: catalogs that came from elsewhere, kept as files while they are read.

A file lies in a folder called after its content, so it never changes while somebody reads it; a newer version lies
beside it. What nobody has used for a week is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

UNUSED_FOR = 7 * 86_400.0
"""Seconds."""
_FETCHING = "fetching-"


@dataclass(frozen=True, slots=True)
class Kept:
    """What was fetched from an address last: the content's hash, and what asks whether it is still that."""

    sha256: str
    etag: str
    last_modified: str


class CatalogFolder:
    """Processes may share it. Methods raise OSError when the disk does."""

    def __init__(self, home: Path, now: Callable[[], float] = time.time) -> None:
        self._folder = home / "catalogs"
        self._now = now

    @contextmanager
    def new_file(self) -> Iterator[Path]:
        """A place for a file that is on its way; gone at the end, unless :meth:`keep` took it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._remove_unused()
        with tempfile.TemporaryDirectory(prefix=_FETCHING, dir=self._folder, ignore_cleanup_errors=True) as temporary:
            yield Path(temporary) / "catalog"

    def keep(self, file: Path, sha256: str, name: str = "catalog") -> Path:
        """Move a complete file to where its content belongs."""
        place = self._folder / sha256 / name
        place.parent.mkdir(exist_ok=True)
        file.replace(place)
        self._mark_used(place)
        return place

    def find(self, kept: Kept) -> Path | None:
        """The file, if it is still there; it counts as used now."""
        place = self._folder / kept.sha256 / "catalog"
        if not place.is_file():
            return None
        self._mark_used(place)
        return place

    def recall(self, address: str) -> Kept | None:
        """What :meth:`remember` noted of this address; None when there is nothing usable."""
        try:
            note = json.loads(self._note(address).read_bytes())
            os.utime(self._note(address), (self._now(), self._now()))
            kept = Kept(*(str(note[name]) for name in Kept.__slots__))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return kept if re.fullmatch("[0-9a-f]{64}", kept.sha256) else None

    def remember(self, address: str, kept: Kept) -> None:
        """The address itself is not written down: it may hold a signature."""
        with self.new_file() as file:
            file.write_text(json.dumps(asdict(kept)))
            file.replace(self._note(address))

    def _note(self, address: str) -> Path:
        return self._folder / f"{hashlib.sha256(address.encode('utf-8', 'surrogatepass')).hexdigest()}.json"

    def _mark_used(self, place: Path) -> None:
        os.utime(place.parent, (self._now(), self._now()))

    def _remove_unused(self) -> None:
        for entry in self._folder.iterdir():
            try:
                if self._now() - entry.stat().st_mtime < UNUSED_FOR:
                    continue
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink()
            except FileNotFoundError:  # another process removed it first
                continue
