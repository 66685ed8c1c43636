"""Read the catalog, settle what dead runs left, and write down what is to be made."""

from prefect import get_client, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import FlowRunFilter
from prefect.logging import get_logger
from prefect.states import Crashed

from packshot.options import RunOptions
from packshot.plan_result import Plan
from packshot.run import StartedRun, plan_only, start_run
from packshot.settings import load_settings

CLOSE_TIMEOUT = 5.0  # seconds for each request about a flow run that has ended


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


def close_flow_runs(ids: list[str], reason: str = "the process died") -> None:
    """Tell Prefect what it cannot know: these flow runs and their shards have ended. Those that it knows are left."""
    for flow_run_id in ids:
        family = ({"id": {"any_": [flow_run_id]}}, {"parent_flow_run_id": {"any_": [flow_run_id]}})
        try:
            with get_client(sync_client=True, httpx_settings={"timeout": CLOSE_TIMEOUT}) as client:
                for member in family:
                    for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(member)):
                        if run.state is None or not run.state.is_final():
                            client.set_flow_run_state(run.id, Crashed(message=reason), force=True)
        except Exception as error:  # noqa: BLE001  (another server's flow run, or no server: display only)
            get_logger("packshot").info("flow run %s could not be closed: %s", flow_run_id, type(error).__name__)


def _log(plan: Plan) -> None:
    log = get_run_logger()
    log.info(plan.headline)
    log.info(plan.diff.sentence)
    for note in plan.notes:
        log.warning(note)
