"""Makes threads wait until their call may begin, and lets calls go before other work."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from packshot.errors import PackshotError
from packshot.throttle import Throttle, Ticket

_COURTESY = 1.0  # most seconds that other work waits for calls to begin
_LOOK = 0.25  # seconds after which the first in the queue looks whether all was stopped


class Slot:
    """The right to make one call."""

    def __init__(self, ended: Callable[[PackshotError | None], None]) -> None:
        self.ended = ended
        """Told once how the call went: the error it ended with, None for an image. A call that was not made is not
        told of. From here on other calls obey what this one learnt."""


class CallSlots:
    """As many calls at once as the throttle allows; a slot is held for one call and nothing else.

    First come, first served. ``stopped`` is asked without the lock; it ends all waiting within a moment.

    :meth:`calls_first` makes other work wait while a slot is taken but its call has not gone out yet: an idle slot
    costs more than a picture that comes home a moment later.
    """

    def __init__(self, throttle: Throttle, stopped: Callable[[], bool]) -> None:
        self._throttle = throttle
        self._stopped = stopped
        self._lock = threading.Lock()
        self._queue: deque[threading.Condition] = deque()  # only the first watches the clock, the others sleep
        self._beginning: set[int] = set()
        self._none_beginning = threading.Condition(self._lock)

    @property
    def taken(self) -> int:
        """Slots in use, one's own included."""
        return self._throttle.in_air

    @contextmanager
    def take(self) -> Iterator[Slot | None]:
        """Wait for a slot and hold it. The holder says :meth:`sent` when its call goes out, and tells the slot how
        it ended. None: all was stopped or is hopeless, and no call may be made."""
        ticket = self._wait_for_turn()
        if ticket is None:
            yield None
            return
        try:
            yield Slot(lambda error: self._ended(ticket, error))
        finally:
            self.sent()
            with self._lock:
                self._throttle.landed(ticket)
                self._wake_first()

    def sent(self) -> None:
        """The call of this thread's slot is on its way, or will not be made."""
        with self._lock:
            self._beginning.discard(threading.get_ident())
            if not self._beginning:
                self._none_beginning.notify_all()

    def calls_first(self) -> None:
        """Return when no call is about to begin, or after a second."""
        with self._lock:
            self._none_beginning.wait_for(lambda: not self._beginning, _COURTESY)

    # --- the queue --------------------------------------------------------------------------------------------
    def _wait_for_turn(self) -> Ticket | None:
        turn = threading.Condition(self._lock)
        with self._lock:
            self._queue.append(turn)
        try:
            while not (self._stopped() or self._throttle.hopeless):
                with self._lock:
                    if self._queue[0] is not turn:
                        turn.wait()
                    elif (seconds := self._throttle.wait()) > 0:
                        turn.wait(min(seconds, _LOOK))
                    else:
                        self._beginning.add(threading.get_ident())
                        return self._throttle.begin()
            return None
        finally:
            with self._lock:
                self._queue.remove(turn)
                self._wake_first()

    def _ended(self, ticket: Ticket, error: PackshotError | None) -> None:
        with self._lock:
            self._throttle.ended(ticket, error)  # whom it lets in is woken when this slot is free

    def _wake_first(self) -> None:
        if self._queue:
            self._queue[0].notify()
