"""Parents that stand in other records than their variants: kept on the disk, because a catalog may have many."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from packshot.catalog.draft import Draft

VARIANTS_MAX = 10_000
"""Variants of one product that are looked at, to tell what all of them are like."""


# UNION, not UNION ALL: parents that name each other must not go round for ever.
_BELOW = """
WITH RECURSIVE family(name) AS (SELECT ? UNION SELECT child FROM above JOIN family ON above.parent = family.name)
SELECT shown FROM naming_parent JOIN family ON naming_parent.parent = family.name ORDER BY serial LIMIT ?
"""


class Shown(NamedTuple):
    """What a variant says about its looks."""

    status: str
    attributes: dict[str, str]
    image_refs: list[str]


class Parents:
    """Drafts by any of their names. A context manager: the file is removed at its end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="packshot-parents-", ignore_cleanup_errors=True)
        self._db = sqlite3.connect(Path(self._folder.name) / "parents.db", isolation_level=None)
        self._taken = 0
        # A scratch file: nothing of it outlives this object, so nothing of it must survive a crash.
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN;"
            "CREATE TABLE parent (name TEXT PRIMARY KEY, draft TEXT) WITHOUT ROWID;"
            "CREATE TABLE child (name TEXT PRIMARY KEY, parent TEXT) WITHOUT ROWID;"
            "CREATE TABLE above (parent TEXT, child TEXT, PRIMARY KEY (parent, child)) WITHOUT ROWID;"
            "CREATE TABLE has_children (name TEXT PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE naming_parent (parent TEXT, serial INTEGER, shown TEXT, PRIMARY KEY (parent, serial))"
            " WITHOUT ROWID;"
            "CREATE TABLE naming_none (name TEXT PRIMARY KEY, shown TEXT) WITHOUT ROWID;"
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
        if draft.is_parent:
            packed = json.dumps(draft.packed())
            for name in dict.fromkeys((draft.product_key, *draft.names)):
                self._db.execute("INSERT OR IGNORE INTO parent VALUES (?, ?)", (name, packed))
                if draft.parent:
                    self._db.execute("INSERT OR IGNORE INTO above VALUES (?, ?)", (draft.parent, name))
            if not draft.parent:
                return
        shown = json.dumps((draft.status, draft.attributes, draft.image_refs))
        if draft.parent:
            self._taken += 1
            self._db.execute("INSERT INTO naming_parent VALUES (?, ?, ?)", (draft.parent, self._taken, shown))
        else:
            self._db.execute("INSERT OR IGNORE INTO naming_none VALUES (?, ?)", (_own_name(draft), shown))

    def line(self, name: str) -> list[Draft]:
        """The parent of that name, its own parent, and so on up; empty when it is not there."""
        found: list[Draft] = []
        names: set[str] = set()
        while name and name not in names:
            names.add(name)
            packed = self._db.execute("SELECT draft FROM parent WHERE name = ?", (name,)).fetchone()
            if packed is None:
                break
            found.append(Draft.unpacked(json.loads(packed[0])))
            name = found[-1].parent
        return found

    def parent_of(self, draft: Draft) -> str:
        """The name of the draft's parent, by its own word or by the parent's; empty when it has none."""
        if draft.parent:
            return draft.parent
        found = self._db.execute("SELECT parent FROM child WHERE name = ?", (_own_name(draft),)).fetchone()
        return str(found[0]) if found else ""

    def has_children(self, draft: Draft) -> bool:
        """Does any record say that it is a variant of this one, or does this one list any record?"""
        names = dict.fromkeys((draft.product_key, *draft.names))
        by_word = (self._db.execute("SELECT 1 FROM has_children WHERE name = ?", (name,)).fetchone() for name in names)
        return any(by_word) or any(True for _ in self._listed(draft, draft.product_key))

    def variants(self, draft: Draft, product_key: str) -> Iterator[Shown]:
        """What its variants look like, in file order or as it lists them. ``product_key``: its own, by its record."""
        for name in dict.fromkeys((product_key, *draft.names)):
            for (shown,) in self._db.execute(_BELOW, (name, VARIANTS_MAX)):
                yield Shown(*json.loads(shown))
        yield from self._listed(draft, product_key)

    def _listed(self, draft: Draft, product_key: str) -> Iterator[Shown]:
        query = "SELECT shown FROM child JOIN naming_none USING (name) WHERE name = ? AND parent = ?"
        for child in draft.children[:VARIANTS_MAX]:
            for (shown,) in self._db.execute(query, (child, product_key)):
                yield Shown(*json.loads(shown))


def _own_name(draft: Draft) -> str:
    return draft.sku or draft.product_key
