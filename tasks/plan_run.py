"""Read the catalog, settle what dead runs left, and write down what is to be made."""

from prefect import get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE

from packshot.options import RunOptions
from packshot.plan import Plan
from packshot.run import StartedRun, plan_only, start_run
from packshot.settings import load_settings


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_run(options: RunOptions) -> StartedRun:
    """No retries: what can fail here is the user's input, and nothing was bought."""
    started = start_run(load_settings(), options, runtime.flow_run.id)
    _log(started.plan)
    return started


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_catalog(options: RunOptions) -> Plan:
    """What a run would make and cost, without changing anything."""
    plan = plan_only(load_settings(), options)
    _log(plan)
    return plan


def _log(plan: Plan) -> None:
    log = get_run_logger()
    log.info(plan.headline)
    for note in plan.notes:
        log.warning(note)
