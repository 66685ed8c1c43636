"""The contact sheet of what is in the bucket: read back, drawn on one page, kept on this machine and in the bucket."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Engine

from packshot.catalog.model import product_name
from packshot.contact_sheet import SheetItem, shrink, write_contact_sheet
from packshot.db.queries import assets
from packshot.errors import ArchiveError, Code
from packshot.memory import give_back
from packshot.report import Report
from packshot.settings import Settings
from packshot.storage import ObjectStore
from packshot.storage.endpoint import is_loopback
from packshot.storage.keys import slug

FOLDER = "contact-sheets"
"""Where sheets are, below PACKSHOT_HOME and below each catalog in the bucket: they are no assets and have no rows."""

MOST = 120  # pictures on a sheet
THUMB = 240  # pixels
COLUMNS = 5  # of a sheet with a single shot
READERS = 4  # pictures at once; each may be in memory with its bytes and its pixels
PATIENCE = 15.0  # seconds for reading; what is not there by then is left out

Rows = Sequence[Mapping[str, Any]]
Thumbnails = dict[str, bytes | None]
"""By the object's key; None for a picture that is gone or broken."""


@dataclass(frozen=True, slots=True)
class RunSheet:
    """Where a run's sheet is. ``visible``: the address shows it to anybody, so also to who looks at the run."""

    path: Path
    key: str
    url: str
    visible: bool


def read_ahead(store: ObjectStore, engine: Engine, run_id: int, known: Thumbnails) -> None:
    """Read back what of the run's sheet is in the bucket by now, one picture after the other, into ``known``: while the
    run goes on there is time for it, at its end somebody waits."""
    for row in assets(engine, run_id=run_id, limit=MOST):
        if row["key"] not in known:
            known[row["key"]] = _thumbnail(store, row["key"])


def save_contact_sheet(
    store: ObjectStore,
    path: Path,
    title: str,
    rows: Rows,
    pictures: int | None = None,
    known: Thumbnails | None = None,
) -> None:
    """One JPEG with the first of these assets; ``pictures`` says of how many, for its foot. ``known`` are not read.

    Raises:
        ArchiveError: the store does not answer, or gave back no picture at all.
        OSError: the file cannot be written.
    """
    read = _read(store, rows[:MOST], known or {})
    several = len({row["shot"] for row, _ in read}) > 1
    items = []
    for row, image in read:
        name = product_name(row["product_key"], row["variant_key"])
        caption = name if several else f"{row['shot']}, {row['width']} x {row['height']}"
        shot = row["shot"] if several else ""
        items.append(SheetItem(image or b"", row["title"] or name, caption, name, shot))
    path.parent.mkdir(parents=True, exist_ok=True)
    more = (len(rows) if pictures is None else pictures) - len(items)
    write_contact_sheet(items, path, title=title, columns=COLUMNS, thumb=THUMB, more=more)


def run_sheet(settings: Settings, report: Report, known: Thumbnails | None = None) -> RunSheet:
    """Draw the sheet of the run's images, and put it into the bucket next to them. ``known``: see :func:`read_ahead`.

    Raises:
        ArchiveError, OSError: it could not be drawn or stored.
    """
    give_back()  # the page is the largest thing that a run makes, and the run's threads have ended
    run = report.run
    store = ObjectStore(settings)
    path = settings.home / FOLDER / f"run-{run.id}.jpg"
    save_contact_sheet(store, path, f"{run.catalog}, run {run.id}", report.assets, report.pictures, known)
    body = path.read_bytes()
    sha256 = hashlib.sha256(body).hexdigest()
    key = sheet_key(store.prefix, run.catalog, run.id or 0, sha256)
    md5 = hashlib.md5(body, usedforsecurity=False).digest()
    store.put_image(key, path, "image/jpeg", sha256, md5, {"run": str(run.id), "made-by": "packshot"})
    url = store.public_url(key)
    return RunSheet(path, key, url, _is_visible(url))


def sheet_key(prefix: str, catalog: str, run_id: int, sha256: str) -> str:
    """``{prefix}/{catalog}/contact-sheets/run-7-{sha256[:8]}.jpg``: one level above any asset, so none can be there.

    The hash keeps it immutable: another database may have a run of that number too.
    """
    return "/".join(filter(None, (prefix, slug(catalog), FOLDER, f"run-{run_id}-{sha256[:8]}.jpg")))


def _read(store: ObjectStore, rows: Rows, known: Thumbnails) -> list[tuple[Mapping[str, Any], bytes | None]]:
    """The thumbnails of as many of the rows as come in time; None where a picture is gone or broken."""
    deadline = time.monotonic() + PATIENCE
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="sheet")
    try:
        futures = {row["key"]: readers.submit(_thumbnail, store, row["key"]) for row in rows if row["key"] not in known}
        done, _ = wait(futures.values(), deadline - time.monotonic(), FIRST_EXCEPTION)
        found = dict(known) | {key: future.result() for key, future in futures.items() if future in done}
        read = [(row, found[row["key"]]) for row in rows if row["key"] in found]
    finally:
        readers.shutdown(wait=False, cancel_futures=True)
    if not any(image for _, image in read):
        raise ArchiveError(Code.S3_FAILED, f"none of {len(rows)} pictures could be read back within {PATIENCE:g} s")
    return read


def _thumbnail(store: ObjectStore, key: str) -> bytes | None:
    try:
        body = store.read(key)
    except ArchiveError as error:
        if error.details.get("http_status") == 404:
            return None
        raise
    return shrink(body, THUMB)


def _is_visible(url: str) -> bool:
    """Does a browser without credentials get it as a picture?"""
    try:
        with requests.Session() as session:
            session.trust_env = not is_loopback(url)
            # A callable as auth keeps requests from adding a password out of ~/.netrc.
            answer = session.head(url, timeout=(3, 5), auth=lambda request: request, allow_redirects=True)
    except requests.RequestException:
        return False
    return answer.status_code == 200 and answer.headers.get("Content-Type", "").startswith("image/")
