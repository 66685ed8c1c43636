"""Time sheets in the database: written over, never added to; read run by run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, select

from packshot.db.ledger import Ledger
from packshot.db.runs import Runs
from packshot.db.tables import Timesheet
from packshot.db.timesheets import sheets_of
from packshot.stopwatch import Step, Stopwatch
from packshot.timekeeper import Timekeeper
from tests.db.ledger_cases import START, Clock


class Book:
    """A ledger with a run, and a stopwatch whose clock is the ledger's."""

    def __init__(self, engine: Engine) -> None:
        self.clock = Clock()
        self.ledger = Ledger(engine, now=self.clock)
        self.run_id = Runs(self.ledger).open("shop", "shop.csv", {}, None, None)

    def watch(self) -> Stopwatch:
        return Stopwatch(2, now=lambda: (self.clock.time - START).total_seconds(), cpu=lambda: 0.0)


def test_a_sheet_is_written_over(engine: Engine) -> None:
    book = Book(engine)
    watch = book.watch()
    keeper = Timekeeper(book.ledger, book.run_id, watch)
    for images in (1, 2):
        with watch.of(Step.WORK), watch.of(Step.IMAGE):
            book.clock.advance(4)
            watch.count("images")
        keeper.note()
        keeper.note()
        [sheet] = sheets_of(engine, [book.run_id])[book.run_id]
        assert (sheet.images, sheet.steps["image"]["times"], sheet.slots) == (images, images, 2)
        assert sheet.slot_seconds["homeward"] == 4 * images
        assert (sheet.began_at, sheet.seen_at) == (START, START + timedelta(seconds=4 * images))


def test_each_studio_has_its_own(engine: Engine) -> None:
    book, other = Book(engine), Book(engine)
    for run_id in (book.run_id, book.run_id, other.run_id):
        Timekeeper(book.ledger, run_id, book.watch()).note()
    found = sheets_of(engine, [book.run_id, other.run_id, 4711])
    assert {run_id: len(sheets) for run_id, sheets in found.items()} == {book.run_id: 2, other.run_id: 1}


def test_without_a_run_nothing_is_kept(engine: Engine) -> None:
    book = Book(engine)
    Timekeeper(book.ledger, None, book.watch()).note()
    with Session(engine) as session:
        assert session.exec(select(Timesheet)).all() == []


def test_what_cannot_be_written_is_a_line_in_the_log(engine: Engine, caplog: Any) -> None:
    book = Book(engine)
    Timekeeper(book.ledger, 4711, book.watch()).note()  # there is no such run
    assert "figures could not be written down: IntegrityError" in caplog.text
