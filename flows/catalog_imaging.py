"""From a product catalog to permanent images.

Does: reads the catalog, plans what the ledger does not have yet, makes it (call, download, store, record), reports.
Needs: PACKSHOT_APIYI_KEY, PACKSHOT_S3_*, a Prefect server; see `packshot doctor`.
Safe to re-run: always, at any moment, also twice at once. What exists is never bought again.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from typing import cast
from uuid import UUID

from prefect import flow, runtime
from prefect.artifacts import create_progress_artifact
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.exceptions import TerminationSignal
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed
from prefect.utilities.annotations import opaque

from flows.image_shard import THREADS, image_shard, make_images, outcome_of, slots_held, submit_image
from packshot.db.running import noted_stop
from packshot.errors import Code
from packshot.memory import settle_down
from packshot.options import RunOptions
from packshot.report import Report, RunFailed, ending
from packshot.rescue import bring_home, note_of_lost
from packshot.run import StartedRun, break_off, give_up_run
from packshot.run_sheet import Thumbnails
from packshot.settings import Settings, load_settings
from packshot.stopping import CANCELLED, SWITCH
from packshot.studio import Studio
from packshot.studios import open_studio
from tasks.plan_run import close_flow_runs, plan_catalog, plan_run
from tasks.provider_limit import ProviderLimit
from tasks.report_run import report_run
from tasks.share_out import require_workers, shards, share_out

SETTLED_AFTER = 5.0  # seconds; it halts all threads, so not while they begin their first calls
SHARDS_AT_ONCE = 3
"""Parts of a run that are open at the same time: one that begins its images, and those before it that wait for their
retries. Each keeps as many threads as its busiest moment took, so they must not pile up."""
DRAIN = 60.0  # seconds for the last states and log lines to reach the server


def _run_name() -> str:
    given = runtime.flow_run.parameters["options"]
    options = RunOptions.model_validate(given) if isinstance(given, dict) else given
    plan = "plan " if options.plan_only else ""
    return f"{options.name or options.catalog_stem} {plan}{datetime.now(UTC):%Y-%m-%d %H:%M}"


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
    if options.workers > 1:
        require_workers()
    with SWITCH.on_signals():
        started = plan_run(options)
        with SWITCH.on_signals(partial(_give_up, settings, started.run_id, runtime.flow_run.id)):
            return _carry_out(settings, started, options)


def _carry_out(settings: Settings, started: StartedRun, options: RunOptions) -> State[Report]:
    notes = list(started.notes)
    known: Thumbnails = {}
    wanted = options.concurrency or settings.concurrency
    settled = threading.Timer(SETTLED_AFTER, settle_down)
    settled.start()
    try:
        progress = cast(UUID, create_progress_artifact(0.0, description=f"0 of {started.size} images"))
        with ProviderLimit(settings) as limit:
            concurrency = limit.share(wanted)
            notes += limit.note(wanted, concurrency)
            with open_studio(settings, started.run_id, concurrency) as studio:
                known = studio.thumbnails
                found = bring_home(studio, partial(submit_image, studio), outcome_of)  # what is paid for goes first
                notes += note_of_lost(*found)
                if options.workers > 1:
                    notes += share_out(studio, started.size, options.workers, progress)
                else:
                    with slots_held(limit, studio):
                        if started.size > settings.shard_size:
                            _make_in_shards(studio, started, progress)
                        else:
                            make_images(studio, 0, started.size, progress)
                stop = studio.stop_reason or noted_stop(studio.ledger, started.run_id)
    except TerminationSignal:
        if SWITCH.reason is None:
            break_off(settings, started.run_id, Code.STOP_REQUESTED, CANCELLED)
            raise
        stop = SWITCH.reason  # it came while a shard began, so nothing is in the air
    except BaseException as error:
        break_off(settings, started.run_id, Code.INTERRUPTED, f"{type(error).__name__} in the flow")
        raise
    finally:
        settled.cancel()
    return _final_state(report_run(started.run_id, stop, notes, progress, cast(Thumbnails, opaque(known))))


def _make_in_shards(studio: Studio, started: StartedRun, progress: UUID) -> None:
    """One after the other, but each begins while the last calls of those before it are in the air: no slot idles."""

    def make(first: int, count: int) -> State[None]:
        shard = image_shard.with_options(flow_run_name=f"run {started.run_id}, images {first + 1}-{first + count}")
        place = (started.run_id, first, count, studio.concurrency, progress)
        return cast(State[None], shard(*place, return_state=True))

    parts = list(shards(started.size, studio.settings.shard_size))
    with (
        # The parent's heartbeat speaks for its shards: ending one of its own would cost each a second.
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        ThreadPoolExecutor(SHARDS_AT_ONCE, thread_name_prefix="shard") as threads,
        _stopped_by_exceptions(studio),  # the shards hear of it before they are waited for
    ):
        begun: list[Future[State[None]]] = []
        for part in parts:
            if studio.stopped:
                break
            drained = studio.room.drained(part[0])
            begun.append(threads.submit(copy_context().run, partial(make, *part)))
            begun[-1].add_done_callback(partial(_set, drained))  # also when it broke before it submitted anything
            drained.wait()
    for ended in begun:
        if not studio.stopped:
            ended.result().result()  # what broke it breaks the run


def _set(event: threading.Event, _ended: object) -> None:
    event.set()


@contextmanager
def _stopped_by_exceptions(studio: Studio) -> Iterator[None]:
    """No new call goes out. A worker that was stopped gives its flow half a minute: what comes home in it counts."""
    try:
        yield
    except TerminationSignal:
        studio.stop(Code.STOP_REQUESTED, CANCELLED)
        raise
    except BaseException as error:
        studio.stop(Code.INTERRUPTED, f"the run was interrupted by {type(error).__name__}")
        raise


def _give_up(settings: Settings, run_id: int, flow_run_id: str) -> None:
    """This process ends at once."""
    give_up_run(settings, run_id)
    close_flow_runs([flow_run_id], "stopped at once, with calls in flight")


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
    end = ending(report)
    if end.failed:  # as an exception: a worker's process raises what it finds in a failed state
        return Failed(name=end.name, message=end.message, data=RunFailed(report, end.message))
    return Completed(name=end.name, message=end.message, data=report)


if __name__ == "__main__":
    catalog_imaging()
