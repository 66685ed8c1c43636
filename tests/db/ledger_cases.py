"""Small catalogs, answers and objects for the tests of the ledger, and a clock that stands still until told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Engine
from sqlmodel import SQLModel

from packshot.catalog.model import Product
from packshot.db.abandoned import take_over
from packshot.db.ledger import Ledger, register_store
from packshot.db.moves import IllegalMove, Received, Stored
from packshot.db.runs import PlannedProduct, Runs
from packshot.db.types import JobState as S
from packshot.errors import Code, PackshotError, ProviderError
from packshot.policy import Decision, Past
from packshot.shots.model import ImageJob

PRICE = 90_000
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUCKET = "shop"


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def product(key: str = "p1", **values: Any) -> Product:
    return Product(catalog="shop", product_key=key, title=f"Thing {key}", **values)


def job(of: Product, shot: str = "packshot", missing: tuple[str, ...] = ()) -> ImageJob:
    key = hashlib.sha256(f"{of.catalog} {of.product_key} {of.variant_key} {of.title} {shot}".encode()).hexdigest()
    return ImageJob(
        key=key, catalog=of.catalog, product_key=of.product_key, variant_key=of.variant_key, shot=shot, variant=1,
        model="nano-banana-pro", prompt=f"A photo of {of.title}", aspect_ratio="1:1", image_size="1K", references=(),
        shot_list_hash="0" * 64, template_hash="0" * 12, template_version=1, missing_references=missing,
        remark="; ".join(f"photo {name} is not there" for name in missing),
    )  # fmt: skip


def plan(count: int, *shots: str) -> list[PlannedProduct]:
    products = [product(f"p{number}") for number in range(count)]
    return [(item, [job(item, shot) for shot in shots or ("packshot",)]) for item in products]


def received(**values: Any) -> Received:
    usual: dict[str, Any] = {
        "url": "https://oss.example/a.png?Signature=s3cret", "expires_at": START + timedelta(days=1),
        "spool_name": "call-1", "http_status": 200,
        "request_ids": {"x-request-id": "r1"}, "seconds": 12.5,
    }  # fmt: skip
    return Received(**(usual | values))


def stored(key: str = "pub/shop/p1/packshot/abc.png") -> Stored:
    return Stored(
        bucket=BUCKET, key=key, sha256="a" * 64, bytes=1234, mime="image/png", width=1024, height=1024,
        size_as_ordered=True,
    )  # fmt: skip


def recover(ledger: Ledger, decide: Callable[[PackshotError, Past], Decision]) -> dict[S, int]:
    """Settle what dead workers left, as if nothing of it lay in the spool."""
    abandoned = take_over(ledger)
    for claim, attempt in abandoned.calls:
        error = ProviderError(Code.INTERRUPTED, "the process died while this call was in the air")
        with suppress(IllegalMove):
            ledger.not_received(claim, attempt.id or 0, error, partial(decide, error))
    return abandoned.found


class Book:
    """A database with one bucket and one run; ``jobs`` are the ids of the jobs enrolled in it, in order."""

    def __init__(self, engine: Engine, jobs: int = 1, max_cost_micro: int | None = None, worker: str = "w1") -> None:
        self.engine = engine
        self.clock = Clock()
        self.ledger = Ledger(engine, lease=1000, worker=worker, now=self.clock)
        self.runs = Runs(self.ledger)
        with self.ledger.write() as session:
            register_store(session, BUCKET, "https://s3.example", "https://cdn.example/shop")
        self.run_id = self.open_run(max_cost_micro)
        self.runs.enroll(self.run_id, plan(jobs), [])
        self.jobs = [item.job_id for item in self.runs.work(self.run_id, 0, jobs)]

    @property
    def job(self) -> int:
        return self.jobs[0]

    def open_run(self, max_cost_micro: int | None = None) -> int:
        return self.runs.open("shop", "shop.csv", {"limit": 0}, None, max_cost_micro)

    def another_worker(self, worker: str = "w2") -> Ledger:
        return Ledger(self.engine, lease=1000, worker=worker, now=self.clock)

    def rows(self, table: type[SQLModel]) -> list[dict[str, Any]]:
        return dump(self.engine)[str(table.__tablename__)]


def dump(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of ours."""
    with engine.connect() as connection:
        return {
            table.name: [
                dict(row) for row in connection.execute(table.select().order_by(*table.primary_key)).mappings()
            ]
            for table in SQLModel.metadata.sorted_tables
        }
