"""What happened, as Prefect events that automations and other systems can build on.

Names, resources and payload keys are a promise to whoever listens: they are added to, never changed. Automations can
filter by what stands in the resource (the labels), not by the payload. No payload holds a temporary URL, a key, a
prompt or a provider's words. Telling is display: whatever goes wrong with it, the image is none the worse.
"""

from collections.abc import Callable, Mapping
from typing import Any

from prefect.events import emit_event
from prefect.logging import get_logger

from packshot.db.clock import database_clock
from packshot.db.engine import open_engine
from packshot.db.ledger import Ledger
from packshot.db.noteworthy import EndingUrls, Picture, ending_urls, held_in_planning, picture
from packshot.db.tables import Run
from packshot.db.types import JobState
from packshot.errors import Code, code_of
from packshot.outcome import Outcome
from packshot.report import Report
from packshot.settings import Settings
from packshot.studio import Studio

ASSET_ARCHIVED = "packshot.asset.archived"
HOLD_CREATED = "packshot.hold.created"
RUN_FINISHED = "packshot.run.finished"
BUDGET_REACHED = "packshot.budget.reached"
URL_NEAR_EXPIRY = "packshot.url.near-expiry"
CATALOG_ARRIVED = "packshot.catalog.arrived"
"""Not ours to tell: a shop's export announces its new file with it, and the path as ``catalog`` in the payload."""

HOLDS_TOLD = 100  # of those that planning made: a folder of photos gone missing may hold every product


def tell_image(studio: Studio, outcome: Outcome) -> None:
    """An image became permanent, or waits for a person from now on. Of others there is nothing to tell."""
    held = outcome.state is JobState.HELD and outcome.code is not None
    if outcome.state is JobState.ARCHIVED and outcome.url:
        _tell(lambda: _tell_archived(outcome.picture or picture(studio.ledger.engine, outcome.job_id), outcome.url))
    elif held:
        _tell(lambda: _tell_held(picture(studio.ledger.engine, outcome.job_id), studio.run_id, outcome.url))


def tell_run(settings: Settings, report: Report) -> None:
    """A run ended in order, with its counts and money; what planning held; and which URLs are near their end.

    A run that broke off tells nothing of its own: Prefect's ``prefect.flow-run.*`` events do, even of a dead process.
    """
    _tell(lambda: _tell_finished(report))
    _tell(lambda: _tell_held_in_planning(settings, report.run))
    _tell(lambda: _tell_ending(_ending_urls_of(settings)))


def tell_ending_urls(ledger: Ledger) -> None:
    """One event for all temporary URLs that were paid for and end soon, if there are any."""
    _tell(lambda: _tell_ending(ending_urls(ledger.engine, ledger.now())))


# --- the parts ------------------------------------------------------------------------------------------------
def _tell(tell: Callable[[], None]) -> None:
    try:
        tell()
    except Exception as error:  # noqa: BLE001  (the database or Prefect is away: it is not the image's problem)
        get_logger("packshot").info("an event could not be sent: %s", type(error).__name__)


def _tell_archived(image: Picture, url: str) -> None:
    payload = _known(image) | {
        "asset_id": image.asset_id,
        "url": url,
        "sha256": image.sha256,
        "width": image.width,
        "height": image.height,
        "run": image.run_id,
    }
    _emit(ASSET_ARCHIVED, f"packshot.asset.{image.asset_id}", _name(image), _labels(image), payload, image.run_id)


def _tell_held(image: Picture, run_id: int | None, url: str = "") -> None:
    """``url``: the picture to look at, where there is one."""
    assert image.code is not None
    code = code_of(image.code)
    payload = _known(image) | {"code": code.value, "next_step": code.next_step, "url": url, "run": run_id}
    labels = _labels(image) | {"packshot.code": code.value}
    _emit(HOLD_CREATED, f"packshot.job.{image.job_key}", _name(image), labels, payload, run_id)


def _tell_held_in_planning(settings: Settings, run: Run) -> None:
    assert run.id is not None
    for image in held_in_planning(open_engine(settings.db_url), run.id, HOLDS_TOLD):
        _tell_held(image, run.id)


def _tell_finished(report: Report) -> None:
    run = report.run
    assert run.id is not None
    assert run.ended_at is not None
    resource, name = f"packshot.run.{run.id}", f"run {run.id} of {run.catalog}"
    labels = {
        "packshot.catalog": run.catalog,
        "packshot.state": run.state,
        "packshot.code": run.code or "",
        "packshot.exit-code": str(report.exit_code),
    }
    counts = ("records", "accepted", "rejected", "planned", "already", "archived", "failed", "held", "calls")
    money = {
        "spent_usd": run.spent_micro / 1e6,
        "max_cost_usd": None if run.max_cost_micro is None else run.max_cost_micro / 1e6,
    }
    known = {"run": run.id, "catalog": run.catalog, "code": run.code}
    payload = known | {
        "state": run.state,
        "exit_code": report.exit_code,
        "next_step": code_of(run.code).next_step if run.code else "",
        "seconds": round((run.ended_at - run.started_at).total_seconds(), 1),
    }
    _emit(RUN_FINISHED, resource, name, labels, payload | money | {key: getattr(run, key) for key in counts})
    if run.code == Code.BUDGET_REACHED:
        left = run.planned - run.archived
        _emit(BUDGET_REACHED, resource, name, labels, known | money | {"not_made": left})


def _ending_urls_of(settings: Settings) -> EndingUrls | None:
    engine = open_engine(settings.db_url)
    return ending_urls(engine, database_clock(engine)())


def _tell_ending(found: EndingUrls | None) -> None:
    """One event for all of them: hundreds of alerts would say no more than one."""
    if found is None:
        return
    payload = {
        "images": found.number,
        "paid_usd": found.paid_micro / 1e6,
        "nearest_end": found.nearest_end.isoformat(),
        "hours_left": round(found.seconds_left / 3600, 1),
        "named": [_known(image) | {"code": image.code, "ends": end.isoformat()} for image, end in found.named],
    }
    _emit(URL_NEAR_EXPIRY, "packshot.urls", "temporary URLs that were paid for", {}, payload)


def _known(image: Picture) -> dict[str, Any]:
    return {
        "job": image.job_key,
        "catalog": image.catalog,
        "product": image.product,
        "sku": image.sku,
        "shot": image.shot,
        "variant": image.variant,
    }


def _labels(image: Picture) -> dict[str, str]:
    return {"packshot.catalog": image.catalog, "packshot.product": image.product, "packshot.shot": image.shot}


def _name(image: Picture) -> str:
    return f"{image.product} {image.shot}"


def _emit(
    event: str, resource: str, name: str, labels: Mapping[str, str], payload: dict[str, Any], run_id: int | None = None
) -> None:
    """Queue it for Prefect's own sender, which adds the flow run and task run it was told in."""
    related = [{"prefect.resource.id": f"packshot.run.{run_id}", "prefect.resource.role": "run"}] if run_id else []
    emit_event(
        event,
        resource={"prefect.resource.id": resource, "prefect.resource.name": name, **labels},
        related=related,
        payload=payload,
    )
