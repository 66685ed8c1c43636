"""What prefect.toml says of keeping and deleting: the server's database does not grow for ever."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import ROOT, Shop, write_catalog
from tests.prefect_servers import Server


def test_old_runs_are_deleted_and_new_ones_stay(shop: Shop, tmp_path: Path) -> None:
    server = Server(tmp_path / "prefect")
    api = PrefectApi(server.url)
    env = os.environ | {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(tmp_path / "client")}
    try:
        for name in ("old", "new"):
            catalog = write_catalog(tmp_path / f"{name}.csv", 3)
            command: list[str | Path] = [Path(sys.executable).parent / "packshot", "run", catalog]
            subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
        old, new = sorted(api.filter("flow_runs"), key=lambda run: str(run["created"]))
        eventually(lambda: len(api.task_runs(old["id"])) == len(api.task_runs(new["id"])) == 5)
        server.kill()
        with sqlite3.connect(server.home / "prefect.db") as database:
            # A month and a day have passed for the first one.
            database.execute("UPDATE flow_run SET end_time = datetime(end_time, '-31 days') WHERE name LIKE 'old%'")
        server.start(PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS="1")
        eventually(lambda: [run["id"] for run in api.filter("flow_runs")] == [new["id"]], 60)
        assert len(api.task_runs(new["id"])) == 5
        with sqlite3.connect(server.home / "prefect.db") as database:
            assert database.execute("SELECT count(*) FROM task_run").fetchone() == (5,)
    finally:
        server.kill()
