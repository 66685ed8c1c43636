"""One real Prefect server for the whole session."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from packshot.sandbox.prefect_server import prefect_server

BUSY = 60.0  # seconds
STANDSTILL = 60.0
"""Seconds that a server on SQLite may stand still when several flow runs begin at once: its own transactions wait for
each other until one is told that the database is locked."""


class PrefectApi:
    """The server as any client sees it: plain HTTP, none of Prefect's own code."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def ui_url(self) -> str:
        return self.url.removesuffix("/api")

    def get(self, path: str) -> Any:
        return self.send("GET", path).json()

    def send(self, method: str, path: str, body: Any = None) -> requests.Response:
        """The answer, once the server has time for it: 503 is what it says while its database is busy."""
        deadline = time.monotonic() + BUSY
        while True:
            answer = requests.request(method, f"{self.url}/{path}", json=body, timeout=30 + STANDSTILL)
            if answer.status_code != 503 or time.monotonic() > deadline:
                answer.raise_for_status()
                return answer
            time.sleep(0.2)

    def filter(self, kind: str, **filters: Any) -> list[dict[str, Any]]:
        """All rows of flow_runs, task_runs, artifacts or logs that the filters let through."""
        rows: list[dict[str, Any]] = []
        while True:
            page = {"limit": 200, "offset": len(rows), **filters}
            found = self.send("POST", f"{kind}/filter", page).json()
            rows += found
            if len(found) < 200:
                return rows

    def flow_run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"flow_runs/{run_id}")
        return found

    def family(self, run_id: str) -> list[dict[str, Any]]:
        """A flow run and its subflows, oldest first."""
        children = self.filter("flow_runs", flow_runs={"parent_flow_run_id": {"any_": [run_id]}})
        return [self.flow_run(run_id), *sorted(children, key=lambda row: row["created"])]

    def task_runs(self, run_id: str) -> list[dict[str, Any]]:
        """The task runs of a flow run and its subflows."""
        ids = [run["id"] for run in self.family(run_id)]
        return self.filter("task_runs", flow_runs={"id": {"any_": ids}})

    def logs(self, run_id: str) -> list[dict[str, Any]]:
        ids = [run["id"] for run in self.family(run_id)]
        return self.filter("logs", logs={"flow_run_id": {"any_": ids}})

    def artifacts(self, run_id: str) -> list[dict[str, Any]]:
        ids = [run["id"] for run in self.family(run_id)]
        return self.filter("artifacts", artifacts={"flow_run_id": {"any_": ids}})


def eventually(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What ``look`` gives as soon as it is true: the server writes events and logs down a moment after they come."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found, f"not within {seconds} s"
    return found


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectApi]:
    """A server of our own, on a free port; this process's flows and its children's run on it."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    home = tmp_path_factory.mktemp("prefect")
    with (
        prefect_server(home, own=True) as url,
        temporary_settings({PREFECT_API_URL: url, PREFECT_HOME: str(home / "client")}),
    ):
        yield PrefectApi(url)
        EventsWorker.drain_all(timeout=30, at_exit=False)
        APILogWorker.drain_all(timeout=30, at_exit=False)
