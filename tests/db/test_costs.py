"""What was spent and what came of it, by run, day, shot and model; and what may be claimed back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from packshot.db.costs import BY, attempts_between, costs, refunds, total
from packshot.db.tables import Attempt, Generation
from packshot.errors import Billed
from tests.db.ledger_cases import PRICE, Book, plan

EVENING = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
NIGHT = EVENING + timedelta(seconds=1)


class Accounts:
    """A book in which calls are entered as they ended; the shots of its jobs are packshot, detail, packshot..."""

    def __init__(self, engine: Engine) -> None:
        self.book = Book(engine, jobs=0)
        self.engine = engine
        self.book.runs.enroll(self.book.run_id, plan(6, "packshot", "detail"), [])
        self.jobs = [item.job_id for item in self.book.runs.work(self.book.run_id, 0, 12)]

    def enter(
        self, job: int, billed: Billed, code: str | None = None, began: datetime = EVENING, **fields: Any
    ) -> int:  # fmt: skip
        usual: dict[str, Any] = {
            "job_id": self.jobs[job], "run_id": self.book.run_id, "number": 1, "model": "big", "wire_format": "images",
            "price_micro": PRICE, "cost_micro": 0 if billed is Billed.NO else PRICE, "billed": billed, "code": code,
            "spool_name": f"call-{job}-{began}-{code}", "started_at": began, "settled_at": began,
        }  # fmt: skip
        with Session(self.engine, expire_on_commit=False) as session:
            attempt = Attempt(**(usual | fields))
            session.add(attempt)
            session.commit()
            return attempt.id or 0

    def image(self, job: int, became: str = "archived_at", **fields: Any) -> None:
        attempt = self.enter(job, Billed.YES, **fields)
        generation = Generation(job_id=self.jobs[job], attempt_id=attempt, created_at=EVENING)
        if became:
            setattr(generation, became, EVENING)
        with Session(self.engine) as session:
            session.add(generation)
            session.commit()


@pytest.fixture
def accounts(engine: Engine) -> Accounts:
    """On the first day a call that ended in each way; on the second, in another run, one more image."""
    accounts = Accounts(engine)
    accounts.image(0)
    accounts.image(1, cost_micro=126_000)
    accounts.image(2, became="lost_at")
    accounts.image(3, became="")
    accounts.enter(4, Billed.NO, "rate_limited")
    accounts.enter(4, Billed.YES, "no_image", request_ids={"x-shellapi-request-id": "s1", "x-request-id": "v1"})
    accounts.enter(5, Billed.UNKNOWN, "timeout")
    accounts.enter(6, Billed.UNKNOWN, settled_at=None)
    second = accounts.book.open_run()
    accounts.image(7, began=NIGHT, run_id=second, model="small", cost_micro=55_000)
    return accounts


FIRST = {
    "calls": 8, "images": 4, "not_billed": 1, "billed_without_image": 1, "unknown": 1, "in_the_air": 1, "archived": 2,
    "lost": 1, "unknown_usd": 0.09, "lost_usd": 0.09, "spent_usd": 0.666, "usd_per_archived": 0.333,
}  # fmt: skip
SECOND = {
    "calls": 1, "images": 1, "not_billed": 0, "billed_without_image": 0, "unknown": 0, "in_the_air": 0, "archived": 1,
    "lost": 0, "unknown_usd": 0.0, "lost_usd": 0.0, "spent_usd": 0.055, "usd_per_archived": 0.055,
}  # fmt: skip


def test_each_call_is_counted_once_and_by_what_came_of_it(accounts: Accounts) -> None:
    first, second = costs(accounts.engine)
    assert first == {"run": accounts.book.run_id, **FIRST}
    assert second == {"run": accounts.book.run_id + 1, **SECOND}
    for row in (first, second):
        ways = ("images", "not_billed", "billed_without_image", "unknown", "in_the_air")
        assert row["calls"] == sum(row[way] for way in ways)


def test_a_day_is_one_of_utc(accounts: Accounts) -> None:
    assert costs(accounts.engine, "day") == [{"day": "2026-03-01", **FIRST}, {"day": "2026-03-02", **SECOND}]


def test_by_model_and_by_shot(accounts: Accounts) -> None:
    assert costs(accounts.engine, "model") == [{"model": "big", **FIRST}, {"model": "small", **SECOND}]
    shots = {row["shot"]: (row["calls"], row["spent_usd"]) for row in costs(accounts.engine, "shot")}
    assert shots == {"detail": (4, 0.361), "packshot": (5, 0.36)}


@pytest.mark.parametrize("by", BY)
def test_however_it_is_divided_the_sum_is_the_same(accounts: Accounts, by: Any) -> None:
    rows = costs(accounts.engine, by)
    sums = total(rows, by)
    assert sums.keys() == rows[0].keys()
    assert (sums[by], sums["calls"], sums["archived"], sums["lost_usd"]) == ("total", 9, 3, 0.09)
    assert (sums["spent_usd"], sums["usd_per_archived"]) == (0.721, 0.240333)


def test_a_period_has_its_beginning_and_not_its_end(accounts: Accounts) -> None:
    def calls(since: datetime | None, until: datetime | None) -> int:
        return sum(row["calls"] for row in costs(accounts.engine, "day", since, until))

    assert [calls(EVENING, None), calls(NIGHT, None), calls(NIGHT + timedelta(seconds=1), None)] == [9, 1, 0]
    assert [calls(None, EVENING), calls(None, NIGHT), calls(EVENING, NIGHT)] == [0, 8, 8]
    in_tokyo = NIGHT.astimezone(timezone(timedelta(hours=9)))
    assert calls(in_tokyo, None) == 1


def test_one_run_alone(accounts: Accounts) -> None:
    rows = costs(accounts.engine, "shot", run_id=accounts.book.run_id + 1)
    assert [(row["shot"], row["calls"]) for row in rows] == [("detail", 1)]


def test_nothing_was_spent(engine: Engine) -> None:
    assert [costs(engine, by) for by in BY] == [[], [], [], []]
    assert refunds(engine) == []


def test_an_image_that_was_never_archived_has_no_price_each(engine: Engine) -> None:
    accounts = Accounts(engine)
    accounts.enter(0, Billed.YES, "no_image")
    assert [row["usd_per_archived"] for row in costs(engine)] == [None]


def test_only_calls_that_were_billed_and_brought_nothing_are_claimed_back(accounts: Accounts) -> None:
    [row] = refunds(accounts.engine)
    assert row == {
        "started_at": "2026-03-01T23:59:59+00:00",
        "request_id": "s1",
        "request_ids": {"x-shellapi-request-id": "s1", "x-request-id": "v1"},
        "model": "big",
        "code": "no_image",
        "cost_usd": 0.09,
        "product_key": "p2",
        "variant_key": "",
        "shot": "packshot",
        "run_id": accounts.book.run_id,
        "attempt_id": row["attempt_id"],
    }
    assert refunds(accounts.engine, since=NIGHT) == []
    accounts.enter(5, Billed.YES, "timeout", began=EVENING - timedelta(hours=1))
    assert [(row["code"], row["request_id"]) for row in refunds(accounts.engine)] == [
        ("timeout", ""),
        ("no_image", "s1"),
    ]


def test_calls_for_the_comparison_are_read_without_their_texts(accounts: Accounts) -> None:
    read = attempts_between(accounts.engine, EVENING, NIGHT)
    assert len(read) == 8
    assert {attempt.started_at for attempt in read} == {EVENING}
    assert not {"excerpt", "message"} & set(read[0].__dict__)
