"""The pulse of this process: it renews what the process has claimed, and learns when a run is asked to stop."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from packshot.db.ledger import Ledger
from packshot.db.running import beat, stop_requested

LOOK_EVERY = 1.0  # most seconds between two looks whether a run was asked to stop
BEATS_A_LEASE = 4

logger = logging.getLogger(__name__)


class Pulse:
    """One thread a process and database, alive while there is a run to watch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: Counter[int | None] = Counter()
        self._thread: threading.Thread | None = None
        self.stop_requested: frozenset[int] = frozenset()
        """The watched runs that were asked to stop."""

    @contextmanager
    def watch(self, ledger: Ledger, run_id: int | None = None) -> Iterator[None]:
        """Keep the claims of this process alive, and watch the run if there is one, while the block is at work."""
        with self._changed:
            self._watched[run_id] += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._live, args=(ledger,), name="pulse", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._watched[run_id] -= 1
                self._changed.notify_all()

    def _live(self, ledger: Ledger) -> None:
        beat_every = ledger.lease.total_seconds() / BEATS_A_LEASE
        pause = min(LOOK_EVERY, beat_every)
        looks_a_beat = int(beat_every / pause)
        looks = 0
        while True:
            with self._changed:
                self._watched = +self._watched
                if not self._watched:
                    self._thread = None
                    return
                watched = [run_id for run_id in self._watched if run_id is not None]
            try:
                self.stop_requested = frozenset(stop_requested(ledger, watched))
                if looks % looks_a_beat == 0:
                    beat(ledger)
                looks += 1
            except SQLAlchemyError as error:  # those who must write wait for the database themselves
                logger.debug("no pulse: %s", type(error).__name__)
            with self._changed:
                self._changed.wait(pause)


@lru_cache(maxsize=8)
def pulse_of(engine: Engine) -> Pulse:
    """This process's pulse on that database."""
    return Pulse()
