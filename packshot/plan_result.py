"""What planning came to: the figures of a plan, and what its images are expected to cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from packshot.catalog.model import Counts, Reject
from packshot.db.catalog_diff import CatalogDiff
from packshot.db.types import JobState
from packshot.forecast import Forecast, limit_notes, observed_rates, spent_on
from packshot.settings import Settings
from packshot.shots import ImageJob

NOT_TO_MAKE = (JobState.ARCHIVED, JobState.HELD, JobState.GENERATED)
"""Jobs in these states have their image, or wait for a person."""


@dataclass(slots=True)
class Plan:
    """What a run would do. Money is micro-dollars."""

    catalog: str
    counts: Counts = field(default_factory=Counts)
    notes: list[str] = field(default_factory=list)
    jobs: int = 0
    already: int = 0
    held: int = 0
    to_archive: int = 0
    """Paid for already, still to be brought home."""
    forecast: Forecast = field(default_factory=Forecast)
    """The images to make."""
    first_rejects: list[Reject] = field(default_factory=list)
    left_out: int = 0
    """Products of the catalog that were read, and that the run is not for."""
    without_photo: int = 0
    """Images that go on without a photo which cannot be read."""
    read_in_part: str = ""
    """Why not all products of the catalog were looked at; empty when they were."""
    diff: CatalogDiff = field(default_factory=CatalogDiff)
    """What changed in the catalog since earlier runs."""
    first_changes: list[dict[str, Any]] = field(default_factory=list)
    """A hundred of them; of a run, the database has all."""

    @property
    def to_make(self) -> int:
        return self.forecast.images

    @property
    def cost_micro(self) -> int:
        """If each image takes one call."""
        return self.forecast.plain_micro

    @property
    def by_shot(self) -> dict[str, int]:
        """Images to make."""
        return {name: share.images for name, share in self.forecast.by_shot.items()}

    @property
    def headline(self) -> str:
        """One sentence with the numbers that matter."""
        parts = [f"{self.counts.records} records", f"{self.jobs} images wanted", f"{self.already} are permanent"]
        parts += [f"{self.held} held"] * bool(self.held)
        parts += [f"{self.to_archive} paid for and to bring home"] * bool(self.to_archive)
        plain, expected = f"${self.cost_micro / 1e6:.2f}", f"${self.forecast.expected_micro / 1e6:.2f}"
        parts.append(f"{self.to_make} to make for {plain}")
        parts += [f"{expected} expected with the calls that fail"] * (plain != expected)
        return f"catalog {self.catalog}: {', '.join(parts)}"

    def facts(self) -> dict[str, Any]:
        """The plan as plain values; dollars instead of micro-dollars."""
        names = (
            "catalog", "jobs", "already", "held", "to_archive", "to_make", "left_out", "without_photo", "first_changes",
            "notes",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names} | {
            "counts": asdict(self.counts),
            "products": self.diff.facts(),
            "cost_usd": self.cost_micro / 1e6,
            **self.forecast.facts(),
            "first_rejects": [asdict(reject) for reject in self.first_rejects],
        }

    def add(self, job: ImageJob, category: str, state: JobState, price_micro: int) -> None:
        self.jobs += 1
        self.without_photo += bool(job.left_out)
        if state is JobState.ARCHIVED:
            self.already += 1
        elif state is JobState.HELD:
            self.held += 1
        elif state is JobState.GENERATED:
            self.to_archive += 1
        else:
            self.forecast.add(job.shot, category, job.model, price_micro)


def foresee(
    plan: Plan,
    engine: Engine,
    settings: Settings,
    max_cost_usd: float = 0,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Plan:
    """Tell the plan what images took so far, and add a note for each maximum that it is expected to go beyond.

    ``max_cost_usd``: of this run, in dollars; 0: PACKSHOT_MAX_COST_USD. Reads only.
    """
    plan.forecast.rates = observed_rates(engine, plan.forecast.prices)
    limit = Decimal(str(max_cost_usd)) or settings.max_cost_usd
    limit_micro = None if limit is None else int(limit * 1_000_000)
    today = spent_on(engine, now().astimezone(UTC).date())
    plan.notes += limit_notes(plan.forecast.expected_micro, limit_micro, today, settings)
    return plan
