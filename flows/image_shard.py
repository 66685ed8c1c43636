"""A part of a run's images.

Does: makes the run's jobs at some positions of its plan (call, download, store, record).
Needs: a run that `catalog-imaging` has planned and goes on; it starts this flow, here or on other workers.
Safe to re-run: always; jobs that are done or in other hands are left alone. In a run that is closed it buys nothing.
"""

from typing import Any, cast
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import opaque

from packshot.db.running import note_stop
from packshot.db.types import JobState
from packshot.errors import Code
from packshot.settings import load_settings
from packshot.stopping import CANCELLED
from packshot.stopwatch import Step
from packshot.studio import ARCHIVES_AT_ONCE, Outcome, Studio
from packshot.studios import open_studio
from packshot.window import Window
from tasks.make_image import make_image
from tasks.progress import Progress
from tasks.provider_limit import ProviderLimit

# An upper bound alone: threads are made when they are needed, and a window decides how many that is.
THREADS = cast(Any, ThreadPoolTaskRunner(max_workers=1000))


@flow(
    name="image-shard",
    flow_run_name="run {run_id}, images {first}+{count}",
    persist_result=False,
    task_runner=THREADS,
)
def image_shard(run_id: int, first: int, count: int, concurrency: int, progress: UUID) -> State[None]:
    """Make the run's jobs at the positions ``first`` to ``first + count - 1``, ``concurrency`` calls at once."""
    settings = load_settings()
    with ProviderLimit(settings) as limit, open_studio(settings, run_id, limit.share(concurrency)) as studio:
        make_images(studio, limit, first, count, progress)
        if studio.stop_reason:
            note_stop(studio.ledger, run_id, studio.stop_reason)
            return Failed(name="Stopped", message=studio.stop_reason[1])
    return Completed(message=f"{count} images seen to")


def make_images(studio: Studio, limit: ProviderLimit, first: int, count: int, artifact: UUID) -> None:
    """A task run for each of these images, so many at once that every call slot is in use."""
    assert studio.run_id is not None
    progress = Progress(artifact, studio)
    items = {item.job_id: item for item in studio.runs.work(studio.run_id, first, count)}
    window = Window(
        lambda job_id: submit_image(studio, job_id, items[job_id].label),
        *pool_size(studio.concurrency),
        stopped=lambda: studio.stopped,
    )
    for item in items.values():
        window.put(item.job_id, item.wait, last=item.paid)
    try:
        with studio.watch.of(Step.LIMIT) as waiting, limit.hold(studio.concurrency, lambda: studio.stopped):
            waiting.then(Step.WORK)
            try:
                for job_id, future in window.run():
                    outcome = outcome_of(future)
                    if isinstance(outcome, Outcome) and outcome.retry_in is not None:
                        window.put(job_id, outcome.retry_in, last=outcome.state is JobState.GENERATED)
                    progress.look()
            except TerminationSignal:  # a worker gives its flow half a minute: what comes home in it counts
                studio.stop(Code.STOP_REQUESTED, CANCELLED)
                for _ in window.run():
                    pass
                raise
    finally:
        progress.close()


def submit_image(studio: Studio, job_id: int, label: str) -> PrefectFuture[Any]:
    # opaque: Prefect would otherwise walk through the studio, for each image, in search of futures.
    return make_image.submit(job_id, label, cast(Studio, opaque(studio)))


def outcome_of(future: PrefectFuture[Any]) -> object:
    return future.result(raise_on_failure=False)


def pool_size(concurrency: int) -> tuple[int, int]:
    """(threads, spare threads) for ``concurrency`` calls at once: some bring images home while others call; when all
    calls end at the same moment, the spare ones take over their slots."""
    return concurrency + ARCHIVES_AT_ONCE, concurrency


if __name__ == "__main__":
    raise SystemExit("started by catalog-imaging, with the run it belongs to")
