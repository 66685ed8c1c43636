"""What the command line shows: tables, JSON, progress."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from packshot.db.ledger import Ledger
from packshot.db.runs import Runs
from packshot.db.tables import Run
from packshot.worker import this_worker

# A line is one line, however narrow the window: broken ones cannot be copied or searched.
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

PLAIN_EVERY = 5.0  # seconds between lines where there is no terminal
DRAWN_EVERY = 0.5
LOOKING = 0.05  # of the time at most: a look counts the run's images, and the database has other work


def print_json(value: Any) -> None:
    """Exactly one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], as_json: bool, empty: str) -> None:
    """The rows as JSON, whole, or as aligned lines with ``columns`` (key -> heading): nothing is cut off."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        out.print(empty)
        return
    lines = [list(columns.values()), *([_cell(row.get(key)) for key in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        padded = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        out.print(padded.rstrip(), markup=False, highlight=False)


def _cell(value: Any) -> str:
    text = "-" if value in (None, "") else f"{value:.2f}" if isinstance(value, float) else str(value)
    return " ".join(text.split())


@contextmanager
def live_progress(engine: Engine) -> Iterator[None]:
    """While the block runs, show on standard error how this process's run stands; the database knows."""
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(engine, ended), name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join(5)


def _watch(engine: Engine, ended: threading.Event) -> None:
    runs = Runs(Ledger(engine))
    if not err.is_terminal:
        last = ""
        while not ended.wait(PLAIN_EVERY):
            line = _standing(engine, runs)[2]
            if line != last:
                err.print(line, markup=False, highlight=False)
                last = line
        return
    columns = (TextColumn("images"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("planning", total=None)
        pause = DRAWN_EVERY
        while not ended.wait(pause):
            began = time.monotonic()
            total, done, line = _standing(engine, runs)
            pause = max(DRAWN_EVERY, (time.monotonic() - began) / LOOKING)
            bar.update(task, total=total or None, completed=done, description=line)


def _standing(engine: Engine, runs: Runs) -> tuple[int, int, str]:
    """(jobs to see to, those that have ended, a line of text)."""
    mine = select(Run).where(Run.worker == this_worker()).order_by(col(Run.id).desc())
    with Session(engine) as session:
        run = session.exec(mine).first()
    if run is None or run.id is None:
        return 0, 0, "planning"
    states = runs.progress(run.id)
    total = sum(states.values())
    done = sum(states.get(state, 0) for state in ("archived", "failed", "held"))
    parts = [f"{number} {state}" for state, number in sorted(states.items())]
    return total, done, f"{done} of {total} done ({', '.join(parts)}), ${run.spent_micro / 1e6:.2f}"
