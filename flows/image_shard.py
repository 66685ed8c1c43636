"""A part of a run's images.

Does: makes the run's jobs at some positions of its plan (call, download, store, record).
Needs: a run that `catalog-imaging` has planned and goes on; it starts this flow, here or on other workers.
Safe to re-run: always; jobs that are done or in other hands are left alone. In a run that is closed it buys nothing.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
from packshot.memory import tune_malloc
from packshot.outcome import Outcome
from packshot.settings import load_settings
from packshot.stopping import CANCELLED
from packshot.stopwatch import Step
from packshot.studio import Studio
from packshot.studios import is_open, open_studio
from packshot.window import Window
from tasks.make_image import make_image
from tasks.progress import Progress
from tasks.provider_limit import ProviderLimit

tune_malloc()
# An upper bound alone: threads are made when they are needed, and a window decides how many that is.
THREADS = cast(Any, ThreadPoolTaskRunner(max_workers=2000))


@flow(
    name="image-shard",
    flow_run_name="run {run_id}, images {first}+{count}",
    persist_result=False,
    task_runner=THREADS,
)
def image_shard(run_id: int, first: int, count: int, concurrency: int, progress: UUID) -> State[None]:
    """Make the run's jobs at the positions ``first`` to ``first + count - 1``, ``concurrency`` calls at once."""
    settings = load_settings()
    is_part = is_open(settings, run_id)  # of a flow run in this process, which holds the slots for all its parts
    with ExitStack() as stack:
        limit = stack.enter_context(ProviderLimit(settings))
        studio = stack.enter_context(open_studio(settings, run_id, limit.share(concurrency)))
        if not is_part:
            stack.enter_context(slots_held(limit, studio))
        make_images(studio, first, count, progress)
        if studio.stop_reason:
            note_stop(studio.ledger, run_id, studio.stop_reason)
            return Failed(name="Stopped", message=studio.stop_reason[1])
    return Completed(message=f"{count} images seen to")


@contextmanager
def slots_held(limit: ProviderLimit, studio: Studio) -> Iterator[None]:
    """The provider's slots are ours: wait for them, and hold them while images are made."""
    with studio.watch.of(Step.LIMIT) as waiting, limit.hold(studio.concurrency, lambda: studio.stopped):
        waiting.then(Step.WORK)
        yield


def make_images(studio: Studio, first: int, count: int, artifact: UUID) -> None:
    """A task run for each of these images, so many at once that every call slot is in use."""
    assert studio.run_id is not None
    progress = Progress(artifact, studio)
    items = {item.job_id: item for item in studio.runs.work(studio.run_id, first, count)}
    window = Window(
        lambda job_id: submit_image(studio, job_id, items[job_id].label),
        studio.room,
        name=first,
        stopped=lambda: studio.stopped,
    )
    for item in items.values():
        window.put(item.job_id, item.wait, last=item.paid)
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
    """What the task returned or broke with. From its state: asked for its result, Prefect would go over to the thread
    of an event loop and back, for each image."""
    future.wait()
    data = future.state.data
    return getattr(data, "result", data)  # a record that Prefect made of what was returned, or the error as it is


if __name__ == "__main__":
    raise SystemExit("started by catalog-imaging, with the run it belongs to")
