"""What to do while the database is away: wait for it. A call that was paid for must be written down."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import stamina
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError

T = TypeVar("T")

logger = logging.getLogger(__name__)
logging.getLogger("stamina").setLevel(logging.ERROR)  # it would name each try, and neither what nor why

# PostgreSQL's classes of errors that pass: connection lost, out of resources (a full disk among them), operator's
# shutdown, and transactions that lost against each other.
_PASSING = ("08", "53", "57P", "40")
_SQLITE_PASSING = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
}  # fmt: skip


def is_away(error: Exception) -> bool:
    """True for a failure that is not the statement's fault and may be gone in a moment."""
    if isinstance(error, TimeoutError):  # every connection of the pool is in use
        return True
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_PASSING
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # it comes from this side: about the connection, or about a value that cannot be sent
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or str(state).startswith(_PASSING)


def patiently(act: Callable[[bool], T], patience: float) -> T:
    """``act(again)``, once more while the database is away, for ``patience`` seconds; then its error is raised.

    ``again`` is true from the second time on: what was sent before may have been committed all the same.
    """
    try:
        return act(False)
    except Exception as error:
        if not patience or not is_away(error):
            raise
    # Only now: a retry that is not needed costs more than what it watches over.
    logger.warning("the database is away; whoever has to write something down waits %.0f s for it", patience)
    for attempt in stamina.retry_context(
        on=is_away, attempts=None, timeout=patience, wait_initial=0.1, wait_max=5.0, wait_jitter=0.5
    ):
        with attempt:
            return act(True)
    raise AssertionError("a retry ends with a result or an error")
