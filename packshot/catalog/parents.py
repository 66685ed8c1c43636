"""Parents that stand in other records than their variants: kept on the disk, because a catalog may have many."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

from packshot.catalog.draft import Draft


class Parents:
    """Drafts by any of their names. A context manager: the file is removed at its end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="packshot-parents-", ignore_cleanup_errors=True)
        self._db = sqlite3.connect(Path(self._folder.name) / "parents.db", isolation_level=None)
        # A scratch file: nothing of it outlives this object, so nothing of it must survive a crash.
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN;"
            "CREATE TABLE parent (name TEXT PRIMARY KEY, draft TEXT) WITHOUT ROWID;"
            "CREATE TABLE child (name TEXT PRIMARY KEY, parent TEXT) WITHOUT ROWID;"
            "CREATE TABLE has_children (name TEXT PRIMARY KEY) WITHOUT ROWID;"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        with suppress(OSError):
            self._folder.cleanup()

    def take(self, draft: Draft) -> None:
        """Remember whose child a draft says it is, or that it is a parent (the first one of a name counts)."""
        if draft.parent:
            self._db.execute("INSERT OR IGNORE INTO has_children VALUES (?)", (draft.parent,))
        for child in draft.children:
            self._db.execute("INSERT OR IGNORE INTO child VALUES (?, ?)", (child, draft.product_key))
            self._db.execute("INSERT OR IGNORE INTO has_children VALUES (?)", (draft.product_key,))
        if draft.is_parent:
            packed = json.dumps(draft.packed())
            for name in dict.fromkeys((draft.product_key, *draft.names)):
                self._db.execute("INSERT OR IGNORE INTO parent VALUES (?, ?)", (name, packed))

    def get(self, name: str) -> Draft | None:
        """The parent of that name."""
        found = self._db.execute("SELECT draft FROM parent WHERE name = ?", (name,)).fetchone()
        return Draft.unpacked(json.loads(found[0])) if found else None

    def parent_of(self, draft: Draft) -> str:
        """The name of the draft's parent, by its own word or by the parent's; empty when it has none."""
        if draft.parent:
            return draft.parent
        found = self._db.execute(
            "SELECT parent FROM child WHERE name = ?", (draft.sku or draft.product_key,)
        ).fetchone()
        return str(found[0]) if found else ""

    def has_children(self, draft: Draft) -> bool:
        """Does any record say that it is a variant of this one?"""
        names = dict.fromkeys((draft.product_key, *draft.names))
        return any(self._db.execute("SELECT 1 FROM has_children WHERE name = ?", (name,)).fetchone() for name in names)
