"""What a run came to: its lists, a sentence for the terminal, an exit code, and the flow's last state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from packshot.db.catalog_changes import first_of_each
from packshot.db.catalog_diff import CatalogDiff
from packshot.db.costs import costs
from packshot.db.queries import assets, number_of_assets, rejects, unfinished
from packshot.db.tables import Run
from packshot.db.types import RunState
from packshot.errors import Code, code_of
from packshot.figures import Figures
from packshot.run_figures import read_figures

TABLE_ROWS = 200  # rows of a table in the Prefect UI; it draws them all at once
NAMED = 5  # images that are named for each reason

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run with its lists. ``rejects`` leaves out what was not selected on purpose; ``assets`` holds the
    first of ``pictures`` images, ``changes`` the first of what changed in the catalog; ``money`` is the run's row of
    :func:`packshot.db.costs.costs`, None without calls; ``figures`` is what was measured, None without work."""

    run: Run
    unfinished: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    assets: list[Row] = field(default_factory=list)
    pictures: int = 0
    changes: list[Row] = field(default_factory=list)
    money: Row | None = None
    notes: list[str] = field(default_factory=list)
    figures: Figures | None = None

    @property
    def diff(self) -> CatalogDiff:
        """What changed in the catalog since earlier runs."""
        return CatalogDiff.of(self.run)

    @property
    def undecided(self) -> int:
        """Images that were not made, those left out that a person skipped."""
        return sum(row["code"] != Code.SKIPPED for row in self.unfinished)

    @property
    def exit_code(self) -> int:
        """0 all good; 1 finished, some items failed; 2 configuration; 3 stopped (budget, key, balance)."""
        if self.run.state != RunState.COMPLETED:
            return 2 if self.run.code in _CONFIGURATION else 3
        return 1 if self.undecided or self.rejects else 0

    @property
    def headline(self) -> str:
        """One sentence with the numbers that matter."""
        run = self.run
        new = run.archived - run.already
        parts = [f"{run.archived} of {run.planned} images are permanent ({new} new)"]
        parts += [f"{number} {word}" for number, word in ((run.failed, "failed"), (run.held, "held")) if number]
        if self.rejects:
            parts.append(f"{len(self.rejects)} refused in planning")
        parts.append(f"{run.calls} calls, {dollars(run.spent_micro / 1e6)}")
        return "; ".join(parts) + (f". Stopped: {run.message}" if run.state != RunState.COMPLETED else "")

    @property
    def next_step(self) -> str:
        """What to do when it was stopped."""
        return code_of(self.run.code).next_step if self.run.code else "run again"


class RunFailed(Exception):
    """A run that ended as failed, in its own words, with the report of what was made all the same."""

    def __init__(self, report: Report, message: str) -> None:
        super().__init__(report, message)
        self.report = report
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Ending:
    """How the flow run is to end: as failed or as completed, under which name, with which message."""

    failed: bool
    name: str
    message: str


def ending(report: Report) -> Ending:
    """The flow's last state.

    Stopped early is failed. So is a run of whose planned images more than ``fail_above`` percent (an option of the run)
    could not be made. Other failures leave it completed, and it says so.
    """
    run = report.run
    if run.state != RunState.COMPLETED:
        return Ending(True, "Stopped", f"{report.headline}. Next: {report.next_step}")
    share = 100 * report.undecided / max(run.planned, 1)
    allowed = float(run.parameters.get("fail_above", 100))
    if share > allowed:
        reason = f"{share:.3g} % of the images could not be made, more than the {allowed:g} % allowed"
        return Ending(True, "Failed", f"{reason}: {report.headline}")
    return Ending(False, "CompletedWithFailures" if report.exit_code else "Completed", report.headline)


def make_report(engine: Engine, run: Run, notes: list[str]) -> Report:
    """Collect the run's lists from the database."""
    assert run.id is not None
    return Report(
        run,
        unfinished(engine, run.id),
        [row for row in rejects(engine, run.id) if row["code"] != Code.NOT_SELECTED],
        assets(engine, run_id=run.id, limit=TABLE_ROWS),
        number_of_assets(engine, run.id),
        first_of_each(engine, run.id, NAMED),
        next(iter(costs(engine, run_id=run.id)), None),
        notes,
        figures=read_figures(engine, [run.id]).get(run.id),
    )


_CONFIGURATION = (Code.SETTINGS_INVALID, Code.SHOTS_INVALID, Code.CATALOG_INVALID, Code.BUCKET_MISSING, Code.S3_DENIED)


def dollars(amount: float) -> str:
    return f"${amount:,.2f}"
