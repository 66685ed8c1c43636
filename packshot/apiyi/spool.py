"""The folder that holds what was paid for until it is archived."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from packshot.errors import Code, ConfigError, PackshotError

# A 4K answer and the image in it come to 90 MB. Better no call than one whose image finds no room.
LEAST_FREE = 256 * 1024 * 1024


def open_for_answer(path: Path) -> BinaryIO:
    """Create (or empty) the file for an answer, and its folder, before anything is paid for.

    Raises:
        ConfigError: the folder cannot be made or written.
        PackshotError: DISK_FULL, less than ``LEAST_FREE`` bytes are left.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free >= LEAST_FREE:
            return path.open("wb")
        found = f"{free // 2**20} MB are free"
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise ConfigError(
                Code.SETTINGS_INVALID, f"PACKSHOT_HOME: the spool {folder} cannot be written: {error.strerror}"
            ) from None
        found = "nothing is free"
    raise PackshotError(
        Code.DISK_FULL, f"{found} under {folder}, a call needs {LEAST_FREE // 2**20} MB; nothing was bought"
    )


def write_head(path: Path, status: int, request_ids: Mapping[str, str]) -> None:
    """Keep what an answer's headers say, so that it can be accounted for if this process dies before its end. The
    answer matters more: a disk that is full is left to it."""
    with contextlib.suppress(OSError):
        path.write_text(json.dumps({"status": status, "request_ids": request_ids}))


def read_head(path: Path) -> tuple[int | None, dict[str, str]]:
    """(HTTP status, request ids) as :func:`write_head` left them; (None, {}) when there are none."""
    try:
        head = json.loads(path.read_text())
        return int(head["status"]), {str(name): str(value) for name, value in head["request_ids"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None, {}


def files_of(spool: Path, name: str) -> list[Path]:
    """Everything that a call of that name can have left in the spool: the answer, its head, the image in it."""
    return [spool / f"{name}{suffix}" for suffix in (".body", ".head", ".img")]


def remove(spool: Path, name: str) -> None:
    """Empty the spool of a call that is over."""
    for path in files_of(spool, name):
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names of new files survive a power cut, as their bytes do, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot; the image is here all the same
            os.fsync(handle)
    finally:
        os.close(handle)


def beginning(path: Path, most: int) -> str:
    """The first bytes of a file as text, whatever they are."""
    with path.open("rb") as file:
        return file.read(most).decode("utf-8", "replace")
