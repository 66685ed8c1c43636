"""What a run came to, in words: for the terminal, for the Prefect UI, as an exit code, and as the flow's last state."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from packshot.advice import sentence
from packshot.db.catalog_changes import first_of_each
from packshot.db.catalog_diff import CatalogDiff
from packshot.db.costs import costs
from packshot.db.queries import assets, number_of_assets, rejects, unfinished
from packshot.db.tables import Run
from packshot.db.types import RunState
from packshot.errors import Code, code_of
from packshot.figures import Figures, slot_rows, step_rows
from packshot.run_figures import SLOT_HEAD, STEP_HEAD, read_figures

TABLE_ROWS = 200  # rows of a table in the Prefect UI; it draws them all at once
LINKED = 50  # products whose images the report links to
NAMED = 5  # images that are named for each reason
LONGEST = 200  # characters of a cell

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
        parts.append(f"{run.calls} calls, {_dollars(run.spent_micro / 1e6)}")
        return "; ".join(parts) + (f". Stopped: {run.message}" if run.state != RunState.COMPLETED else "")

    def markdown(self) -> str:
        """The report artifact in the Prefect UI. Its length hardly grows with the run's."""
        parts = (
            self._summary(), self._sums(), self._limits(), self._not_made(), self._refused(), self._changed(),
            self._links(),
        )  # fmt: skip
        return "\n".join(line for part in parts for line in (*part, "")).rstrip() + "\n"

    def asset_table(self) -> list[Row]:
        """The images for a table in the Prefect UI, where an address is plain text."""
        return [
            {
                "product": _product(row),
                "shot": _shot(row),
                "size": f"{row['width']} x {row['height']}",
                "sha256": row["sha256"][:12],
                "link": row["url"],
            }
            for row in self.assets[:TABLE_ROWS]
        ]

    def reject_table(self) -> list[Row]:
        """The refused records for a table in the Prefect UI."""
        return [
            {
                "line": row["line"],
                "product": row["key"] or "",
                "code": row["code"],
                "what is wrong": _short(row["message"]),
                "next step": row["next_step"],
            }
            for row in self.rejects[:TABLE_ROWS]
        ]

    # --- the parts of the report ------------------------------------------------------------------------------
    def _summary(self) -> Iterator[str]:
        run = self.run
        yield f"# {_cell(run.catalog)}: {run.archived:,} of {run.planned:,} images are permanent"
        yield ""
        ended = f" to {run.ended_at:%H:%M:%S}" if run.ended_at else ""
        yield f"Run {run.id} of {_cell(run.source)}, {run.started_at:%Y-%m-%d %H:%M:%S}{ended} UTC."
        if run.state != RunState.COMPLETED:
            yield ""
            yield f"**Stopped.** `{run.code}`: {_cell(run.message)}. Next: {_next_step(run)}."
        if self.notes:
            yield ""
            yield from (f"- {_cell(note)}" for note in self.notes)

    def _sums(self) -> Iterator[str]:
        run = self.run
        yield from _table(
            ("catalog records", "accepted", "rejected", "blank", "continuation"),
            [(run.records, run.accepted, run.rejected, run.blank, run.continuation)],
        )
        yield ""
        new = run.archived - run.already
        yield from _table(
            ("images planned", "archived before", "archived now", "failed", "held"),
            [(run.planned, run.already, new, run.failed, run.held)],
        )
        if self.money is None:
            return
        money = self.money
        limit = "none" if run.max_cost_micro is None else _dollars(run.max_cost_micro / 1e6)
        each = money["usd_per_archived"]
        unknown = f"{money['unknown']:,}" + (f" ({_dollars(money['unknown_usd'])})" if money["unknown"] else "")
        yield ""
        yield from _table(
            ("calls", "brought an image", "not billed", "billed without image", "outcome unknown"),
            [(money["calls"], money["images"], money["not_billed"], money["billed_without_image"], unknown)],
        )
        yield ""
        yield from _table(
            ("spent", "maximum", "for each permanent image"),
            [(_dollars(money["spent_usd"]), limit, "-" if each is None else f"${each:.3f}")],
        )

    def _limits(self) -> Iterator[str]:
        if self.figures is None:
            return
        yield "## What limited it"
        yield ""
        yield sentence(self.figures)
        for head, rows in ((SLOT_HEAD, [*slot_rows(self.figures)]), (STEP_HEAD, [*step_rows(self.figures)])):
            if rows:
                yield ""
                yield from _table(head, rows)

    def _not_made(self) -> Iterator[str]:
        if not self.unfinished:
            return
        yield "## Not made"
        yield ""
        by_reason: dict[tuple[str, str], list[Row]] = {}
        for row in self.unfinished:
            by_reason.setdefault((row["code"] or "open", row["next_step"]), []).append(row)
        groups = sorted(by_reason.items(), key=lambda item: -len(item[1]))
        yield from _table(
            ("images", "reason", "next step"), [(len(group), f"`{code}`", step) for (code, step), group in groups]
        )
        yield ""
        for (code, _), group in groups:
            names = ", ".join(f"{_product(row)} {_shot(row)}" for row in group[:NAMED])
            more = f" and {len(group) - NAMED:,} more" if len(group) > NAMED else ""
            said = Counter(row["message"] for row in group).most_common(1)[0][0]
            yield f"- `{code}`: {_cell(names)}{more}" + (f": {_cell(said)}" if said else "")
        yield ""
        yield f"All of them: `packshot unfinished --run {self.run.id}`. `packshot holds` lists what waits for a person."

    def _refused(self) -> Iterator[str]:
        if not self.rejects:
            return
        yield "## Refused records"
        yield ""
        reasons = Counter((row["code"], row["next_step"]) for row in self.rejects)
        yield from _table(
            ("records", "reason", "next step"),
            [(number, f"`{code}`", step) for (code, step), number in reasons.most_common()],
        )
        yield ""
        yield f"All of them, with lines and messages: `packshot rejects --run {self.run.id}`."

    def _changed(self) -> Iterator[str]:
        """Nothing where all was as before."""
        diff = self.diff
        if not (diff.new or diff.changed or diff.refused or diff.gone or diff.gone is None):
            return
        yield "## Products since earlier runs"
        yield ""
        unknown = "not known"
        rest = (unknown, unknown) if diff.gone is None else (diff.refused or 0, diff.gone)
        yield from _table(
            ("new", "changed", "the same", "refused now", "gone"), [(diff.new, diff.changed, diff.same, *rest)]
        )
        if diff.gone is None:
            yield ""
            yield f"What is gone is not known: {_cell(diff.gone_unknown)}."
        groups: dict[str, list[Row]] = {}
        for row in self.changes:
            groups.setdefault(row["change"], []).append(row)
        if groups:
            yield ""
        for change, group in groups.items():
            names = ", ".join(_product(row) + (f" ({row['what']})" if row["what"] else "") for row in group[:NAMED])
            total = getattr(diff, change) or 0
            more = f" and {total - NAMED:,} more" if total > NAMED else ""
            yield f"- {change}: {_cell(names)}{more}"
        yield ""
        yield f"All of them: `packshot diff --run {self.run.id}`. The images of products that are gone stay."

    def _links(self) -> Iterator[str]:
        if not self.assets:
            return
        by_product: dict[str, list[Row]] = {}
        for row in self.assets:
            by_product.setdefault(_product(row), []).append(row)
        shown = list(by_product.items())[:LINKED]
        yield "## New images"
        yield ""
        rows = [
            (product, group[0]["title"], _Markdown(" ".join(f"[{_cell(_shot(row))}]({row['url']})" for row in group)))
            for product, group in shown
        ]
        yield from _table(("product", "title", "images"), rows)
        left = self.pictures - sum(len(group) for _, group in shown)
        if left > 0:
            yield ""
            yield f"And {left:,} more: `packshot assets --catalog {self.run.catalog}`."


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
        return Ending(True, "Stopped", f"{report.headline}. Next: {_next_step(run)}")
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


def artifact_key(catalog: str, what: str) -> str:
    """The name of a kind of artifact, the same for each run over the catalog: so the Artifacts page has one entry with
    a history. Prefect allows lower-case letters, digits and dashes."""
    return f"{re.sub('[^a-z0-9]+', '-', catalog.lower()).strip('-') or 'catalog'}-{what}"


_CONFIGURATION = (Code.SETTINGS_INVALID, Code.SHOTS_INVALID, Code.CATALOG_INVALID, Code.BUCKET_MISSING, Code.S3_DENIED)


class _Markdown(str):
    """A cell that is Markdown already."""

    __slots__ = ()


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(value: object) -> str:
    """Text that cannot break out of a cell or become a link, a picture or HTML; what stands in ticks stays code."""
    if isinstance(value, _Markdown):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    text = _short(str(value or "")).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return text.replace("[", "\\[")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _product(row: Row) -> str:
    return "/".join(filter(None, (row["product_key"], row["variant_key"])))


def _shot(row: Row) -> str:
    return f"{row['shot']} {row['variant']}" if row["variant"] > 1 else str(row["shot"])


def _next_step(run: Run) -> str:
    return code_of(run.code).next_step if run.code else "run again"


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}"
