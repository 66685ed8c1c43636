"""How many calls may be in the air at once in this process, and who goes first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_COURTESY = 1.0  # most seconds that other work waits for calls to begin


class CallSlots:
    """``size`` calls at once; a slot is held for one call and nothing else.

    :meth:`calls_first` makes other work wait while a slot is taken but its call has not gone out yet: an idle slot
    costs more than a picture that comes home a moment later.
    """

    def __init__(self, size: int) -> None:
        self._free = threading.BoundedSemaphore(size)
        self._changed = threading.Condition()
        self._beginning: set[int] = set()
        self._taken = 0

    @property
    def taken(self) -> int:
        """Slots in use, one's own included."""
        return self._taken

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for a slot and hold it. The holder says :meth:`sent` when its call goes out."""
        with self._free:
            with self._changed:
                self._taken += 1
                self._beginning.add(threading.get_ident())
            try:
                yield
            finally:
                self.sent()
                with self._changed:
                    self._taken -= 1

    def sent(self) -> None:
        """The call of this thread's slot is on its way, or will not be made."""
        with self._changed:
            self._beginning.discard(threading.get_ident())
            self._changed.notify_all()

    def calls_first(self) -> None:
        """Return when no call is about to begin, or after a second."""
        with self._changed:
            self._changed.wait_for(lambda: not self._beginning, _COURTESY)
