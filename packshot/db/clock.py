"""What time it is for everybody who shares a database: leases must not depend on how well a machine's clock is set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from packshot.db.engine import unpooled

ASK_EVERY = 60.0  # seconds
AGAIN_AFTER = 5.0  # seconds, if there was no answer


def _machine_clock() -> datetime:
    return datetime.now(UTC)


class ServerClock:
    """The server's clock, asked now and then and carried on by this machine's steady one in between."""

    def __init__(self, engine: Engine, steady: Callable[[], float] = time.monotonic) -> None:
        # Never by the pool: those who ask what time it is may hold all its connections.
        self._engine = unpooled(engine)
        self._steady = steady
        self._lock = threading.Lock()
        self._ask_at = steady()
        self._asked: tuple[float, datetime] | None = None

    def __call__(self) -> datetime:
        # One asks; the others wait for the first answer only.
        if self._steady() >= self._ask_at and self._lock.acquire(blocking=self._asked is None):
            try:
                if self._steady() >= self._ask_at:
                    self._ask()
            finally:
                self._lock.release()
        if self._asked is None:
            return _machine_clock()
        since, then = self._asked
        return then + timedelta(seconds=self._steady() - since)

    def _ask(self) -> None:
        try:
            # Outside of any transaction: inside one the server's time stands still.
            with self._engine.connect() as connection:
                found = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        except SQLAlchemyError:  # it is away: the last answer, carried on, is the best there is
            self._ask_at = self._steady() + AGAIN_AFTER
            return
        self._asked = (self._steady(), found.astimezone(UTC))
        self._ask_at = self._steady() + ASK_EVERY


@lru_cache(maxsize=8)
def database_clock(engine: Engine) -> Callable[[], datetime]:
    """The clock of that database. SQLite has none of its own: whoever uses it is on the same machine."""
    return ServerClock(engine) if engine.dialect.name == "postgresql" else _machine_clock
