"""Images that were paid for come home: needs no catalog and buys nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from packshot.db.abandoned import price_of_lost, received_jobs
from packshot.db.running import close_dead
from packshot.db.types import JobState
from packshot.errors import Code
from packshot.outcome import Outcome
from packshot.recovery import Recovered, recover
from packshot.settings import Settings
from packshot.studio import ARCHIVES_AT_ONCE, Studio
from packshot.window import Future, Room, Window

F = TypeVar("F", bound=Future)


@dataclass(frozen=True, slots=True)
class Rescued:
    """What became of the images that were paid for and not home yet. ``lost`` ones cost ``lost_micro``."""

    recovered: Recovered
    archived: int = 0
    held: int = 0
    lost: int = 0
    lost_micro: int = 0
    waiting: int = 0
    dead_flow_runs: tuple[str, ...] = ()
    """Flow runs whose process died, which Prefect may believe alive."""

    @property
    def headline(self) -> str:
        """One sentence with the numbers that matter."""
        parts = [f"{self.archived} images brought home"]
        parts += [f"{self.lost} lost, which cost ${self.lost_micro / 1e6:.2f}"] * bool(self.lost)
        parts += [f"{self.held} held"] * bool(self.held)
        parts += [f"{self.waiting} still to be brought home"] * bool(self.waiting)
        return ", ".join(parts) + (f"; {self.recovered.headline}" if self.recovered.headline else "")


class RescueFailed(Exception):
    """A rescue after which something is lost, or still not home."""

    def __init__(self, rescued: Rescued) -> None:
        super().__init__(rescued)
        self.rescued = rescued

    def __str__(self) -> str:
        return self.rescued.headline


def bring_home(
    studio: Studio, submit: Callable[[int, str], F], outcome_of: Callable[[F], object]
) -> tuple[Counter[str], int]:
    """Archive everything that was received and is nobody's, the nearest end of a URL first.

    ``submit`` starts one job, given with its label; ``outcome_of`` reads the finished future. Returns how many jobs
    came to which state, those that were lost as ``lost``, and what the lost ones cost in micro-dollars.
    """
    labels = dict(received_jobs(studio.ledger))
    window = Window(lambda job_id: submit(job_id, labels[job_id]), Room(ARCHIVES_AT_ONCE))
    for job_id in labels:
        window.put(job_id)
    ended: dict[int, str] = {}
    for job_id, future in window.run():
        outcome = outcome_of(future)
        if isinstance(outcome, Outcome):
            ended[job_id] = Code.LOST.value if outcome.code is Code.LOST else outcome.state.value
            if outcome.retry_in is not None and outcome.state is JobState.GENERATED:
                window.put(job_id, outcome.retry_in)
    lost = [job_id for job_id, state in ended.items() if state == Code.LOST]
    return Counter(ended.values()), price_of_lost(studio.ledger, lost)


def note_of_lost(states: Counter[str], lost_micro: int) -> list[str]:
    """What to say of images whose temporary URL ended before they were home; nothing if there are none."""
    lost = f"{states[Code.LOST]} images that were paid for are lost, ${lost_micro / 1e6:.2f}: their URLs ended too soon"
    return [lost] * bool(states[Code.LOST])


def rescue(studio: Studio, submit: Callable[[int, str], F], outcome_of: Callable[[F], object]) -> Rescued:
    """Settle what dead processes left, then bring home what was paid for. Safe at any moment, also beside a run.

    Raises:
        ArchiveError: the bucket cannot be used; nothing was changed.
    """
    studio.store.check_bucket()
    recovered = recover(studio.settings, studio.ledger)
    dead_flow_runs = close_dead(studio.ledger)
    with studio.client, studio.pulse.watch(studio.ledger):
        states, lost_micro = bring_home(studio, submit, outcome_of)
    return Rescued(
        recovered=recovered,
        archived=states[JobState.ARCHIVED],
        held=states[JobState.HELD],
        lost=states[Code.LOST],
        lost_micro=lost_micro,
        waiting=states[JobState.GENERATED],
        dead_flow_runs=tuple(dead_flow_runs),
    )


def rescue_here(settings: Settings) -> Rescued:
    """:func:`rescue` with threads of this process; needs no Prefect."""
    studio = Studio(settings)
    with ThreadPoolExecutor(ARCHIVES_AT_ONCE, thread_name_prefix="rescue") as pool:
        return rescue(studio, lambda job_id, _label: pool.submit(studio.make, job_id), lambda future: future.result())
