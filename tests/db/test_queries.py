"""What people ask the asset database."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import Engine, text

from packshot.catalog.model import Reject
from packshot.db import queries
from packshot.db.runs import Runs
from packshot.db.tables import ImageJob
from packshot.db.types import JobState, RunState
from packshot.errors import Code, ProviderError
from packshot.policy import Decision, Verdict
from tests.db.ledger_cases import BUCKET, PRICE, Book, job, plan, product, received, stored


@pytest.fixture
def book(engine: Engine) -> Book:
    """p0 archived by the first run; p1 (SKU shared with p0) archived by the second; p2 failed; p3 open."""
    book = Book(engine, jobs=0)
    items = [product(f"p{n}", sku="S" if n < 2 else None) for n in range(4)]
    planned = [(item, [job(item, "detail" if n else "packshot")]) for n, item in enumerate(items)]
    book.runs.enroll(book.run_id, planned[:1], [])
    _archive(book, book.run_id, 0)
    book.runs.finish(book.run_id, RunState.COMPLETED)
    second = book.open_run(max_cost_micro=1_000_000)
    book.runs.enroll(second, planned, [Reject("shop.csv", 5, 6, None, Code.MISSING_KEY, "no key")])
    _archive(book, second, 0)
    claim = book.ledger.claim(book.runs.work(second, 1, 1)[0].job_id)
    assert claim
    attempt = book.ledger.begin(claim, second, PRICE, "images", 1)
    refusal = ProviderError(Code.MODERATION_BLOCKED, "the provider says no")
    book.ledger.not_received(claim, attempt, refusal, lambda past: Decision(Verdict.FAIL))
    book.runs.finish(second, RunState.STOPPED, Code.BUDGET_REACHED, "no more money")
    return book


def _archive(book: Book, run_id: int, position: int) -> None:
    claim = book.ledger.claim(Runs(book.ledger).work(run_id, position, 1)[0].job_id)
    assert claim
    attempt = book.ledger.begin(claim, run_id, PRICE, "images", 1)
    claim = book.ledger.received(claim, attempt, received())
    book.ledger.archived(claim, stored(f"pub/{claim.product.product_key}.png"))


def test_job_states_by_key_however_many(book: Book) -> None:
    states = {row["key"]: row["state"] for row in book.rows(ImageJob)}
    others = [wanted.key for item, _ in plan(1200) for wanted in [job(item, "lifestyle")]]
    found = queries.job_states(book.engine, others + list(states))
    assert found == states
    assert sorted(found.values()) == [JobState.ARCHIVED, JobState.ARCHIVED, JobState.FAILED, JobState.PLANNED]
    assert queries.job_states(book.engine, []) == {}


def test_assets_can_be_asked_for_in_every_way(book: Book) -> None:
    def names(**wanted: object) -> list[str]:
        return [row["product_key"] for row in queries.assets(book.engine, **wanted)]  # type: ignore[arg-type]

    assert names() == ["p0", "p1"]
    assert names(catalog="shop") == ["p0", "p1"]
    assert names(catalog="other") == []
    assert names(product="p1") == ["p1"]
    assert names(product="S") == ["p0", "p1"]
    assert names(shot="packshot") == ["p0"]
    assert names(run_id=2) == ["p1"]
    assert names(limit=1) == ["p0"]
    row = queries.assets(book.engine)[0]
    assert row["url"] == "https://cdn.example/shop/pub/p0.png"
    assert (row["bucket"], row["key"], row["width"], row["size_as_ordered"]) == (BUCKET, "pub/p0.png", 1024, True)
    assert datetime.fromisoformat(row["created_at"]) == book.clock()


def test_runs_are_listed_newest_first_with_money_in_dollars(book: Book) -> None:
    second, first = queries.runs(book.engine)
    assert (first["id"], first["spent_usd"], first["max_cost_usd"]) == (1, 0.09, None)
    assert (second["spent_usd"], second["max_cost_usd"], second["code"]) == (0.09, 1.0, "budget_reached")
    assert not {"spent_micro", "max_cost_micro"} & set(first)
    assert [row["id"] for row in queries.runs(book.engine, limit=1)] == [2]


def test_rejects_of_the_latest_run_with_their_next_step(book: Book) -> None:
    [row] = queries.rejects(book.engine)
    assert (row["record"], row["line"], row["key"], row["code"]) == (5, 6, None, "missing_key")
    assert row["next_step"] == Code.MISSING_KEY.next_step
    assert queries.rejects(book.engine, run_id=1) == []


def test_rejects_of_a_database_without_runs(engine: Engine) -> None:
    assert queries.rejects(engine) == []


def test_what_a_run_did_not_make_is_listed_with_reasons(book: Book) -> None:
    failed, held = queries.unfinished(book.engine, 2)
    assert (failed["outcome"], failed["product_key"], failed["code"]) == ("failed", "p2", "moderation_blocked")
    assert (failed["message"], failed["next_step"]) == ("the provider says no", Code.MODERATION_BLOCKED.next_step)
    assert (held["outcome"], held["product_key"], held["code"]) == ("held", "p3", "budget_reached")
    assert queries.unfinished(book.engine, 1) == []


def test_an_image_can_be_followed_back_to_its_call_and_product(book: Book) -> None:
    [asset_id] = [row["asset_id"] for row in queries.assets(book.engine, product="p1")]
    row = queries.lineage(book.engine, asset_id)
    assert row
    assert (row["url"], row["product_key"], row["shot"]) == ("https://cdn.example/shop/pub/p1.png", "p1", "detail")
    assert (row["run_id"], row["attempt_number"], row["cost_micro"], row["sku"]) == (2, 1, PRICE, "S")
    assert (row["prompt"], row["model"]) == ("A photo of Thing p1", "nano-banana-pro")
    assert queries.lineage(book.engine, 999) is None


def test_the_view_has_one_row_for_each_asset(book: Book) -> None:
    with book.engine.connect() as connection:
        rows = connection.execute(text("SELECT asset_id, url FROM asset_lineage ORDER BY asset_id")).all()
    assert [tuple(row) for row in rows] == [(row["asset_id"], row["url"]) for row in queries.assets(book.engine)]
