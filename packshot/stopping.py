"""Stopping in good order: no new call, and what is in the air comes home, because it is paid for.

The first Ctrl-C or SIGTERM asks this process's runs to stop so. A second one, or the end of the drain time, settles
what is still in the air as unknown and ends the process; a third one ends it as it is, and the next run settles that.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from packshot.errors import Code

EXIT_CODE = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSwitch:
    """Whether this process is to stop, and how. Off until :meth:`arm`: a flow that a Prefect worker started is
    cancelled by Prefect's own handlers."""

    def __init__(self) -> None:
        self.reason: tuple[Code, str] | None = None
        self._drain: float | None = None
        self._give_up: list[Callable[[], object]] = []
        self._hard = False

    def arm(self, drain: float) -> None:
        """Let signals stop this process's runs; they wait at most ``drain`` seconds for their calls."""
        self._drain = drain
        self.reason = None

    @contextmanager
    def on_signals(self, give_up: Callable[[], object]) -> Iterator[None]:
        """Obey signals while the block is at work. ``give_up`` is called before the process ends at once."""
        if self._drain is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        self._give_up.append(give_up)
        before = [(number, signal.signal(number, self._received)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)
            self._give_up.pop()

    def _received(self, number: int, _frame: FrameType | None) -> None:
        if self._hard:
            os._exit(EXIT_CODE)
        if self.reason:
            self._end_now()
            return
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self.reason = (Code.STOP_REQUESTED, f"stopped by {name}")
        _say(f"{name}: no new calls; those in the air come home, within {self._drain:.0f} s. Again: stop now")
        drained = threading.Timer(self._drain or 0, self._end_now)
        drained.daemon = True
        drained.start()

    def _end_now(self) -> None:
        """In a thread of its own: the main thread may hold what this needs."""
        if not self._hard:
            self._hard = True
            threading.Thread(target=self._end, name="stop now", daemon=True).start()

    def _end(self) -> None:
        try:
            for give_up in reversed(self._give_up):
                give_up()
        finally:
            _say("stopped: calls that were in the air are booked as unknown")
            os._exit(EXIT_CODE)


def _say(text: str) -> None:
    """Past every buffer and lock: a signal may come while one is held."""
    os.write(sys.stderr.fileno(), f"{text}\n".encode())


SWITCH = StopSwitch()
"""This process's."""
