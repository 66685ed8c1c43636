"""Make one image: call, download, store, record."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from packshot.db.types import JobState
from packshot.studio import Outcome, Studio


@task(name="image", task_run_name="{label}", cache_policy=NO_CACHE, persist_result=False)
def make_image(job_id: int, label: str, studio: Studio) -> State[Outcome]:
    """Safe to run at any moment: the ledger decides what is left to do, and whether a call may be bought for it.

    Retries are not Prefect's: it would hold a thread through the wait. The outcome says when to come back.
    """
    outcome = studio.make(job_id)
    if outcome.state is JobState.ARCHIVED:
        return Completed(message=outcome.url, data=outcome)
    if outcome.retry_in is not None:
        message = f"{outcome.code}: again in {outcome.retry_in:.0f} s"
        return Completed(name="WillRetry", message=message, data=outcome)
    if outcome.code is None:
        message = "nothing was bought: the run was stopped, or another run is making this image"
        return Cancelled(name="LeftAlone", message=message, data=outcome)
    name = "Held" if outcome.state is JobState.HELD else "Failed"
    return Failed(name=name, message=f"{outcome.code}: {outcome.message}", data=outcome)
