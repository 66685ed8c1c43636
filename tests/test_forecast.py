"""What the ledger's history says of images still to be made, on both databases."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, insert
from sqlmodel import col, select

from packshot.db.tables import Attempt, DailySpend
from packshot.forecast import REMEMBERED, Forecast, Rate, limit_notes, observed_rates, spent_on
from packshot.settings import Settings
from tests.db.ledger_cases import PRICE, START, Book

PRO, FLASH = "nano-banana-pro", "gemini-2.5-flash-image"


@pytest.fixture
def book(engine: Engine) -> Book:
    return Book(engine, jobs=10)


def calls(
    book: Book, job: int, *costs: int, model: str = PRO, price: int = PRICE, day: int = 0, settled: bool = True
) -> None:
    """Calls made for one job, with what was booked for each."""
    at = START + timedelta(days=day)
    rows: list[dict[str, Any]] = [
        {
            "job_id": book.jobs[job], "run_id": book.run_id, "number": 1, "model": model, "wire_format": "images",
            "price_micro": price, "cost_micro": cost, "started_at": at, "settled_at": at if settled else None,
            "billed": "yes" if cost else "no", "request_ids": {}, "in_flight": 0, "message": "", "excerpt": "",
        }
        for cost in costs
    ]  # fmt: skip
    if "spool_name" in Attempt.model_fields:
        rows = [row | {"spool_name": ""} for row in rows]
    with book.ledger.write() as session:
        session.execute(insert(Attempt), rows)


# --- looking back ---------------------------------------------------------------------------------------------
def test_without_calls_there_is_no_history(book: Book) -> None:
    assert observed_rates(book.engine, [PRO, FLASH]) == {}


def test_a_rate_counts_calls_and_purchases_for_each_image(book: Book) -> None:
    calls(book, 0, PRICE)
    calls(book, 1, 0, 0, PRICE)  # twice not billed
    calls(book, 2, PRICE, PRICE)  # one that is booked and brought nothing
    calls(book, 3, 0)  # never made
    rate = observed_rates(book.engine, [PRO, FLASH])[PRO]
    assert rate == Rate(images=4, calls=7, purchases=4.0)
    assert (rate.calls_per_image, rate.purchases_per_image) == (7 / 4, 1.0)


def test_each_model_has_its_own_rate_at_the_price_of_its_day(book: Book) -> None:
    calls(book, 0, PRICE, PRICE)
    calls(book, 1, 20_000, model=FLASH, price=20_000)
    calls(book, 2, 30_000, 0, model=FLASH, price=30_000, day=1)
    calls(book, 3, 126_000)  # charged at 1.4 times the price
    rates = observed_rates(book.engine, [PRO, FLASH])
    assert rates[FLASH] == Rate(images=2, calls=3, purchases=2.0)
    assert (rates[PRO].images, rates[PRO].calls, round(rates[PRO].purchases, 9)) == (2, 3, 3.4)


def test_a_call_in_the_air_is_no_history(book: Book) -> None:
    calls(book, 0, PRICE, settled=False)
    assert observed_rates(book.engine, [PRO, FLASH]) == {}


def test_a_model_that_costs_nothing_has_calls_all_the_same(book: Book) -> None:
    calls(book, 0, 0, 0, price=0)
    assert observed_rates(book.engine, [PRO, FLASH]) == {PRO: Rate(images=1, calls=2, purchases=0.0)}


def test_only_the_latest_calls_are_remembered(book: Book) -> None:
    calls(book, 1, *[PRICE] * REMEMBERED, day=1)
    calls(book, 0, *[0] * 50, day=0)  # written later, but older
    calls(book, 2, PRICE, model=FLASH, day=0)
    assert observed_rates(book.engine, [PRO, FLASH]) == {
        PRO: Rate(images=1, calls=REMEMBERED, purchases=REMEMBERED), FLASH: Rate(1, 1, 1.0),
    }  # fmt: skip


def test_what_was_spent_is_that_of_the_day(book: Book) -> None:
    today = START.date()
    assert spent_on(book.engine, today) == 0
    with book.ledger.write() as session:
        session.add(DailySpend(day=today, spent_micro=5))
        session.add(DailySpend(day=today - timedelta(days=1), spent_micro=7))
    assert spent_on(book.engine, today) == 5
    with book.ledger.write() as session:
        assert session.exec(select(DailySpend).where(col(DailySpend.spent_micro) == 7)).one()


# --- looking ahead --------------------------------------------------------------------------------------------
def forecast() -> Forecast:
    made = Forecast(rates={PRO: Rate(images=100, calls=150, purchases=110)})
    for number in range(10):
        made.add("front", "Shoes" if number < 4 else "", PRO, PRICE)
    for _ in range(5):
        made.add("worn", "Shoes", FLASH, 20_000)
    return made


def test_a_forecast_multiplies_what_is_wanted_by_what_it_took() -> None:
    made = forecast()
    assert (made.images, made.plain_micro) == (15, 10 * PRICE + 5 * 20_000)
    assert made.expected_micro == 11 * PRICE + 5 * 20_000
    assert made.expected_calls == 15 + 5


def test_a_forecast_is_told_by_shot_and_category_dearest_first() -> None:
    made = forecast()
    assert [(name, share.images, round(share.expected_micro)) for name, share in made.by_shot.items()] == [
        ("front", 10, 990_000), ("worn", 5, 100_000),
    ]  # fmt: skip
    assert [(name, share.images, round(share.expected_micro)) for name, share in made.by_category.items()] == [
        ("(none)", 6, 594_000), ("Shoes", 9, 496_000),
    ]  # fmt: skip
    for parts in (made.by_shot, made.by_category):
        assert sum(share.images for share in parts.values()) == made.images
        assert round(sum(share.expected_micro for share in parts.values())) == made.expected_micro


def test_a_forecast_says_what_it_is_founded_on() -> None:
    assert forecast().reasons == [
        f"{FLASH}: no history yet, so one call for each image is expected",
        f"{PRO}: 100 images so far took 1.50 calls each, and cost 1.10 times the price of a call",
    ]


def test_a_forecast_of_nothing_costs_nothing() -> None:
    made = Forecast()
    assert (made.images, made.plain_micro, made.expected_micro, made.expected_calls) == (0, 0, 0, 0)
    assert (made.by_shot, made.by_category, made.reasons) == ({}, {}, [])


@pytest.mark.parametrize(
    ("run_limit", "day_limit", "spent", "says"),
    [
        (None, None, 0, []),
        (1_000_000, "1", 0, []),
        (999_999, None, 0, ["is more than the $1.00 that a run may spend"]),
        (500_000, None, 0, ["cost of $1.00 is more than the $0.50 that a run may spend"]),
        (None, "3", 2_000_000, []),
        (None, "3", 2_000_001, ["$1.00 left of the $3.00 that all runs may spend on a day"]),
        (None, "3", 9_000_000, ["$0.00 left of the $3.00"]),
        (0, "0", 0, ["$0.00 that a run may spend", "$0.00 left of the $0.00"]),
    ],
)
def test_a_note_for_each_maximum_that_would_not_do(
    run_limit: int | None, day_limit: str | None, spent: int, says: list[str]
) -> None:
    settings = Settings(_env_file=None, max_cost_usd_per_day=None if day_limit is None else Decimal(day_limit))
    notes = limit_notes(1_000_000, run_limit, spent, settings)
    assert len(notes) == len(says)
    for note, words in zip(notes, says, strict=True):
        assert words in note
