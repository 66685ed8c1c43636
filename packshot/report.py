"""What a run came to, in words: for the terminal, for the Prefect UI, and as an exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from packshot.db.queries import assets, rejects, unfinished
from packshot.db.tables import Run
from packshot.db.types import RunState
from packshot.errors import Code

SHOWN = 50  # rows of a list in a report; the rest is one command away


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run with its lists. ``rejects`` leaves out what was not selected on purpose."""

    run: Run
    unfinished: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)
    assets: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 all good; 1 finished, some items failed; 2 configuration; 3 stopped (budget, key, balance)."""
        if self.run.state != RunState.COMPLETED:
            return 2 if self.run.code in _CONFIGURATION else 3
        undecided = any(row["code"] != Code.SKIPPED for row in self.unfinished)
        return 1 if undecided or self.rejects else 0

    @property
    def headline(self) -> str:
        """One sentence with the numbers that matter."""
        run = self.run
        new = run.archived - run.already
        parts = [f"{run.archived} of {run.planned} images are permanent ({new} new)"]
        parts += [f"{number} {word}" for number, word in ((run.failed, "failed"), (run.held, "held")) if number]
        if self.rejects:
            parts.append(f"{len(self.rejects)} refused in planning")
        parts.append(f"{run.calls} calls, ${run.spent_micro / 1e6:.2f}")
        return "; ".join(parts) + (f". Stopped: {run.message}" if run.state != RunState.COMPLETED else "")

    def markdown(self) -> str:
        """The report artifact in the Prefect UI."""
        run = self.run
        lines = [f"# Run {run.id}: {run.catalog}", "", self.headline, ""]
        lines += [f"- {note}" for note in self.notes]
        lines += [
            "",
            "| catalog records | accepted | rejected | blank | continuation |",
            "|---|---|---|---|---|",
            f"| {run.records} | {run.accepted} | {run.rejected} | {run.blank} | {run.continuation} |",
            "",
            "| jobs planned | archived before | archived now | failed | held |",
            "|---|---|---|---|---|",
            f"| {run.planned} | {run.already} | {run.archived - run.already} | {run.failed} | {run.held} |",
            "",
        ]
        if self.unfinished:
            reasons = Counter((row["code"] or "open", row["next_step"]) for row in self.unfinished)
            lines += ["## Not made", "", "| images | reason | next step |", "|---|---|---|"]
            lines += [f"| {number} | `{code}` | {step} |" for (code, step), number in reasons.most_common()]
            lines.append("")
        if self.rejects:
            lines += ["## Refused", "", "| line | product | reason |", "|---|---|---|"]
            lines += [
                f"| {row['line']} | {_cell(row['key'])} | {_cell(row['message'])} |" for row in self.rejects[:SHOWN]
            ]
            lines.append("")
        if self.assets:
            lines += ["## Images", "", "| product | shot | image |", "|---|---|---|"]
            lines += [
                f"| {_cell(row['title'])} | {row['shot']} | [{row['width']}x{row['height']}]({row['url']}) |"
                for row in self.assets[:SHOWN]
            ]
        return "\n".join(lines) + "\n"


_CONFIGURATION = (Code.SETTINGS_INVALID, Code.SHOTS_INVALID, Code.CATALOG_INVALID, Code.BUCKET_MISSING, Code.S3_DENIED)


def make_report(engine: Engine, run: Run, notes: list[str]) -> Report:
    """Collect the run's lists from the database."""
    assert run.id is not None
    refused = [row for row in rejects(engine, run.id) if row["code"] != Code.NOT_SELECTED]
    return Report(run, unfinished(engine, run.id), refused, assets(engine, run_id=run.id), notes)


def _cell(value: object) -> str:
    """Text that cannot break out of a markdown table cell."""
    return str(value or "").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
