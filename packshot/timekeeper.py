"""Writes down what a studio's stopwatch says, every few seconds and at the end."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict
from datetime import timedelta

from packshot.db.ledger import Ledger
from packshot.db.patience import patiently
from packshot.db.timesheets import write_sheet
from packshot.stopwatch import Stopwatch
from packshot.worker import new_claim

logger = logging.getLogger(__name__)


class Timekeeper:
    """The time sheet of one studio of a run. It is always written whole: what is written twice is not counted twice,
    and of a process that dies the last sheet holds. These are no books, so a failure here is a line in the log."""

    def __init__(self, ledger: Ledger, run_id: int | None, watch: Stopwatch) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._watch = watch
        self._name = new_claim(ledger.worker)
        self._began = ledger.now()
        self._lock = threading.Lock()

    def note(self, patience: float = 0.0) -> None:
        """Write what was measured until now. ``patience``: seconds for a database that is away."""
        if self._run_id is None:
            return
        try:
            with self._lock:  # an older reading must not come after a newer one
                reading = self._watch.read()
                seen = self._began + timedelta(seconds=reading.seconds)
                whose = {"name": self._name, "run_id": self._run_id, "began_at": self._began, "seen_at": seen}
                patiently(lambda _: write_sheet(self._ledger, whose | asdict(reading)), patience)
        except Exception as error:  # noqa: BLE001
            logger.warning("the run's figures could not be written down: %s", type(error).__name__)
