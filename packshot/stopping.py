"""Stopping in good order: no new call, and what is in the air comes home, because it is paid for.

The first Ctrl-C or SIGTERM asks this process's run to stop so. A second one, or the end of the drain time, settles what
is still in the air as unknown and ends the process; a third one ends it as it is, and the next run settles that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from packshot.errors import Code

EXIT_CODE = 130
LAST_SECONDS = 10.0  # the most that settling may take when the process is to end at once
CANCELLED = "cancelled in Prefect, or its worker was stopped"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STDERR = 2


class StopSwitch:
    """Whether this process is to stop, and how. Off until :meth:`armed`: a flow that a Prefect worker started is
    cancelled by Prefect's own handlers."""

    def __init__(self) -> None:
        self.reason: tuple[Code, str] | None = None
        self._drain: float | None = None
        self._at_work = 0  # blocks that obey, inside each other
        self._give_up: list[Callable[[], object]] = []
        self._drained: threading.Timer | None = None
        self._hard = False

    @contextmanager
    def armed(self, drain: float) -> Iterator[None]:
        """While the block is at work, signals are ours: a KeyboardInterrupt outside of :meth:`on_signals`; inside, the
        run stops in good order, and waits at most ``drain`` seconds for its calls."""
        self._drain = drain
        self.reason = None
        try:
            with self._ours():
                yield
        finally:
            self._drain = None

    @contextmanager
    def on_signals(self, give_up: Callable[[], object] | None = None) -> Iterator[None]:
        """The block looks at :attr:`reason` and ends in good order: a signal raises nothing in it, where it might break
        a transaction. Whoever put handlers of his own in place before has them back afterwards. ``give_up`` is called
        before the process ends at once."""
        if self._drain is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        self._at_work += 1
        if give_up:
            self._give_up.append(give_up)
        try:
            with self._ours():
                yield
        finally:
            if give_up:
                self._give_up.pop()
            self._at_work -= 1
            if self._drained and not self._at_work:
                self._drained.cancel()

    @contextmanager
    def _ours(self) -> Iterator[None]:
        before = [(number, signal.signal(number, self._received)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        if self._hard:
            os._exit(EXIT_CODE)
        if not self._at_work:  # nothing was bought, or all of it is written down
            raise KeyboardInterrupt
        if self.reason:
            self._end_now()
            return
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self.reason = (Code.STOP_REQUESTED, f"stopped by {name}")
        _say(f"{name}: no new calls; waiting up to {self._drain or 0:.0f} s for those in flight. Again: stop at once")
        self._drained = threading.Timer(self._drain or 0, self._end_now)
        self._drained.daemon = True
        self._drained.start()

    def _end_now(self) -> None:
        """In a thread of its own: the main thread may hold what this needs."""
        if not self._hard:
            self._hard = True
            threading.Thread(target=self._end, name="stop at once", daemon=True).start()

    def _end(self) -> None:
        late = threading.Timer(LAST_SECONDS, os._exit, (EXIT_CODE,))
        late.daemon = True
        late.start()
        message = "stopped at once: calls that were in flight are booked as unknown"
        for give_up in reversed(self._give_up):
            try:
                give_up()
            except Exception as error:  # noqa: BLE001  (whatever it is, the process ends, and says what it left)
                message = f"stopped at once ({type(error).__name__}): the next run settles what was in flight"
        _say(message)
        os._exit(EXIT_CODE)


def _say(text: str) -> None:
    """Past every buffer and lock: a signal may come while one is held."""
    clean = "\r\x1b[2K" if os.isatty(_STDERR) else ""  # a progress bar may stand in this line
    with contextlib.suppress(OSError):  # nobody reads any more
        os.write(_STDERR, f"{clean}{text}\n".encode())


SWITCH = StopSwitch()
"""This process's."""
