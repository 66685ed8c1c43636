"""Everything deployed to a real server, as `make deploy` does it, and run by a worker that was started elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from packshot.sandbox.seaweed import Seaweed
from tests.fixtures_prefect import STANDSTILL, PrefectApi, eventually
from tests.fixtures_shop import EXAMPLE, ROOT, Shop, opened_shop
from tests.workers import post
from tests.workers import worker as start_worker

pytestmark = pytest.mark.timeout(300)

POOL = "local-process"
PLAN = {"options": {"catalog": str(EXAMPLE), "plan_only": True}}
SOON = timedelta(seconds=10)


def deploy(prefect: PrefectApi, home: Path) -> dict[str, dict[str, Any]]:
    """The deployments by their full names, after what `make deploy` runs."""
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(home),
    }
    done = subprocess.run(
        ["sh", "deployments/deploy.sh"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    flows = {flow["id"]: flow["name"] for flow in prefect.filter("flows")}
    return {
        f"{flows[one['flow_id']]}/{one['name']}": one
        for one in prefect.filter("deployments")
        if one["work_pool_name"] == POOL
    }


@pytest.fixture(scope="module")
def shop(seaweed: Seaweed, prefect: PrefectApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with (
        pytest.MonkeyPatch.context() as patch,
        opened_shop(tmp_path_factory.mktemp("shop"), seaweed, patch) as shop,
    ):
        yield shop


@pytest.fixture(scope="module")
def deployed(shop: Shop, prefect: PrefectApi, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return deploy(prefect, tmp_path_factory.mktemp("deployer"))


def test_everything_is_there(deployed: dict[str, dict[str, Any]]) -> None:
    limits = {
        name: (one["global_concurrency_limit"]["limit"], one["concurrency_options"]["collision_strategy"])
        for name, one in deployed.items()
        if one["global_concurrency_limit"]
    }
    assert limits == {"catalog-imaging/nightly": (1, "ENQUEUE"), "rescue/hourly": (1, "CANCEL_NEW")}
    assert set(deployed) == {
        "catalog-imaging/on-demand",
        "catalog-imaging/nightly",
        "catalog-imaging/price-list",
        "rescue/hourly",
        "image-shard/on-a-worker",
    }
    schedules = {(s["slug"], s["active"]) for one in deployed.values() for s in one["schedules"]}
    assert schedules == {("weekdays", False), ("sunday", False), ("mondays", False), ("hourly", True)}
    assert all(one["enforce_parameter_schema"] for one in deployed.values())


def test_nothing_secret_and_nothing_of_this_machine_is_written_down(
    deployed: dict[str, dict[str, Any]], shop: Shop
) -> None:
    for one in deployed.values():
        given = json.dumps([one["parameters"], one["job_variables"], one["pull_steps"], one["schedules"]])
        assert str(ROOT) not in given
        assert not [secret for secret in shop.secrets if secret in json.dumps(one)]
        assert not re.search(r"(?i)sk-|secret|password|token|api.?key", given)


def test_a_second_deploy_changes_nothing(
    deployed: dict[str, dict[str, Any]], prefect: PrefectApi, tmp_path: Path
) -> None:
    # A pool that is there is its owner's: what was set in the UI stays.
    changed = prefect.send("PATCH", f"work_pools/{POOL}", {"concurrency_limit": 7})
    assert changed.ok
    again = deploy(prefect, tmp_path)
    kept = ("id", "parameters", "job_variables", "pull_steps", "entrypoint", "tags", "concurrency_options", "paused")
    assert {name: [one[key] for key in kept] for name, one in again.items()} == {
        name: [one[key] for key in kept] for name, one in deployed.items()
    }
    plan = ("slug", "active", "schedule", "parameters")
    assert [sorted([json.dumps([s[key] for key in plan]) for s in one["schedules"]]) for one in again.values()] == [
        sorted([json.dumps([s[key] for key in plan]) for s in one["schedules"]]) for one in deployed.values()
    ]
    assert prefect.get(f"work_pools/{POOL}")["concurrency_limit"] == 7
    assert len([pool for pool in prefect.filter("work_pools") if pool["name"] == POOL]) == 1


# --- a worker ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def worker(
    deployed: dict[str, dict[str, Any]], prefect: PrefectApi, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The log of one that was started in a folder of its own, with a home of its own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    log = folder / "worker.log"
    with start_worker(prefect, POOL, log, cwd=folder, limit=4):
        yield log


@pytest.fixture(scope="module")
def started(deployed: dict[str, dict[str, Any]], prefect: PrefectApi, worker: Path) -> dict[str, list[str]]:
    """Flow runs by deployment, all begun at once: most of the time they wait."""
    ids = {name.partition("/")[2]: one["id"] for name, one in deployed.items()}

    def start(name: str, parameters: dict[str, Any]) -> str:
        return str(post(prefect, f"deployments/{ids[name]}/create_flow_run", parameters=parameters)["id"])

    kept = ("flow_id", "entrypoint", "work_pool_name", "job_variables", "pull_steps", "parameters")
    copy = {key: deployed["catalog-imaging/price-list"][key] for key in kept} | {"name": "price-list-soon"}
    at = (datetime.now(UTC) + SOON).isoformat()
    often = {"interval": 30, "anchor_date": at, "timezone": "UTC"}
    scheduled = post(prefect, "deployments/", **copy | {"schedules": [{"active": True, "schedule": often}]})
    return {
        "nightly": [start("nightly", PLAN), start("nightly", PLAN)],
        "hourly": [start("hourly", {}), start("hourly", {})],
        "on-demand": [start("on-demand", PLAN)],
        "scheduled": [scheduled["id"]],
    }


def test_a_run_by_hand_ends_well(started: dict[str, list[str]], prefect: PrefectApi, worker: Path) -> None:
    (run,) = started["on-demand"]
    eventually(lambda: prefect.flow_run(run)["state_type"] in ("COMPLETED", "FAILED", "CRASHED"), 60 + STANDSTILL)
    found = prefect.flow_run(run)
    assert found["state_type"] == "COMPLETED", worker.read_text()
    assert "images to make for $" in found["state"]["message"]


def test_a_second_rescue_is_cancelled(started: dict[str, list[str]], prefect: PrefectApi) -> None:
    def both() -> list[dict[str, Any]] | None:
        runs = [prefect.flow_run(run) for run in started["hourly"]]
        return (
            runs if all(run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") for run in runs) else None
        )

    runs = eventually(both, 60 + STANDSTILL)
    assert sorted(run["state_type"] for run in runs) == ["CANCELLED", "COMPLETED"]
    (left,) = [run for run in runs if run["state_type"] == "CANCELLED"]
    assert "concurrency limit" in left["state"]["message"]


def test_a_schedule_fires(started: dict[str, list[str]], prefect: PrefectApi) -> None:
    (deployment,) = started["scheduled"]
    filters = {"deployments": {"id": {"any_": [deployment]}}, "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    run = eventually(lambda: prefect.filter("flow_runs", **filters), 75 + STANDSTILL)[0]
    prefect.send("DELETE", f"deployments/{deployment}")
    assert run["auto_scheduled"]
    assert run["parameters"]["options"]["plan_only"] is True


def test_a_second_nightly_run_waits_for_the_first(started: dict[str, list[str]], prefect: PrefectApi) -> None:
    """Prefect looks again after half a minute."""
    states = [{"COMPLETED"}, {"COMPLETED"}]
    eventually(lambda: [{prefect.flow_run(run)["state_type"]} for run in started["nightly"]] == states, 75 + STANDSTILL)
    history = [
        [state["name"] for state in prefect.get(f"flow_run_states/?flow_run_id={run}")] for run in started["nightly"]
    ]
    assert sorted("AwaitingConcurrencySlot" in names for names in history) == [False, True], history
    first, second = sorted((prefect.flow_run(run) for run in started["nightly"]), key=lambda run: run["start_time"])
    assert first["end_time"] <= second["start_time"]
