"""What is worth telling others, on both databases."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from packshot.db.moves import Claim
from packshot.db.noteworthy import NAMED, NEAR_END, ending_urls, held_in_planning, picture, picture_of
from packshot.db.runs import Runs
from packshot.errors import ArchiveError, Code
from packshot.policy import Decision, Verdict
from tests.db.ledger_cases import PRICE, START, Book, job, plan, product, received, stored

GIVE_UP = Decision(Verdict.FAIL)
NUMBER = NAMED + 3


@pytest.fixture
def book(engine: Engine) -> Book:
    return Book(engine, jobs=NUMBER)


def receive(book: Book, number: int, **values: object) -> Claim:
    claim = book.ledger.claim(book.jobs[number])
    assert claim
    attempt = book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
    return book.ledger.received(claim, attempt, received(**values))


def give_up(book: Book, claim: Claim) -> None:
    """This run does not bring it home; it stays received."""
    book.ledger.not_archived(claim, ArchiveError(Code.S3_UNREACHABLE, "away"), lambda tries: GIVE_UP)


def test_a_job_and_its_asset(book: Book) -> None:
    before = picture(book.ledger.engine, book.jobs[0])
    assert (before.product, before.shot, before.state, before.asset_id, before.run_id) == (
        "p0", "packshot", "planned", None, None
    )  # fmt: skip
    claim = receive(book, 0)
    asset_id = book.ledger.archived(claim, stored())
    after = picture(book.ledger.engine, book.jobs[0])
    assert asdict(after) == asdict(before) | {
        "state": "archived", "asset_id": 1, "sha256": "a" * 64, "width": 1024, "height": 1024, "run_id": book.run_id,
    }  # fmt: skip
    assert picture_of(claim, asset_id, stored(), book.run_id) == after  # nobody needs to ask who was there


def test_ends_that_are_near_and_nobodys_work(book: Book) -> None:
    """Counted all, named the nearest: later ends, work in hand and what has ended are left out."""
    engine, now = book.ledger.engine, START
    assert ending_urls(engine, now) is None
    claims = [receive(book, n, expires_at=now + NEAR_END - timedelta(minutes=n)) for n in range(NUMBER)]
    assert ending_urls(engine, now) is None  # they are being brought home
    for claim in claims:
        give_up(book, claim)
    found = ending_urls(engine, now)
    assert found is not None
    assert (found.number, found.paid_micro) == (NUMBER, NUMBER * PRICE)
    assert [image.product for image, _ in found.named] == [f"p{n}" for n in range(NUMBER - 1, 2, -1)]
    assert (found.nearest_end, found.seconds_left) == (
        now + NEAR_END - timedelta(minutes=NUMBER - 1), (NEAR_END - timedelta(minutes=NUMBER - 1)).total_seconds()
    )  # fmt: skip
    earlier = ending_urls(engine, now - timedelta(minutes=NUMBER - 1))
    assert earlier is not None
    assert (earlier.number, [image.product for image, _ in earlier.named]) == (1, [f"p{NUMBER - 1}"])
    assert ending_urls(engine, now + NEAR_END + timedelta(seconds=1)) is None


def test_what_is_home_or_in_the_spool_has_no_end(book: Book) -> None:
    book.ledger.archived(receive(book, 0, expires_at=START + timedelta(hours=1)), stored())
    give_up(book, receive(book, 1, url=None, expires_at=None))
    assert ending_urls(book.ledger.engine, START) is None


def test_what_planning_holds_is_new_once(engine: Engine) -> None:
    book = Book(engine, jobs=1)
    runs, wanted = Runs(book.ledger), product("no-photo")
    for new in (1, 0):
        run_id = runs.open("shop", "shop.csv", {}, None, None)
        runs.enroll(run_id, [*plan(1), (wanted, [job(wanted, missing=("a.jpg",))])], [])
        assert [image.product for image in held_in_planning(engine, run_id, 5)] == ["no-photo"] * new
        assert held_in_planning(engine, run_id, 0) == []
        book.clock.advance(60)
