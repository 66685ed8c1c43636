"""Does the asset database answer at once at the size of a real shop? A million images, on SQLite and on PostgreSQL.

Fills a database of each kind, then times what people and runs ask of it by our own functions: each 20 times with other
values, after some calls to warm up. Every plan is looked at: none may go through a large table from end to end. What
must by nature touch all the images of a run is timed and has no bar. SQLite has no statistics, as in life; PostgreSQL
has those that it makes by itself.

    python -m benchmarks.queries --assets 1000000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlmodel import Session, col, select

from benchmarks.shop_database import Shape, fill
from packshot.db import queries
from packshot.db.abandoned import calls_of_files, received_jobs, return_to_received, take_over
from packshot.db.costs import attempts_between, costs, refunds
from packshot.db.engine import open_engine, upgrade
from packshot.db.holds import find, find_all, holds
from packshot.db.ledger import Ledger
from packshot.db.moves import Claim, Received, Stored
from packshot.db.noteworthy import ending_urls, held_in_planning, picture
from packshot.db.running import beat, stop_requested
from packshot.db.runs import Runs
from packshot.db.tables import Asset, ImageJob, Product, Store
from packshot.errors import Code
from packshot.forecast import observed_rates
from tests.db.query_plans import scans
from tests.fixtures_postgres import PostgresServer, postgres_binaries

BAR_MS = 5.0
CALLS = 20
WARM_UP = 3
PAGE = 50
FULL = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """``act`` gets 0, 1, 2... to ask about other values each time. ``whole``: touches all images of a run, or answers
    with thousands of rows, by nature: no bar. ``walks``: tables it may walk through in order, because it ends soon."""

    name: str
    act: Callable[[int], object]
    whole: bool = False
    walks: frozenset[str] = frozenset()


@dataclass(slots=True)
class Timing:
    name: str
    median_ms: float
    worst_ms: float
    whole: bool
    scanned: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.whole or (self.worst_ms <= BAR_MS and not self.scanned)


def cases(engine: Engine, shape: Shape) -> list[Case]:
    """What is asked, by the functions that ask it."""
    # The clock of the shop: its runs are as long ago as its numbers say.
    ledger = Ledger(engine, lease=300, worker="benchmark:1:1", now=lambda: shape.now)
    runs, now, running = Runs(ledger), shape.now, shape.running
    with engine.connect() as connection:
        # A picture somewhere in the shop that is archived, another for each call.
        numbers = [1 + (7919 * n * n + 104729 * n) % (shape.assets - 1) // 500 * 500 for n in range(WARM_UP + CALLS)]
        named = text("SELECT job_key FROM asset_lineage WHERE job_id = :n")
        keys = [str(connection.scalar(named, {"n": n})) for n in numbers]
        spool = text("SELECT spool_name FROM attempt WHERE id = :n")
        files = [str(connection.scalar(spool, {"n": n})) for n in numbers]
        free = text("SELECT id FROM image_job WHERE state = 'planned' ORDER BY id LIMIT :n")
        planned = connection.scalars(free, {"n": WARM_UP + CALLS}).all()

    def sku(n: int) -> str:
        return f"SKU-{numbers[n] // 3:07}"

    def sql(statement: str) -> Callable[[int], object]:
        def ask(n: int) -> object:
            values = {
                "sku": sku(n), "product": f"product-{numbers[n]:07}", "n": numbers[n], "job": keys[n],
                "checksum": hashlib.sha256(f"image {numbers[n]}".encode()).hexdigest(),
            }  # fmt: skip
            values = {name: value for name, value in values.items() if f":{name}" in statement}
            with engine.connect() as connection:
                return connection.execute(text(statement), values).all()

        return ask

    def with_sqlmodel(n: int) -> object:
        pictures = (
            select(Asset, ImageJob, Product, Store)
            .select_from(Asset).join(ImageJob).join(Product).join(Store)
            .where(Product.sku == sku(n), col(Asset.replaced_at).is_(None))
        )  # fmt: skip
        with Session(engine) as session:
            return session.exec(pictures).all()

    def run_of(n: int) -> int:
        return 1 + n % 10

    def day(n: int) -> dict[str, Any]:
        since = now - timedelta(days=n, minutes=10)
        return {"since": since, "until": since + timedelta(minutes=10)}

    def claimed(n: int) -> Claim:
        claim = ledger.claim(planned[n])
        assert claim is not None
        return claim

    def claim_and_release(n: int) -> None:
        ledger.release(claimed(n))

    latest = frozenset({"asset in order"})
    first = frozenset({"image_job in order", "product in order", "asset in order"})
    return [
        Case("assets --product SKU", lambda n: queries.assets(engine, product=sku(n))),
        Case("assets --product KEY", lambda n: queries.assets(engine, product=f"product-{numbers[n]:07}")),
        Case("assets --run", lambda n: queries.assets(engine, run_id=run_of(n), limit=PAGE)),
        Case("assets --newest", lambda n: queries.assets(engine, newest=True, limit=PAGE), walks=latest),
        Case(
            "assets of a catalog",
            lambda n: queries.assets(engine, catalog=("shop", "outlet")[n % 2], limit=PAGE),
            walks=frozenset({"product in order"}),  # by product key, where most are of the catalog
        ),
        Case("assets, the first", lambda n: queries.assets(engine, limit=PAGE), walks=first),
        Case("lineage of an asset", lambda n: queries.lineage(engine, numbers[n])),
        Case("runs", lambda n: queries.runs(engine, 20)),
        Case("rejects", lambda n: queries.rejects(engine, run_of(n))),
        Case("unfinished of a run", lambda n: queries.unfinished(engine, run_of(n)), whole=True),
        Case("holds, the first", lambda n: holds(engine, limit=PAGE)),
        Case("holds, all", lambda n: holds(engine), whole=True),
        Case("holds resolve KEY", lambda n: find(engine, [keys[n][:10]])),
        Case("holds resolve --code skipped", lambda n: find_all(engine, Code.SKIPPED), whole=True),
        Case("costs of ten minutes", lambda n: costs(engine, **day(n))),
        Case("costs --run", lambda n: costs(engine, run_id=run_of(n)), whole=True),
        Case("costs reconcile, ten minutes", lambda n: attempts_between(engine, **day(n))),
        Case("costs refunds, ten minutes", lambda n: refunds(engine, **day(n))),
        Case("SQL: lineage by SKU", sql("SELECT * FROM asset_lineage WHERE sku = :sku")),
        Case("SQL: lineage by product", sql("SELECT * FROM asset_lineage WHERE product_key = :product")),
        Case(
            "SQL: newest of lineage",
            sql("SELECT * FROM asset_lineage ORDER BY asset_id DESC LIMIT 50"), walks=latest,
        ),
        Case(
            "SQL: a page of a catalog",
            sql(
                "SELECT product_key, url FROM asset_lineage WHERE catalog = 'shop' AND shot = 'packshot' "
                "AND product_key >= :product ORDER BY product_key LIMIT 100"
            ),
        ),
        Case("SQL: lineage by checksum", sql("SELECT * FROM asset_lineage WHERE sha256 = :checksum")),
        Case("SQL: lineage by job", sql("SELECT * FROM asset_lineage WHERE job_key = :job")),
        Case(
            "SQL: what is new since",
            sql("SELECT * FROM asset_lineage WHERE asset_id > :n ORDER BY asset_id LIMIT 50"),
        ),
        Case("SQL: the runs' money", sql("SELECT id, calls, spent_micro FROM run ORDER BY id DESC LIMIT 20")),
        Case("SQLModel: pictures of a SKU", with_sqlmodel),
        Case("run: claim and release", claim_and_release),
        Case("run: a window of 100", lambda n: runs.work(running, 100 * n, 100)),
        Case("run: a shard of 900", lambda n: runs.work(running, 900 * n, 900), whole=True),
        Case("run: look for a request to stop", lambda n: stop_requested(ledger, [running])),
        Case("run: sign of life", lambda n: beat(ledger)),
        Case("run: progress", lambda n: runs.progress(running), whole=True),
        Case("run: its size", lambda n: runs.size(running)),
        Case("run: assets at its end", lambda n: queries.number_of_assets(engine, running), whole=True),
        Case("plan: states of 300 jobs", lambda n: queries.job_states(engine, (keys * 20)[:300])),
        Case("plan: what calls took so far", lambda n: observed_rates(engine, ["nano-banana-pro", "nano-banana-2"])),
        Case("recovery: stale claims", lambda n: take_over(ledger)),
        Case("recovery: files of the spool", lambda n: calls_of_files(ledger, [files[n], files[n - 1]])),
        Case("recovery: held for the spool", lambda n: return_to_received(ledger, lambda name: False), whole=True),
        Case("recovery: received images", lambda n: received_jobs(ledger)),
        Case("events: an image", lambda n: picture(engine, numbers[n])),
        Case("events: held in planning", lambda n: held_in_planning(engine, running, 100)),
        Case("events: URLs near their end", lambda n: ending_urls(engine, now)),
    ]  # fmt: skip


def timed(engine: Engine, case: Case, rounds: int) -> Timing:
    """Of each call the quickest of at most so many rounds: what other programs take of the machine is not ours."""
    scanned = sorted(scans(engine, lambda: case.act(0)) - case.walks)
    best = [math.inf] * CALLS
    for _ in range(rounds):
        took = []
        for n in range(WARM_UP + CALLS):
            began = time.perf_counter()
            case.act(n)
            took.append(1000 * (time.perf_counter() - began))
        best = [min(pair) for pair in zip(best, took[WARM_UP:], strict=True)]
        timing = Timing(case.name, statistics.median(best), max(best), case.whole, scanned)
        if timing.passed:
            break
    return timing


def moves(engine: Engine, shape: Shape, images: int) -> float:
    """Milliseconds an image's whole way through the ledger takes: four transactions."""
    ledger = Ledger(engine, lease=300, worker="benchmark:1:2", now=lambda: shape.now)
    with engine.connect() as connection:
        planned = text("SELECT id FROM image_job WHERE state = 'planned' ORDER BY id DESC LIMIT :n")
        numbers = connection.scalars(planned, {"n": images}).all()
    began = time.perf_counter()
    for number in numbers:
        claim = ledger.claim(number)
        assert claim is not None
        attempt = ledger.begin(claim, shape.running, 90_000, "images", 1)
        end = shape.now + timedelta(hours=20)
        answer = Received("https://oss.example.com/a.png?s=1", end, f"call-{number}", 200, {"x-request-id": "r"}, 22.5)
        claim = ledger.received(claim, attempt, answer)
        ledger.archived(claim, Stored("shop", f"pub/{number}.png", f"{number:064}", 1, "image/png", 2048, 2048, True))
    return 1000 * (time.perf_counter() - began) / len(numbers)


def databases(chosen: list[str], folder: Path) -> Generator[tuple[str, str], None, None]:
    """Empty databases of these kinds, as (kind, URL); the one of PostgreSQL goes with its server."""
    if "sqlite" in chosen:
        yield "sqlite", f"sqlite:///{folder / 'shop.db'}"
    if "postgresql" in chosen:
        binaries = postgres_binaries()
        if binaries is None:
            raise SystemExit("PostgreSQL's binaries are not on this machine; choose --database sqlite")
        with PostgresServer(binaries, "256MB") as server:
            yield "postgresql", server.new_database()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=FULL)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--url", help="of a database that an earlier run has filled with as many, and kept")
    parser.add_argument("--moves", type=int, default=300, help="images that go through the ledger")
    parser.add_argument("--rounds", type=int, default=1, help="on a machine that others use: each call so often")
    options = parser.parse_args()
    shape = Shape(options.assets)
    found: dict[str, Any] = {
        "benchmark": "queries",
        "assets": options.assets,
        "bar_ms": BAR_MS,
        "rounds": options.rounds,
    }
    failed = False
    with (
        tempfile.TemporaryDirectory(prefix="packshot-queries-") as folder,
        closing(databases(options.database, Path(folder))) as empty,
    ):
        for kind, url in [(options.url.partition(":")[0], options.url)] if options.url else empty:
            engine = open_engine(url)
            upgrade(engine)
            if not options.url:
                began = time.perf_counter()
                fill(engine, shape)
                print(f"{kind}: {options.assets:,} assets in {time.perf_counter() - began:.0f} s")
            timings = []
            for case in cases(engine, shape):
                timing = timed(engine, case, options.rounds)
                timings.append(timing)
                scanned = f"  reads all of {', '.join(timing.scanned)}" if timing.scanned else ""
                bar = "  (no bar)" if timing.whole else "" if timing.passed else "  MISSED"
                print(
                    f"  {timing.name:<32} {timing.median_ms:8.2f} {timing.worst_ms:8.2f} ms{scanned}{bar}", flush=True
                )
            way = moves(engine, shape, options.moves)
            print(f"  {'an image through the ledger':<32} {way:8.2f} ms, four transactions")
            failed = failed or not all(timing.passed for timing in timings)
            found[kind] = {
                "worst": round(max(timing.worst_ms for timing in timings if not timing.whole), 3),
                "missed": [timing.name for timing in timings if not timing.passed],
                "median_ms": {timing.name: round(timing.median_ms, 3) for timing in timings},
                "worst_ms": {timing.name: round(timing.worst_ms, 3) for timing in timings},
                "ledger_ms": round(way, 3),
            }
            engine.dispose()
    print(json.dumps(found))
    if failed and options.assets >= FULL:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
