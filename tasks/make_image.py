"""Make one image: call, download, store, record."""

from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from packshot.db.types import JobState
from packshot.outcome import Outcome
from packshot.studio import Studio
from tasks.events import tell_image


def _never(_task: Any, _run: Any, state: State[Any]) -> bool:
    """The outcome says when to come back: Prefect's own retries hold a thread through the wait.

    A task with retries that are never due is the only one whose failure Prefect tells in one line, with what we say
    about it; of any other it also logs an error with an empty traceback. So a traceback that is none of ours is ours
    to log.
    """
    if isinstance(state.data, BaseException):
        get_run_logger().error("an image broke", exc_info=state.data)
    return False


@task(
    name="image",
    task_run_name="{label}",
    retries=1,
    retry_condition_fn=_never,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def make_image(job_id: int, label: str, studio: Studio) -> State[Outcome]:
    """Safe to run at any moment: the ledger decides what is left to do, and whether a call may be bought for it.

    The message of the state is the image's line in the log.
    """
    outcome = studio.make(job_id)
    tell_image(studio, outcome)
    call = f" ({outcome.call})" if outcome.call else ""
    if outcome.state is JobState.ARCHIVED:
        return Completed(message=outcome.url + call, data=outcome)
    reason = f"{outcome.code}: {outcome.message}{call}"
    if outcome.retry_in is not None:
        return Completed(name="WillRetry", message=f"again in {outcome.retry_in:.1f} s: {reason}", data=outcome)
    if outcome.code is None:
        message = "nothing was bought: the run was stopped, or another run is making this image"
        return Cancelled(name="LeftAlone", message=message, data=outcome)
    name = "Held" if outcome.state is JobState.HELD else "Failed"
    return Failed(name=name, message=reason, data=outcome)
