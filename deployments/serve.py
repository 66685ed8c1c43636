"""Serve the deployments of prefect.yaml from this one process, without a work pool or a worker: `packshot serve`.

The first SIGTERM asks the runs to stop in good order: no new calls, and those in the air come home. A second one, or
the end of PACKSHOT_DRAIN_TIMEOUT, cancels them as Prefect does. Prefect's own answer to the signal is to leave at once:
the calls in the air are lost, and the flow runs stay Running for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.runner.storage import LocalStorage
from prefect.schedules import Cron
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL
from sqlalchemy import Engine

from packshot.db.ledger import Ledger
from packshot.db.queries import runs
from packshot.db.running import request_stop
from packshot.db.types import RunState
from packshot.errors import Code, ConfigError, PackshotError
from packshot.run import open_ledger, ready_engine
from packshot.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "deployments" / "prefect.yaml"
SERVED = ("on-demand", "nightly", "price-list", "hourly")  # a run that is shared out needs workers
LOOK_EVERY = 2.0  # seconds: for runs to start


def served(file: Path = FILE) -> list[RunnerDeployment]:
    """The deployments of ``file`` that one machine needs. Their runs are ours, even if a work pool had them before."""
    described = yaml.safe_load(file.read_text("utf-8"))["deployments"]
    return [_deployment(one) for one in described if one["name"] in SERVED]


def _deployment(one: dict[str, Any]) -> RunnerDeployment:
    limit = one.get("concurrency_limit")
    deployment = RunnerDeployment.from_entrypoint(
        one["entrypoint"],
        name=one["name"],
        description=one["description"],
        tags=one["tags"],
        parameters=one.get("parameters"),
        concurrency_limit=ConcurrencyLimitConfig(**limit) if limit else None,
        schedules=[
            Cron(schedule["cron"], **{name: value for name, value in schedule.items() if name != "cron"})
            for schedule in one.get("schedules", [])
        ],
        paused=False,  # the last process that served it has paused it
    )
    deployment.storage = LocalStorage(str(ROOT))
    deployment.work_pool_name = None  # said expressly: a pool that it was deployed to would keep it
    return deployment


def check_server() -> str:
    """The address of the Prefect server.

    Raises:
        ConfigError: PREFECT_UNREACHABLE. Prefect would start a hidden server, without a UI, that forgets everything.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise ConfigError(
            Code.PREFECT_UNREACHABLE, "neither PREFECT_API_URL nor a prefect.toml in this folder names a Prefect server"
        )
    with get_client(sync_client=True) as client:
        if error := client.api_healthcheck():
            message = f"no Prefect server answers at {url} ({type(error).__name__})"
            raise ConfigError(Code.PREFECT_UNREACHABLE, message)
    return str(url)


async def serve(deployments: list[RunnerDeployment], settings: Settings) -> None:
    """Returns when a signal has come, and the runs that were going on have ended."""
    runner = Runner(name="packshot", query_seconds=LOOK_EVERY)
    ids = [await runner.aadd_deployment(deployment) for deployment in deployments]
    running = asyncio.create_task(runner.start())
    await asyncio.sleep(0)  # it has put Prefect's own handler in place by now
    asked, again = _on_signals()
    _say(f"serving {', '.join(deployment.full_name for deployment in deployments)} at {PREFECT_UI_URL.value()}")
    await _first(running, asked.wait())
    if not running.done():
        _say("no new calls; waiting for those in flight. Again: cancel the runs")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.drain):
                await _first(again.wait(), _until_all_ended(runner, ids, settings))
        await runner.astop()
    await running


def _on_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """(a signal has come, another one has come)."""
    asked, again = asyncio.Event(), asyncio.Event()

    def received() -> None:
        (again if asked.is_set() else asked).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, received)
    return asked, again


async def _until_all_ended(runner: Runner, deployments: list[UUID], settings: Settings) -> None:
    """Ask the runs that go on here to stop, also those that are just beginning, until none is left."""
    engine, ledger = ready_engine(settings), open_ledger(settings)
    async with get_client() as client:
        for deployment in deployments:
            await client.pause_deployment(deployment)
    # Which flow runs have a process, Prefect tells only in private. The server's states cannot take its place: a run
    # that has ended there may still have one, and would be called cancelled when we stop.
    while found := runner._process_manager.flow_run_ids():
        await asyncio.to_thread(_ask_to_stop, {str(flow_run) for flow_run in found}, ledger, engine)
        await asyncio.sleep(1)


def _ask_to_stop(flow_runs: set[str], ledger: Ledger, engine: Engine) -> None:
    for run in runs(engine):
        if run["flow_run_id"] in flow_runs and run["state"] == RunState.RUNNING:
            request_stop(ledger, run["id"])


async def _first(*waits: Any) -> None:
    """Returns when one of them has ended, and ends the others but the first."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks[1:]:
        task.cancel()


def _say(text: str) -> None:
    print(f"packshot serve: {text}", flush=True)


def main() -> None:
    """An error that the user can mend is one sentence."""
    try:
        settings = load_settings()
        check_server()
        ready_engine(settings)
        asyncio.run(serve(served(), settings))
    except PackshotError as error:
        _say(f"error: {error}")
        sys.exit(2)


if __name__ == "__main__":
    main()
