"""Keeps a pool busy: a bounded number of tasks submitted at once, and retries put back until they are due.

A retry that waits holds no thread, and 100,000 images never become 100,000 futures.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar


class Future(Protocol):
    """What the futures of the standard library and of Prefect have in common."""

    def add_done_callback(self, fn: Callable[[Any], None], /) -> None: ...


F = TypeVar("F", bound=Future)

_QUIET = 0.05  # seconds without a result that make a moment quiet
_LONGEST_PAUSE = 1.0


class Room:
    """How many items may be unfinished at the same time, in all the windows that share it: ``size`` at first.

    Up to ``spare`` more are let in one by one in quiet moments. They stand ready for the moment when many items finish
    their main part at once, and do not get in the way of the first ones at the start.
    """

    def __init__(self, size: int, spare: int = 0) -> None:
        self._limit = size
        self._most = size + spare
        self.taken = 0
        self._lock = threading.Lock()
        self._drained: defaultdict[int, threading.Event] = defaultdict(threading.Event)

    @property
    def may_grow(self) -> bool:
        return self._limit < self._most

    @property
    def is_full(self) -> bool:
        return self.taken >= self._limit

    def grow(self) -> None:
        with self._lock:
            self._limit = min(self._limit + 1, self._most)

    def take(self) -> bool:
        """A place for one item; False when all are taken."""
        with self._lock:
            if self.taken >= self._limit:
                return False
            self.taken += 1
            return True

    def give_back(self) -> None:
        with self._lock:
            self.taken -= 1

    def drained(self, name: int) -> threading.Event:
        """Set once the window of that name has submitted all it began with: there is room for another one."""
        with self._lock:
            return self._drained[name]


class Window(Generic[F]):
    """Submits items while there is room, and yields (item, finished future).

    :meth:`put` adds an item, at the start and while iterating. Once ``stopped`` says so nothing new is submitted,
    except what was put in with ``last=True``: what is in the air comes home, the rest is left as it is.
    """

    def __init__(
        self,
        submit: Callable[[int], F],
        room: Room,
        name: int = 0,
        stopped: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._submit = submit
        self._room = room
        self._drained = room.drained(name)
        self._stopped = stopped
        self._now = now
        self._last: set[int] = set()
        self._ready: deque[int] = deque()
        self._waiting: list[tuple[float, int]] = []
        self._live = 0
        self._done: SimpleQueue[tuple[int, F]] = SimpleQueue()

    def put(self, item: int, delay: float = 0.0, last: bool = False) -> None:
        """Submit the item, not before ``delay`` seconds from now; without a delay in the order of putting. ``last``:
        also when all was stopped."""
        if last:
            self._last.add(item)
        else:
            self._last.discard(item)
        if delay > 0:
            heapq.heappush(self._waiting, (self._now() + delay, item))
        else:
            self._ready.append(item)

    def run(self) -> Iterator[tuple[int, F]]:
        """Work through what was put in, and what is put back meanwhile, until nothing is left."""
        while True:
            self._fill()
            if not (self._live or self._waiting or self._ready):
                return
            try:
                item, future = self._done.get(timeout=self._pause())
            except Empty:
                if self._ready:
                    self._room.grow()
                continue
            self._live -= 1
            self._room.give_back()
            yield item, future

    def _pause(self) -> float:
        """Seconds to wait for a result before looking whether a retry is due, a spare fits, or all was stopped."""
        if self._ready:  # there is no room, or it would have been submitted
            others = self._room.taken > self._live  # nobody tells us when they make room
            return _QUIET if others or self._room.may_grow else _LONGEST_PAUSE
        if self._waiting and not self._room.is_full:
            return max(0.0, min(self._waiting[0][0] - self._now(), _LONGEST_PAUSE))
        return _LONGEST_PAUSE

    def _fill(self) -> None:
        while (item := self._next()) is not None:
            self._live += 1
            self._submit(item).add_done_callback(partial(self._finished, item))
        if not self._ready:
            self._drained.set()

    def _next(self) -> int | None:
        """What is to be submitted now, with its place taken."""
        if self._stopped():
            self._ready = deque(item for item in self._ready if item in self._last)
            self._waiting = [(due, item) for due, item in self._waiting if item in self._last]
            heapq.heapify(self._waiting)
        is_due = bool(self._waiting) and self._waiting[0][0] <= self._now()
        if not (is_due or self._ready) or not self._room.take():
            return None
        return heapq.heappop(self._waiting)[1] if is_due else self._ready.popleft()

    def _finished(self, item: int, future: F) -> None:
        self._done.put((item, future))
