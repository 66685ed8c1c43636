"""From a product catalog to permanent images.

Does: reads the catalog, plans what the ledger does not have yet, makes it (call, download, store, record), reports.
Needs: PACKSHOT_APIYI_KEY, PACKSHOT_S3_*, a Prefect server; see `packshot doctor`.
Safe to re-run: always, at any moment, also twice at once. What exists is never bought again.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import flow, runtime
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import opaque

from packshot.db.types import JobState, RunState
from packshot.errors import Code
from packshot.options import RunOptions
from packshot.report import Report
from packshot.rescue import bring_home, note_of_lost
from packshot.run import StartedRun, break_off, give_up_run
from packshot.settings import Settings, load_settings
from packshot.stopping import SWITCH
from packshot.studio import ARCHIVES_AT_ONCE, Outcome, Studio
from packshot.studios import open_studio
from packshot.window import Window
from tasks.make_image import make_image
from tasks.plan_run import close_flow_runs, plan_catalog, plan_run
from tasks.progress import Progress
from tasks.report_run import report_run

PROGRESS_EVERY = 5.0  # seconds
SHARD = 900  # images of one flow run: retries included, the Prefect UI can still draw it
DRAIN = 60.0  # seconds for the last states and log lines to reach the server
# An upper bound alone: threads are made when they are needed, and a window decides how many that is.
THREADS = cast(Any, ThreadPoolTaskRunner(max_workers=1000))


def _run_name() -> str:
    options = runtime.flow_run.parameters["options"]
    catalog = options["catalog"] if isinstance(options, dict) else options.catalog
    return f"{Path(catalog).stem} {datetime.now(UTC):%Y-%m-%d %H:%M}"


@flow(
    name="catalog-imaging",
    flow_run_name=_run_name,
    persist_result=False,
    task_runner=THREADS,
)
def catalog_imaging(options: RunOptions = RunOptions()) -> State[Report]:  # noqa: B008  (Prefect reads the default)
    """Make the product pictures of a catalog."""
    if options.plan_only:
        plan = plan_catalog(options)
        return Completed(message=f"{plan.to_make} images to make for ${plan.cost_micro / 1e6:.2f}")
    settings = load_settings()
    concurrency = options.concurrency or settings.concurrency
    with SWITCH.on_signals():
        started = plan_run(options)
        with SWITCH.on_signals(partial(_give_up, settings, started.run_id, runtime.flow_run.id)):
            return _carry_out(settings, started, concurrency)


def _carry_out(settings: Settings, started: StartedRun, concurrency: int) -> State[Report]:
    lost: list[str] = []
    try:
        progress = cast(UUID, create_progress_artifact(0.0, description=f"0 of {started.size} images"))
        with open_studio(settings, started.run_id, concurrency) as studio:
            found = bring_home(studio, partial(submit_image, studio), outcome_of)  # what is paid for goes first
            lost = note_of_lost(*found)
            if started.size <= SHARD:
                make_images(studio, 0, started.size, started.size, progress)
            else:
                _make_in_shards(studio, started, progress)
            stop = studio.stop_reason
    except TerminationSignal:
        if SWITCH.reason is None:
            break_off(settings, started.run_id, Code.STOP_REQUESTED, "cancelled in Prefect, or its worker was stopped")
            raise
        stop = SWITCH.reason  # it came while a shard began, so nothing is in the air
    except BaseException as error:
        break_off(settings, started.run_id, Code.INTERRUPTED, f"{type(error).__name__} in the flow")
        raise
    report = report_run(started.run_id, stop, started.notes + lost)
    update_progress_artifact(progress, 100 * report.run.archived / max(report.run.planned, 1), report.headline)
    return _final_state(report)


def _make_in_shards(studio: Studio, started: StartedRun, progress: UUID) -> None:
    # The parent's heartbeat speaks for its shards: ending one of its own would cost each a second.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        for first, count in shards(started.size):
            if studio.stopped:
                return
            name = f"run {started.run_id}, images {first + 1}-{first + count}"
            shard = make_shard.with_options(flow_run_name=name)
            shard(started.run_id, first, count, started.size, studio.concurrency, progress)


@flow(name="image-shard", persist_result=False, task_runner=THREADS)
def make_shard(run_id: int, first: int, count: int, size: int, concurrency: int, progress: UUID) -> None:
    """Make the run's jobs at the positions ``first`` to ``first + count - 1``."""
    with open_studio(load_settings(), run_id, concurrency) as studio:
        make_images(studio, first, count, size, progress)


def make_images(studio: Studio, first: int, count: int, size: int, artifact: UUID) -> None:
    """A task run for each of these images, so many at once that every call slot is in use."""
    assert studio.run_id is not None
    progress = Progress(artifact)
    shown = time.monotonic()
    items = {item.job_id: item for item in studio.runs.work(studio.run_id, first, count)}
    window = Window(
        lambda job_id: submit_image(studio, job_id, items[job_id].label),
        *pool_size(studio.concurrency),
        stopped=lambda: studio.stopped,
    )
    for item in items.values():
        window.put(item.job_id, item.wait, last=item.paid)
    try:
        for job_id, future in window.run():
            outcome = outcome_of(future)
            if isinstance(outcome, Outcome) and outcome.retry_in is not None:
                window.put(job_id, outcome.retry_in, last=outcome.state is JobState.GENERATED)
            if time.monotonic() - shown > PROGRESS_EVERY:
                shown = time.monotonic()
                archived, text = studio.standing()
                progress.show(100 * archived / size, f"of {size} images: {text}")
    finally:
        progress.close()


def _give_up(settings: Settings, run_id: int, flow_run_id: str) -> None:
    """This process ends at once."""
    give_up_run(settings, run_id)
    close_flow_runs([flow_run_id], "stopped at once, with calls in the air")


def submit_image(studio: Studio, job_id: int, label: str) -> PrefectFuture[Any]:
    # opaque: Prefect would otherwise walk through the studio, for each image, in search of futures.
    return make_image.submit(job_id, label, cast(Studio, opaque(studio)))


def outcome_of(future: PrefectFuture[Any]) -> object:
    return future.result(raise_on_failure=False)


def pool_size(concurrency: int) -> tuple[int, int]:
    """(threads, spare threads) for ``concurrency`` calls at once: some bring images home while others call; when all
    calls end at the same moment, the spare ones take over their slots."""
    return concurrency + ARCHIVES_AT_ONCE, concurrency


def shards(size: int) -> Iterator[tuple[int, int]]:
    """(first, count) of each subflow."""
    for first in range(0, size, SHARD):
        yield first, min(SHARD, size - first)


def run_here(options: RunOptions) -> State[Report]:
    """Run the flow in this process, and return when the server has been told everything: it may be stopped then.

    Without a heartbeat: that is for runs which a worker started, and it lets a run end only at a full second.
    """
    try:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            return cast(State[Report], catalog_imaging(options, return_state=True))
    finally:
        EventsWorker.drain_all(timeout=DRAIN, at_exit=False)
        APILogWorker.drain_all(timeout=DRAIN, at_exit=False)


def _final_state(report: Report) -> State[Report]:
    if report.run.state != RunState.COMPLETED:
        return Failed(name="Stopped", message=report.headline, data=report)
    name = "Completed" if report.exit_code == 0 else "CompletedWithFailures"
    return Completed(name=name, message=report.headline, data=report)


if __name__ == "__main__":
    catalog_imaging()
