"""A run's own figures: how fast it was, and where the time went. Pure: from the time sheets of its processes, which
:mod:`packshot.stopwatch` measured. What to make of them says :mod:`packshot.advice`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from packshot.db.tables import Timesheet
from packshot.stopwatch import Step, Use, class_end

_STEPS = {
    Step.SLOT: "waiting for a call slot",
    Step.CALL: "provider (the call)",
    Step.ARCHIVER: "waiting to be brought home",
    Step.DOWNLOAD: "download",
    Step.CHECK: "check (decode)",
    Step.UPLOAD: "upload, and looking that it is there",
    Step.DATABASE: "database (each change)",
}
_USES = {
    Use.CALLS: "calls",
    Use.STARTING: "calls about to go out",
    Use.HELD_BACK: "held back after 429s or failures",
    Use.HOMEWARD: "no image in work was ready for a call",
    Use.NO_IMAGE: "fewer images in work than slots",
}


@dataclass(frozen=True, slots=True)
class StepTime:
    """How often a step ended, how long all of them took together, and the length that 95 % of them stayed below (to
    the next tenth)."""

    times: int = 0
    seconds: float = 0.0
    p95: float = 0.0

    @property
    def mean(self) -> float:
        return self.seconds / self.times if self.times else 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run's processes measured together, from ``began_at`` to ``seen_at``; of one that died, until a few seconds
    before. ``slots``: calls at once of each process. ``slot_seconds``: what the slots did, while they were the run's.
    ``processors``: how many of them each process used."""

    database: str
    began_at: datetime
    seen_at: datetime
    slots: int
    images: int
    rate_limited: int
    processors: float
    slot_seconds: Mapping[Use, float]
    steps: Mapping[Step, StepTime]

    @property
    def seconds(self) -> float:
        return (self.seen_at - self.began_at).total_seconds()

    @property
    def images_a_minute(self) -> float:
        return 60 * self.images / self.seconds if self.seconds > 0 else 0.0

    @property
    def calls(self) -> int:
        return self.steps[Step.CALL].times

    @property
    def slot_time(self) -> float:
        """Slots x seconds."""
        return sum(self.slot_seconds[use] for use in Use)

    @property
    def processes(self) -> int:
        """How many worked at the same time, on the average."""
        return max(1, round(self.slot_time / (self.slots * self.seconds))) if self.slots and self.seconds else 1

    def share(self, use: Use) -> float:
        """Of the slots' time; 0 to 1."""
        return self.slot_seconds[use] / (self.slot_time or 1.0)


def figures_of(sheets: Sequence[Timesheet], database: str) -> Figures | None:
    """``database``: the name of its dialect. None where no image was in work."""
    at_work = [sheet for sheet in sheets if Step.IMAGE in sheet.steps or sheet.slot_seconds.get(Use.CALLS)]
    if not at_work:
        return None
    calling = [sheet for sheet in at_work if any(sheet.slot_seconds.values())] or at_work
    return Figures(
        database=database,
        began_at=min(sheet.began_at for sheet in at_work),
        seen_at=max(sheet.seen_at for sheet in at_work),
        slots=max(sheet.slots for sheet in calling),
        images=sum(sheet.images for sheet in at_work),
        rate_limited=sum(sheet.rate_limited for sheet in at_work),
        processors=sum(sheet.cpu_seconds for sheet in calling) / (sum(sheet.seconds for sheet in calling) or 1.0),
        slot_seconds={use: sum(sheet.slot_seconds.get(use, 0.0) for sheet in at_work) for use in Use},
        steps={step: _together([sheet.steps[step] for sheet in at_work if step in sheet.steps]) for step in Step},
    )


def _together(parts: Sequence[Mapping[str, Any]]) -> StepTime:
    classes: Counter[int] = Counter()
    for part in parts:
        classes.update({int(number): times for number, times in part["classes"].items()})
    return StepTime(sum(part["times"] for part in parts), sum(part["seconds"] for part in parts), _p95(classes))


def _p95(classes: Counter[int]) -> float:
    left = classes.total() * 0.95
    for number, times in sorted(classes.items()):
        left -= times
        if left <= 1e-9:
            return class_end(number)
    return 0.0


# --- as plain values -------------------------------------------------------------------------------------------
def facts(figures: Figures) -> dict[str, Any]:
    """For JSON. Shares are 0 to 1, lengths are in seconds."""
    return {
        "began_at": figures.began_at.isoformat(),
        "seen_at": figures.seen_at.isoformat(),
        "seconds": round(figures.seconds, 3),
        "images": figures.images,
        "images_a_minute": round(figures.images_a_minute, 2),
        "processes": figures.processes,
        "slots": figures.slots,
        "slots_busy": round(figures.share(Use.CALLS), 4),
        "slot_seconds": {use.value: round(seconds, 3) for use, seconds in figures.slot_seconds.items()},
        "rate_limited": figures.rate_limited,
        "waited_for_limit": round(figures.steps[Step.LIMIT].seconds, 3),
        "processors": round(figures.processors, 3),
        "steps": {
            step.value: {
                "times": figures.steps[step].times,
                "mean": round(figures.steps[step].mean, 4),
                "p95": round(figures.steps[step].p95, 4),
                "seconds": round(figures.steps[step].seconds, 3),
            }
            for step in _STEPS
        },
    }


def slot_rows(figures: Figures) -> Iterator[tuple[str, str]]:
    """(what the slots did, share of their time), nothing where no slot was the run's."""
    if figures.slot_time:
        yield from ((words, percent(figures.share(use), 1)) for use, words in _USES.items())


def step_rows(figures: Figures) -> Iterator[tuple[str, int, str, str, str]]:
    """(step, times, mean, 95 % within, total) of those that happened."""
    for step, words in _STEPS.items():
        found = figures.steps[step]
        if found.times:
            yield words, found.times, duration(found.mean), duration(found.p95), duration(found.seconds)


def percent(share: float, digits: int = 0) -> str:
    """``97 %`` of 0.97."""
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float) -> str:
    """``8 ms``, ``2.4 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
