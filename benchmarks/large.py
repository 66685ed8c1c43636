"""A large run on a real Prefect server: does the server keep up, and how much does its database grow?

Prints the wall time, the task runs that the server knows and in which states, the most of one flow run, and the size of
the server's database for each image. The API's answers come almost at once, so images end far faster than in life.

    python -m benchmarks.large --images 10000 --at-once 100
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import requests

from benchmarks.schedule import SHOTS
from packshot.flow_runner import load_flow
from packshot.options import RunOptions
from packshot.report import Report
from packshot.sandbox.prefect_server import prefect_server
from packshot.sandbox.sandbox import Sandbox

STATES = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED", "PENDING", "RUNNING", "SCHEDULED")


def count(url: str, what: str, **chosen: object) -> int:
    return int(requests.post(f"{url}/{what}/count", json=chosen, timeout=120).json())


def caught_up(url: str, expected: int) -> float:
    """Seconds until the server knows the end of so many task runs; it is given ten minutes."""
    began = time.perf_counter()
    final = {"task_runs": {"state": {"type": {"any_": list(STATES[:4])}}}}
    while count(url, "task_runs", **final) < expected and time.perf_counter() - began < 600:
        time.sleep(1)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--latency", type=float, default=2.0)
    parser.add_argument("--look", action="store_true", help="at the end, keep the server up until Enter")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "shots.yaml").write_text(SHOTS)
        catalog = home / "catalog.jsonl"
        lines = (json.dumps({"id": f"mug-{n}", "title": f"Mug number {n}"}) for n in range(chosen.images))
        catalog.write_text("\n".join(lines) + "\n")
        latency = (0.5 * chosen.latency, 1.5 * chosen.latency)
        cost = chosen.images * 0.1 + 100
        with (
            Sandbox(home / "sandbox", latency, "images", chosen.at_once + 10, cost) as sandbox,
            prefect_server(home, own=True) as url,
        ):
            os.environ |= sandbox.settings() | {
                "PACKSHOT_HOME": str(home),
                "PACKSHOT_SHOTS": str(home / "shots.yaml"),
                "PACKSHOT_CONCURRENCY": str(chosen.at_once),
            }
            flow = load_flow(Path.cwd())
            size_before = sum(path.stat().st_size for path in (home / "prefect").glob("prefect.db*"))
            began = time.perf_counter()
            report = flow(RunOptions(catalog=str(catalog))).result()
            wall = time.perf_counter() - began
            assert isinstance(report, Report)
            late = caught_up(url, chosen.images)
            runs = requests.post(f"{url}/flow_runs/filter", json={"limit": 200}, timeout=120).json()
            sizes = [count(url, "task_runs", flow_runs={"id": {"any_": [run["id"]]}}) for run in runs]
            states = {
                state: count(url, "task_runs", task_runs={"state": {"type": {"any_": [state]}}}) for state in STATES
            }
            log = (home / "prefect" / "server.log").read_text(errors="replace")
            growth = sum(path.stat().st_size for path in (home / "prefect").glob("prefect.db*")) - size_before
            print(report.headline)
            print(f"wall                {wall:8.1f} s, {chosen.images / wall:.1f} images a second")
            print(f"flow runs           {dict(Counter(run['state_name'] for run in runs))}")
            print(f"task runs           { ({state: number for state, number in states.items() if number}) }")
            print(f"most of a flow run  {max(sizes):8d}")
            print(f"server caught up    {late:8.1f} s after the end; messages dropped: {log.count('queue is full')}")
            print(f"database            {growth / 1e6:8.0f} MB more, {growth / chosen.images / 1e3:.1f} kB an image")
            print(f"peak memory         {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MB (client)")
            if chosen.look:
                input(f"{url}: Enter ends it ")


if __name__ == "__main__":
    main()
