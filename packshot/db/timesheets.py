"""The time sheets of runs: one row for each process that made images of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from packshot.db.ledger import Ledger
from packshot.db.tables import Timesheet
from packshot.db.upsert import chunks, upsert


def write_sheet(ledger: Ledger, row: Mapping[str, Any]) -> None:
    """Write a sheet, given by its columns, over what it said before."""
    change = [name for name in row if name != "name"]
    ledger.committed(lambda session: session.execute(upsert(session, Timesheet, ["name"], change), [dict(row)]))


def sheets_of(engine: Engine, run_ids: Collection[int]) -> dict[int, list[Timesheet]]:
    """The sheets of each of these runs that has any."""
    found: dict[int, list[Timesheet]] = {}
    with Session(engine) as session:
        for chunk in chunks(sorted(run_ids)):
            for sheet in session.exec(select(Timesheet).where(col(Timesheet.run_id).in_(chunk))):
                found.setdefault(sheet.run_id, []).append(sheet)
    return found
