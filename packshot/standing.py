"""How a run stands while it goes on, in words, and how long it may still take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packshot.db.types import JobState


@dataclass(frozen=True, slots=True)
class Standing:
    """Counts of the images that the run has to see to. ``seconds_left`` is None while nobody can say; ``held_for``:
    seconds for which calls wait because the provider asked for a pause, or kept failing."""

    size: int
    archived: int
    failed: int
    held: int
    spent_micro: int
    seconds_left: float | None = None
    held_for: float = 0.0

    @property
    def done(self) -> int:
        """Images that this run is through with, in whatever way."""
        return self.archived + self.failed + self.held

    @property
    def percent(self) -> float:
        """Of the images, those that are done, to one decimal place: it is shown as it is."""
        return round(100 * self.done / self.size, 1) if self.size else 100.0

    @property
    def text(self) -> str:
        """``640 of 1,000 images done, 8 failed, 2 held; $57.60 so far; about 12 min left``."""
        bad = [f"{number:,} {word}" for number, word in ((self.failed, "failed"), (self.held, "held")) if number]
        parts = [
            ", ".join([f"{self.done:,} of {self.size:,} images done", *bad]),
            f"${self.spent_micro / 1e6:,.2f} so far",
        ]
        if self.seconds_left is not None and self.done < self.size:
            parts.append(f"{in_words(self.seconds_left)} left")
        if self.held_for:
            parts.append(f"calls wait {self.held_for:.0f} s for the provider")
        return "; ".join(parts)


class Pace:
    """The run's own speed since it was first looked at. ``now`` is in seconds, of any clock that only goes forward;
    ``at_once``: as many images are in work together, and the first of them tell nothing about the speed."""

    def __init__(self, done: int, now: float, at_once: int) -> None:
        self._first = done
        self._since = now
        self._at_once = at_once

    def seconds_left(self, done: int, size: int, now: float) -> float | None:
        """At the pace so far; None as long as nobody can say. What was done before counts for nothing: it may have
        been held before the run began."""
        if done - self._first < self._at_once:
            return None
        return (now - self._since) * (size - done) / (done - self._first)


def standing_of(
    states: Mapping[str, int], spent_micro: int, pace: Pace | None, now: float, held_for: float
) -> Standing:
    """From the number of the run's jobs in each state."""
    archived, failed, held = (states.get(state, 0) for state in (JobState.ARCHIVED, JobState.FAILED, JobState.HELD))
    size = sum(states.values())
    left = pace.seconds_left(archived + failed + held, size, now) if pace else None
    return Standing(size, archived, failed, held, spent_micro, left, held_for)


def in_words(seconds: float) -> str:
    """``about 40 s``, ``about 12 min``, ``about 2 h 50 min``: no finer than an estimate can be."""
    if seconds < 90:
        return f"about {max(10 * round(seconds / 10), 10)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {minutes} min"
    hours, minutes = divmod(10 * round(seconds / 600), 60)
    return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"
