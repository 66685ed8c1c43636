"""Is a run done sooner on two workers than on one? N images, W calls at once on each worker, from the start of the flow
run to its end: the start of the parts on the workers is in it.

Both sides in one run, with one Prefect server, one PostgreSQL and one store. Each worker is a process of its own, with
a working directory, a PREFECT_HOME and a PACKSHOT_HOME of its own, as on machines of their own.

    python -m benchmarks.workers --images 800 --at-once 20 --latency 5
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

from benchmarks.schedule import SHOTS
from packshot.sandbox.prefect_server import prefect_server
from packshot.sandbox.sandbox import Sandbox
from tests.fixtures_postgres import PostgresServer, postgres_binaries

POOL = "local-process"


def prefect(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "prefect", *arguments], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def worker(folder: Path) -> Iterator[None]:
    """A worker that stands for a machine: it shares the servers and nothing else."""
    folder.mkdir()
    env = os.environ | {"PREFECT_HOME": str(folder / "prefect"), "PACKSHOT_HOME": str(folder / "packshot")}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    env |= {"PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def run(url: str, options: dict[str, Any]) -> float:
    """Seconds from asking for a flow run to its end."""
    deployment = requests.get(f"{url}/deployments/name/catalog-imaging/on-demand", timeout=30).json()["id"]
    body = {"parameters": {"options": options}}
    began = time.perf_counter()
    flow_run = requests.post(f"{url}/deployments/{deployment}/create_flow_run", json=body, timeout=30).json()["id"]
    while True:
        time.sleep(0.5)
        state = requests.get(f"{url}/flow_runs/{flow_run}", timeout=30).json()["state"]
        if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            assert state["name"] == "Completed", f"{state['name']}: {state['message']}"
            return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--latency", type=float, default=5.0, help="mean; single calls take 0.6 to 1.4 of it")
    chosen = parser.parse_args()
    binaries = postgres_binaries()
    if binaries is None:
        parser.exit(2, "this needs PostgreSQL on the machine: two workers do not share an SQLite file\n")
    spread = (0.6 * chosen.latency, 1.4 * chosen.latency)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        home = Path(name)
        (home / "shots.yaml").write_text(SHOTS)
        sandbox = stack.enter_context(Sandbox(home / "sandbox", spread, "images", 2 * chosen.at_once + 10, 1000.0))
        postgres = stack.enter_context(PostgresServer(binaries))
        url = stack.enter_context(prefect_server(home, own=True))
        os.environ |= sandbox.settings() | {
            "PACKSHOT_DATABASE_URL": postgres.new_database(),
            "PACKSHOT_SHOTS": str(home / "shots.yaml"),
            "PACKSHOT_PROVIDER_SLOTS": str(2 * chosen.at_once),
        }
        prefect("work-pool", "create", POOL, "--type", "process")
        for deployment in ("on-demand", "on-a-worker"):
            prefect("--no-prompt", "deploy", "--prefect-file", "deployments/prefect.yaml", "--name", deployment)
        seconds = {}
        for workers in (1, 2):
            stack.enter_context(worker(home / f"host-{workers}"))
            catalog = home / f"catalog-{workers}.jsonl"
            lines = (json.dumps({"id": f"m-{n}", "title": f"Mug {workers}/{n}"}) for n in range(chosen.images))
            catalog.write_text("\n".join(lines) + "\n")
            options = {"catalog": str(catalog), "concurrency": chosen.at_once, "workers": workers}
            seconds[workers] = run(url, options)
            print(f"{workers} worker{'s' * (workers > 1)}   {seconds[workers]:7.1f} s", flush=True)
        billed = len([row for row in sandbox.bill()["rows"] if row["billed"]])
    assert billed == 2 * chosen.images, f"{billed} calls billed instead of {2 * chosen.images}"
    print(f"two / one  {seconds[2] / seconds[1]:7.3f}   each image bought once: {billed} calls in all")


if __name__ == "__main__":
    main()
