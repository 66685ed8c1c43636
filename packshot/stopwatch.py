"""Where the time of a process goes while it makes images. Measures only; :mod:`packshot.figures` makes sense of it.

Two questions, one set of marks. *Steps*: how long did each last? *Slots*: what was every call slot doing, at each
moment? The second follows from how many threads are inside each step, so it is right at any moment, also while calls
that last for minutes are in the air.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Step(StrEnum):
    """A part of an image's way, or of the process's."""

    __hash__ = str.__hash__  # an enum's own is slow Python, and every image takes some hundred looks

    IMAGE = "image"
    """One try at an image, all in all."""
    SLOT = "slot"
    """Waiting for a call slot."""
    TAKEN = "taken"
    """Holding a slot: the call, and what leads up to it."""
    CALL = "call"
    ARCHIVER = "archiver"
    """Waiting until it may be brought home."""
    DOWNLOAD = "download"
    CHECK = "check"
    UPLOAD = "upload"
    """With the look at what the store holds now."""
    DATABASE = "database"
    """One change of the ledger."""
    LIMIT = "limit"
    """The process waits for its slots of the limit that all runs share."""
    WORK = "work"
    """The process has them."""


_OF_SLOTS = {Step.IMAGE, Step.SLOT, Step.TAKEN, Step.CALL, Step.WORK}  # what the use of the slots follows from


class Use(StrEnum):
    """What a call slot is doing. At each moment each slot is in one of these."""

    CALLS = "calls"
    STARTING = "starting"
    """It is taken, or a thread is about to take it, and the call has not gone out."""
    HELD_BACK = "held_back"
    """An image is ready for it, and the throttle lets no call go out."""
    HOMEWARD = "homeward"
    """Images are in work, and none is ready for it: they are being brought home or written down."""
    NO_IMAGE = "no_image"
    """Fewer images in work than slots: the beginning, the end, retries that wait, tasks that start slowly."""


Timing = Callable[[Step], AbstractContextManager[object]]
"""Times what happens inside its ``with`` block as the step."""

FINENESS = 1.1
"""Each step's lengths are counted in classes; each class ends at so many times the end of the one below."""
_SHORTEST = 1e-4


def untimed(_step: Step) -> AbstractContextManager[object]:
    """For those who measure nothing."""
    return nullcontext()


def length_class(seconds: float) -> int:
    """The class of a length; see :func:`class_end`."""
    return math.floor(math.log(max(seconds, _SHORTEST), FINENESS))


def class_end(number: int) -> float:
    """The length that all of a class stay below, in seconds."""
    return float(FINENESS ** (number + 1))


def slot_use(slots: int, inside: Counter[Step], held_back: bool) -> tuple[int, int, int, int, int]:
    """How many slots are in each :class:`Use`, in its order, from how many threads are inside each step."""
    calls, taken, waiting = inside[Step.CALL], inside[Step.TAKEN], inside[Step.SLOT]
    free = max(slots - taken, 0)
    wanted = min(free, waiting)
    homeward = min(free - wanted, max(inside[Step.IMAGE] - taken - waiting, 0))
    starting = taken - calls + (0 if held_back else wanted)
    return calls, starting, wanted if held_back else 0, homeward, free - wanted - homeward


@dataclass(frozen=True, slots=True)
class Reading:
    """All that was measured so far. ``slot_seconds`` for each :class:`Use`: five slots for two seconds are ten.
    ``steps``: how often each ended (``times``), how long all of them took, and how many in each class of lengths."""

    seconds: float
    cpu_seconds: float
    slots: int
    images: int
    rate_limited: int
    slot_seconds: dict[str, float]
    steps: dict[str, dict[str, Any]]


class _Lengths:
    __slots__ = ("classes", "seconds", "times")

    def __init__(self) -> None:
        self.times = 0
        self.seconds = 0.0
        self.classes: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self.times += 1
        self.seconds += seconds
        self.classes[length_class(seconds)] += 1


class Stopwatch:
    """Shared by all threads that make images for one run. ``held_back`` says whether the throttle lets fewer calls out
    than there are slots."""

    def __init__(
        self,
        slots: int,
        held_back: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._slots = slots
        self._held_back = held_back
        self._now = now
        self._cpu = cpu
        self._lock = threading.Lock()
        self._began = self._last = now()
        self._cpu_began = cpu()
        self._was_held_back = False
        self._inside = Counter(dict.fromkeys(Step, 0))
        self._use = [0.0] * len(Use)
        self._steps = {step: _Lengths() for step in Step}
        self._counts: Counter[str] = Counter()

    def of(self, step: Step) -> Lap:
        """``with watch.of(step):`` times the block."""
        return Lap(self, step)

    def count(self, what: str) -> None:
        """One more of ``images`` or ``rate_limited``."""
        with self._lock:
            self._counts[what] += 1

    def read(self) -> Reading:
        """What was measured until now. A step that goes on is not in ``steps`` yet; the slots' time is up to now."""
        with self._lock:
            now = self._now()
            self._pass(now)
            return Reading(
                seconds=round(now - self._began, 3),
                cpu_seconds=round(self._cpu() - self._cpu_began, 3),
                slots=self._slots,
                images=self._counts["images"],
                rate_limited=self._counts["rate_limited"],
                slot_seconds={use.value: round(seconds, 3) for use, seconds in zip(Use, self._use, strict=True)},
                steps={
                    step.value: {
                        "times": lengths.times,
                        "seconds": round(lengths.seconds, 3),
                        "classes": {str(number): times for number, times in sorted(lengths.classes.items())},
                    }
                    for step, lengths in self._steps.items()
                    if lengths.times
                },
            )

    def switch(self, left: Step | None, since: float, entered: Step | None) -> float:
        """This thread leaves one step, in which it was ``since`` then, and enters another. Returns the time."""
        with self._lock:
            now = self._now()
            of_slots = left in _OF_SLOTS or entered in _OF_SLOTS
            if of_slots:
                self._pass(now)
            if left is not None:
                self._inside[left] -= 1
                self._steps[left].add(now - since)
            if entered is not None:
                self._inside[entered] += 1
            if of_slots:
                self._was_held_back = self._held_back()
            return now

    def _pass(self, now: float) -> None:
        """Book the time since the slots' last mark. Outside of WORK they are not ours."""
        passed, self._last = now - self._last, now
        if self._inside[Step.WORK] and passed:
            for number, slots in enumerate(slot_use(self._slots, self._inside, self._was_held_back)):
                if slots:
                    self._use[number] += slots * passed


class Lap:
    """One timing. :meth:`then` goes over to another step, :meth:`end` ends it before its block does."""

    __slots__ = ("_since", "_step", "_watch")

    def __init__(self, watch: Stopwatch, step: Step) -> None:
        self._watch = watch
        self._step: Step | None = step
        self._since = 0.0

    def __enter__(self) -> Self:
        self._since = self._watch.switch(None, 0.0, self._step)
        return self

    def then(self, step: Step | None) -> None:
        self._since = self._watch.switch(self._step, self._since, step)
        self._step = step

    def end(self) -> None:
        if self._step is not None:
            self.then(None)

    def __exit__(self, *_: object) -> None:
        self.end()
