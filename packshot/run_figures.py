"""The figures of runs, from the database to what people read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Engine

from packshot.advice import advice, sentence
from packshot.db.timesheets import sheets_of
from packshot.figures import Figures, facts, figures_of, percent, slot_rows, step_rows
from packshot.stopwatch import Use

SLOT_HEAD = ("what the call slots did", "of their time")
STEP_HEAD = ("step", "times", "mean", "95 % within", "in all")


def read_figures(engine: Engine, run_ids: Collection[int]) -> dict[int, Figures]:
    """Of those runs that have any: older versions measured nothing."""
    found = {run_id: figures_of(sheets, engine.dialect.name) for run_id, sheets in sheets_of(engine, run_ids).items()}
    return {run_id: figures for run_id, figures in found.items() if figures}


def as_facts(figures: Figures | None) -> dict[str, Any] | None:
    """With the advice, for JSON; None where nothing was measured."""
    return None if figures is None else facts(figures) | {"advice": advice(figures)}


def short_facts(figures: Figures) -> dict[str, Any]:
    """Two cells of a list of runs."""
    busy = percent(figures.share(Use.CALLS)) if figures.calls else None
    return {"images_a_minute": f"{figures.images_a_minute:.1f}", "slots_busy": busy}


def as_lines(figures: Figures) -> Iterator[str]:
    """For a terminal."""
    yield sentence(figures)
    for head, rows in ((SLOT_HEAD, [*slot_rows(figures)]), (STEP_HEAD, [*step_rows(figures)])):
        if rows:
            cells = [head, *([str(cell) for cell in row] for row in rows)]
            first, *widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            yield ""
            for name, *rest in cells:
                yield "  ".join([name.ljust(first), *(c.rjust(w) for c, w in zip(rest, widths, strict=True))])
