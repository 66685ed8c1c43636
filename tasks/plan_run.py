"""Read the catalog, settle what dead runs left, and write down what is to be made."""

from uuid import UUID

from prefect import get_client, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Crashed

from packshot.options import RunOptions
from packshot.plan import Plan
from packshot.run import StartedRun, plan_only, start_run
from packshot.settings import load_settings


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_run(options: RunOptions) -> StartedRun:
    """No retries: what can fail here is the user's input, and nothing was bought."""
    started = start_run(load_settings(), options, runtime.flow_run.id)
    close_flow_runs(started.dead_flow_runs)
    if started.recovered.headline:
        get_run_logger().warning(started.recovered.headline)
    _log(started.plan)
    return started


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_catalog(options: RunOptions) -> Plan:
    """What a run would make and cost, without changing anything."""
    plan = plan_only(load_settings(), options)
    _log(plan)
    return plan


def close_flow_runs(ids: list[str]) -> None:
    """Tell Prefect what it cannot know: these flow runs' processes died."""
    for flow_run_id in ids:
        try:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(UUID(flow_run_id), Crashed(message="the process died"))
        except Exception as error:  # noqa: BLE001  (another server's flow run, or one that was deleted: display only)
            get_run_logger().info("flow run %s could not be closed: %s", flow_run_id, type(error).__name__)


def _log(plan: Plan) -> None:
    log = get_run_logger()
    log.info(plan.headline)
    for note in plan.notes:
        log.warning(note)
