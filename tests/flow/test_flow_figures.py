"""Real runs that are held up in one place: their figures name it. Also of several processes, and of one that dies."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from packshot.advice import advice
from packshot.db.queries import assets
from packshot.figures import Figures
from packshot.options import RunOptions
from packshot.report_page import markdown
from packshot.run import finish_run, start_run
from packshot.run_figures import read_figures
from packshot.settings import load_settings
from packshot.stopwatch import Step, Use
from packshot.studios import open_studio
from tests.fixtures_prefect import PrefectApi
from tests.fixtures_shop import OpenShop, Shop, write_catalog
from tests.line import Line

AT_ONCE = 2


def figures_of_run(shop: Shop, images: int) -> tuple[Figures, str]:
    report = shop.run(write_catalog(shop.folder / "c.csv", images))
    assert report.run.archived == images
    assert report.figures
    return report.figures, markdown(report)


def test_few_slots_and_a_slow_provider(shop: Shop, prefect: PrefectApi) -> None:
    shop.emulator.latency = 4.0  # beside it even the writes of a machine that others crowd are quick
    shop.set(CONCURRENCY=2)
    report = shop.run(write_catalog(shop.folder / "c.csv", 8))
    found = report.figures
    assert found
    assert (found.images, found.calls, found.slots, found.processes) == (8, 8, 2, 1)
    assert found.share(Use.CALLS) > 0.8
    assert found.steps[Step.CALL].mean >= 4.0
    assert found.steps[Step.DATABASE].times == 4 * 8
    assert all(found.steps[step].times == 8 for step in (Step.IMAGE, Step.SLOT, Step.DOWNLOAD, Step.UPLOAD))
    assert "The provider is the limit" in advice(found)
    assert "PACKSHOT_CONCURRENCY (now 2)" in markdown(report)
    [shown] = [one for one in prefect.artifacts(str(report.run.flow_run_id)) if one["key"] == "c-report"]
    assert "## What limited it" in shown["data"]
    assert "| provider (the call) | 8 |" in shown["data"]


def test_slow_downloads(shop: Shop) -> None:
    for _ in range(40):
        shop.emulator.queue("url_slow", seconds=1.0)
    found, text = figures_of_run(shop, 40)
    assert "Downloads are slow" in text
    assert found.share(Use.HOMEWARD) > 0.3
    assert found.steps[Step.DOWNLOAD].mean > 0.9
    assert found.steps[Step.ARCHIVER].seconds > found.steps[Step.DATABASE].seconds


def test_a_slow_bucket(shop: Shop) -> None:
    port = urlsplit(shop.settings.s3_endpoint_url).port
    assert port
    with Line(port) as line:
        line.slow = (b"PUT", 1.0)
        shop.set(S3_ENDPOINT_URL=line.url)
        found, text = figures_of_run(shop, 40)
    assert "The bucket is slow" in text
    assert found.steps[Step.UPLOAD].mean > 0.9
    assert found.steps[Step.DOWNLOAD].mean < 0.5


def test_a_provider_that_says_too_many(open_shop: OpenShop) -> None:
    shop = open_shop()
    shop.set(RETRY=json.dumps({"rate_limited": {"waits": [4.0]}}))
    shop.emulator.queue("rate_limited", times=8)
    found, text = figures_of_run(shop, 12)
    assert found.rate_limited == 8
    assert found.share(Use.HELD_BACK) > 0.3
    assert "The provider answered 429 8 times" in text
    assert "lower PACKSHOT_CONCURRENCY" in text


def test_a_run_with_nothing_to_make_has_no_figures(shop: Shop) -> None:
    catalog = write_catalog(shop.folder / "c.csv", 1)
    shop.run(catalog)
    report = shop.run(catalog)
    assert report.figures is None
    assert "limited" not in markdown(report)


# --- several processes ----------------------------------------------------------------------------------------
def lane(run_id: int, first: int, count: int, dies: bool) -> None:
    """One worker: makes its part of the run. The one that dies writes its sheet, makes as many more, and is gone."""
    with open_studio(load_settings(), run_id, AT_ONCE) as studio, ThreadPoolExecutor(4) as pool:
        jobs = [item.job_id for item in studio.runs.work(run_id, first, count)]
        assert len(jobs) == count
        with studio.watch.of(Step.WORK):
            if dies:
                list(pool.map(studio.make, jobs[: count // 2]))
                studio.timekeeper.note()
                studio.timekeeper.note()
                jobs = jobs[count // 2 :]
            list(pool.map(studio.make, jobs))
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)


def in_processes(work: Callable[..., None], orders: list[tuple[Any, ...]]) -> list[int | None]:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=order) for order in orders]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def test_two_workers_add_up_and_of_one_that_dies_the_last_sheet_holds(shop: Shop) -> None:
    started = start_run(
        shop.settings, RunOptions(catalog=str(write_catalog(shop.folder / "c.csv", 16))), flow_run_id=None
    )
    run_id = started.run_id
    assert in_processes(lane, [(run_id, 0, 8, False), (run_id, 8, 8, True)]) == [0, -signal.SIGKILL]
    assert len(assets(shop.engine, run_id=run_id)) == 16
    found = read_figures(shop.engine, [run_id])[run_id]
    # 8 of the one; of the other those 4 that were on its sheet, which it wrote twice.
    assert (found.images, found.calls, found.steps[Step.IMAGE].times) == (12, 12, 12)
    assert found.slots == AT_ONCE
    assert sum(found.share(use) for use in Use) == pytest.approx(1)
    assert found.slot_seconds[Use.CALLS] >= found.steps[Step.CALL].seconds * 0.99
    report = finish_run(shop.settings, run_id)
    assert report.run.archived == 16
    assert report.figures == found
