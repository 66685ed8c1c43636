"""Close the run and show what it came to."""

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from packshot.errors import Code
from packshot.report import Report
from packshot.run import finish_run
from packshot.settings import load_settings


@task(name="report", task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def report_run(run_id: int, stop: tuple[Code, str] | None, notes: list[str]) -> Report:
    """Counts are checked here: planned = archived + failed + held, or the run is not closed."""
    report = finish_run(load_settings(), run_id, stop, notes)
    create_markdown_artifact(report.markdown(), key=f"packshot-run-{run_id}", description=report.headline)
    get_run_logger().info(report.headline)
    return report
