"""Share a run's images out to workers, here and on other machines, and wait until they are done."""

import time
from collections.abc import Iterator
from math import ceil
from typing import cast
from uuid import UUID

from prefect import get_client, get_run_logger, runtime
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, TerminationSignal
from prefect.states import Cancelled

from packshot.db.running import request_stop
from packshot.errors import Code, ConfigError
from packshot.stopping import CANCELLED
from packshot.studio import Studio

DEPLOYMENT = "image-shard/on-a-worker"
LOOK_EVERY = 2.0  # seconds
TIMEOUT = 10.0
REMIND_AFTER = 60.0  # seconds without a worker for a shard


def shards(size: int, most: int, workers: int = 1) -> Iterator[tuple[int, int]]:
    """(first, count) of each part: one for each worker at least, none of more than ``most`` images."""
    length = min(most, ceil(size / workers)) or 1
    for first in range(0, size, length):
        yield first, min(length, size - first)


def require_workers() -> None:
    """Raise the error that says what to do, unless this server knows the deployment that workers run."""
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            message = f"options.workers is above 1, but this Prefect server has no deployment {DEPLOYMENT}: make deploy"
            raise ConfigError(Code.SETTINGS_INVALID, message) from None


def share_out(studio: Studio, size: int, workers: int, progress: UUID) -> list[str]:
    """Start a flow run for each part and return when all have ended: what went wrong with them, in words.

    Started twice with the same key, a part is started once.
    """
    run_id = studio.run_id
    parts: dict[UUID, FlowRun] = {}
    for first, count in shards(size, studio.settings.shard_size, workers):
        part = cast(FlowRun, run_deployment(
            DEPLOYMENT,
            parameters={
                "run_id": run_id, "first": first, "count": count,
                "concurrency": studio.concurrency, "progress": str(progress),
            },
            flow_run_name=f"run {run_id}, images {first + 1}-{first + count}",
            idempotency_key=f"{runtime.flow_run.id}-{run_id}-{first}",
            timeout=0,
        ))  # fmt: skip
        parts[part.id] = part
    try:
        _wait_for(studio, parts)
    except TerminationSignal:  # the worker gives its flow half a minute: the parts hear of it through the database
        studio.stop(Code.STOP_REQUESTED, CANCELLED)
        _wait_for(studio, parts)
        raise
    broken = [part for part in parts.values() if part.state and part.state_name not in ("Completed", "Stopped")]
    return [f"{part.name} ended as {part.state_name}: {part.state and part.state.message}" for part in broken]


def _wait_for(studio: Studio, parts: dict[UUID, FlowRun]) -> None:
    log = get_run_logger()
    began = time.monotonic()
    asked = reminded = False
    with get_client(sync_client=True, httpx_settings={"timeout": TIMEOUT}) as client:
        while going := [part for part in parts.values() if not (part.state and part.state.is_final())]:
            time.sleep(LOOK_EVERY)
            if studio.stopped and not asked:
                request_stop(studio.ledger, studio.run_id)  # the others look there, wherever they are
                asked = True
            try:
                for part in going:
                    if asked and part.state and part.state.is_scheduled():
                        client.set_flow_run_state(part.id, Cancelled(message="the run was stopped"))
                chosen = FlowRunFilter.model_validate({"id": {"any_": [part.id for part in going]}})
                parts |= {part.id: part for part in client.read_flow_runs(flow_run_filter=chosen)}
            except Exception as error:  # noqa: BLE001  (the server is away; the parts go on without it)
                log.debug("no news of the parts: %s", type(error).__name__)
            waiting = [part for part in parts.values() if part.state and part.state.is_scheduled()]
            if waiting and not reminded and time.monotonic() - began > REMIND_AFTER:
                reminded = True
                log.warning("%d of %d parts wait for a worker: prefect worker start", len(waiting), len(parts))
