"""What time it is for everybody who shares a database: leases must not depend on how well a machine's clock is set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

ASK_EVERY = 60.0  # seconds


def _machine_clock() -> datetime:
    return datetime.now(UTC)


class ServerClock:
    """The server's clock, asked now and then and carried on by this machine's steady one in between."""

    def __init__(self, engine: Engine, steady: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._steady = steady
        self._lock = threading.Lock()
        self._asked: tuple[float, datetime] | None = None

    def __call__(self) -> datetime:
        with self._lock:
            if self._asked is None or self._steady() - self._asked[0] > ASK_EVERY:
                self._ask()
            if self._asked is None:
                return _machine_clock()
            since, then = self._asked
            return then + timedelta(seconds=self._steady() - since)

    def _ask(self) -> None:
        try:
            # On a connection of its own: inside a transaction the server's time stands still.
            with self._engine.connect() as connection:
                found = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        except SQLAlchemyError:  # it is away: the last answer, carried on, is the best there is
            return
        self._asked = (self._steady(), found.astimezone(UTC))


@lru_cache(maxsize=8)
def database_clock(engine: Engine) -> Callable[[], datetime]:
    """The clock of that database. SQLite has none of its own: whoever uses it is on the same machine."""
    return ServerClock(engine) if engine.dialect.name == "postgresql" else _machine_clock
