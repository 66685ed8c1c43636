"""What the processes of a race do. Each gets a URL, its orders, a barrier to start at, and a queue for its findings."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from multiprocessing.synchronize import Barrier
from typing import Any

from packshot.db.engine import open_engine, upgrade
from packshot.db.ledger import Ledger, register_store
from packshot.db.runs import Runs
from packshot.errors import PackshotError
from tests.db.ledger_cases import PRICE, START, plan
from tests.db.ledger_cases import recover as settle

THREADS = 8
Racer = Callable[[str, Any, Barrier], Any]


def race(racer: Racer, url: str, orders: Sequence[Any]) -> list[Any]:
    """Run one process for each order, all at once; what each returned, or the text of what it raised."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(len(orders)), context.SimpleQueue()
    processes = [context.Process(target=_lane, args=(racer, url, order, barrier, results)) for order in orders]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    return found


def _lane(racer: Racer, url: str, order: Any, barrier: Barrier, results: Any) -> None:
    try:
        results.put(racer(url, order, barrier))
    except BaseException as error:  # noqa: BLE001  (reported to the test, which fails on it)
        barrier.abort()
        results.put(f"{type(error).__name__}: {error}")


def claim_all(url: str, jobs: list[int], barrier: Barrier) -> list[int]:
    """Claim the jobs with several threads; returns those that we got."""
    ledger = Ledger(open_engine(url))
    with ThreadPoolExecutor(THREADS) as pool:
        pool.submit(ledger.state, jobs[0]).result()
        barrier.wait(60)
        # Every thread goes for every job: all of them meet at each row.
        rounds = list(pool.map(lambda _: [claim.job_id for i in jobs if (claim := ledger.claim(i))], range(THREADS)))
    return list(chain(*rounds))


def spend(url: str, order: tuple[int, list[int]], barrier: Barrier) -> int:
    """Begin calls for the jobs until the run's budget says no; returns how many began."""
    run_id, jobs = order
    ledger = Ledger(open_engine(url))

    def begin(job_id: int) -> int:
        claim = ledger.claim(job_id)
        assert claim
        try:
            return bool(ledger.begin(claim, run_id, PRICE, "images", 1))
        except PackshotError:
            return 0

    with ThreadPoolExecutor(THREADS) as pool:
        barrier.wait(60)
        return sum(pool.map(begin, jobs))


def spend_in_a_day(url: str, order: tuple[int, list[int], int], barrier: Barrier) -> int:
    """Begin calls for the jobs until the day's budget says no; returns how many began."""
    run_id, jobs, limit = order
    ledger = Ledger(open_engine(url), now=lambda: START)

    def begin(job_id: int) -> int:
        claim = ledger.claim(job_id)
        assert claim
        try:
            return bool(ledger.begin(claim, run_id, PRICE, "images", 1, limit))
        except PackshotError:
            return 0

    with ThreadPoolExecutor(THREADS) as pool:
        barrier.wait(60)
        return sum(pool.map(begin, jobs))


def enroll(url: str, order: tuple[int, bool], barrier: Barrier) -> list[int]:
    """Plan the same catalog, the rows of each batch forwards or backwards; returns (jobs of the run, run id)."""
    batches, backwards = order
    ledger = Ledger(open_engine(url))
    runs = Runs(ledger)
    whole = plan(batches * 20, "packshot", "detail")
    barrier.wait(60)
    with ledger.write() as session:
        register_store(session, "shop", "https://s3.example", "https://cdn.example/shop")
    run_id = runs.open("shop", "shop.csv", {}, None, None)
    for start in range(0, len(whole), 20):
        batch = whole[start : start + 20]
        runs.enroll(run_id, batch[::-1] if backwards else batch, [])
    return [runs.size(run_id), run_id]


def migrate(url: str, _order: None, barrier: Barrier) -> str:
    barrier.wait(60)
    return upgrade(open_engine(url))


def recover(url: str, _order: None, barrier: Barrier) -> dict[str, int]:
    from packshot.policy import Decision, Verdict

    ledger = Ledger(open_engine(url))
    ledger.state(1)
    barrier.wait(60)
    return {str(k): v for k, v in settle(ledger, lambda error, past: Decision(Verdict.RETRY)).items()}


def die_calling(url: str, run_id: int, jobs: list[int]) -> None:
    """Leave one job claimed, one calling; then die as by kill -9."""
    ledger = Ledger(open_engine(url))
    ledger.claim(jobs[0])
    claim = ledger.claim(jobs[1])
    assert claim
    ledger.begin(claim, run_id, PRICE, "images", 1)
    os.kill(os.getpid(), signal.SIGKILL)
