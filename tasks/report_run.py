"""Close the run and show what it came to."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from packshot.errors import Code, PackshotError
from packshot.report import Report
from packshot.report_page import artifact_key, asset_table, markdown, reject_table
from packshot.run import finish_run
from packshot.run_sheet import RunSheet, Thumbnails, run_sheet
from packshot.settings import load_settings
from tasks.events import tell_run


@task(name="report", task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def report_run(
    run_id: int, stop: tuple[Code, str] | None, notes: list[str], progress: UUID, known: Thumbnails
) -> Report:
    """Counts are checked here: planned = archived + failed + held, or the run is not closed. ``known``: the pictures of
    its contact sheet that were read back already."""
    settings = load_settings()
    report = finish_run(settings, run_id, stop, notes)
    get_run_logger().info(report.headline)
    with ThreadPoolExecutor(1, thread_name_prefix="sheet") as painter:
        # Whoever asked it to stop waits for its end, a worker that was stopped for half a minute only.
        wanted = report.assets and report.run.code != Code.STOP_REQUESTED
        sheet = painter.submit(run_sheet, settings, report, known) if wanted else None
        tell_run(settings, report)
        _try("report and tables", partial(_show, report, progress))
        if sheet is not None:
            _try("contact sheet", partial(_show_sheet, report, sheet))
    return report


def _try(what: str, show: Callable[[], None]) -> None:
    """The run is closed, so whatever goes wrong with showing it is a warning."""
    try:
        show()
    except Exception as error:  # noqa: BLE001
        reason = str(error) if isinstance(error, PackshotError | OSError) else type(error).__name__
        get_run_logger().warning("no %s: %s", what, reason)


def _show(report: Report, progress: UUID) -> None:
    catalog = report.run.catalog
    share = round(100 * report.run.archived / max(report.run.planned, 1), 1)
    update_progress_artifact(progress, share, report.headline)
    create_markdown_artifact(markdown(report), artifact_key(catalog, "report"), report.headline)
    if report.assets:
        shown = _shown(len(asset_table(report)), report.pictures, f"packshot assets --catalog {catalog}")
        create_table_artifact(asset_table(report), artifact_key(catalog, "images"), f"New images: {shown}")
    if report.rejects:
        shown = _shown(len(reject_table(report)), len(report.rejects), f"packshot rejects --run {report.run.id}")
        create_table_artifact(reject_table(report), artifact_key(catalog, "refused"), f"Refused records: {shown}")


def _shown(rows: int, number: int, command: str) -> str:
    return f"{number:,}" if rows == number else f"the first {rows} of {number:,}; all of them: {command}"


def _show_sheet(report: Report, drawn: Future[RunSheet]) -> None:
    key = artifact_key(report.run.catalog, "contact-sheet")
    sheet = drawn.result()
    if sheet.visible:
        create_image_artifact(sheet.url, key, f"New images of run {report.run.id}; also at {sheet.path}")
    else:
        text = f"[Contact sheet]({sheet.url}), which the public cannot read. It is also at `{sheet.path}`."
        create_markdown_artifact(text, key, f"New images of run {report.run.id}")
