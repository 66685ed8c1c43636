"""Bring home what was paid for.

Does: settles the calls of dead processes, then archives every image that was received and is not permanent yet, the
nearest end of a temporary URL first. Buys nothing.
Needs: PACKSHOT_APIYI_KEY, PACKSHOT_S3_*, a Prefect server. Meant for every hour: temporary URLs live for a day at most.
Safe to re-run: always, at any moment, also beside runs.
"""

from functools import partial
from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.image_shard import outcome_of, submit_image
from packshot.rescue import Rescued, RescueFailed
from packshot.rescue import rescue as rescue_images
from packshot.settings import load_settings
from packshot.studio import ARCHIVES_AT_ONCE, Studio
from tasks.events import tell_ending_urls
from tasks.plan_run import close_flow_runs


@flow(
    name="rescue",
    persist_result=False,
    task_runner=cast(Any, ThreadPoolTaskRunner(max_workers=ARCHIVES_AT_ONCE)),
)
def rescue() -> State[Rescued]:
    """Bring home what was paid for; buy nothing."""
    studio = Studio(load_settings())
    try:
        done = rescue_images(studio, partial(submit_image, studio), outcome_of)
    finally:  # also when the store is away: that is when URLs come near their end
        tell_ending_urls(studio.ledger)
    close_flow_runs([*done.dead_flow_runs])
    if done.lost or done.waiting:
        return Failed(name="Lost" if done.lost else "Waiting", message=done.headline, data=RescueFailed(done))
    return Completed(message=done.headline, data=done)


if __name__ == "__main__":
    rescue()
