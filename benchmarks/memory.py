"""Does a large run grow? Runs of several sizes on a real Prefect server, each in a process of its own.

The API's answers come almost at once, so images end far faster than in life, and everything that could pile up does.
Prints the client's memory (its peak, and the median of the second half of the run), whether the Prefect server kept up,
and how much its database grew for each image.

    python -m benchmarks.memory --images 10000 30000 100000
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from PIL import Image

from benchmarks.schedule import SHOTS, packshot, write_catalog
from packshot.sandbox.prefect_server import prefect_server
from packshot.sandbox.sandbox import Sandbox

BAR_MB = 300.0
BAR_GROWTH = 1.15
SAMPLE_EVERY = 0.1  # seconds; the page of the contact sheet is there for a moment only
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
STATES = (*FINAL, "PENDING", "RUNNING", "SCHEDULED")
_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def resident_mb() -> float:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _MB


@contextmanager
def sampled() -> Iterator[list[float]]:
    """Resident memory in MB, ten times a second while the block runs."""
    found: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_EVERY):
            found.append(resident_mb())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def count(url: str, what: str, **chosen: object) -> int:
    return int(requests.post(f"{url}/{what}/count", json=chosen, timeout=120).json())


def caught_up(url: str, expected: int) -> float:
    """Seconds until the server knows the end of all task runs, so many or more; it is given ten minutes."""
    began = time.perf_counter()
    final = {"task_runs": {"state": {"type": {"any_": list(FINAL)}}}}
    while time.perf_counter() - began < 600:
        if count(url, "task_runs", **final) >= max(expected, count(url, "task_runs")):
            break
        time.sleep(1)
    return time.perf_counter() - began


def draw_picture(path: Path) -> Path:
    """One for all, because drawing takes longer than all else that the sandbox does for a picture."""
    Image.new("RGB", (1024, 1024), "white").save(path)
    return path


def measure(images: int, at_once: int, latency: float, home: Path, look: bool) -> dict[str, Any]:
    (home / "shots.yaml").write_text(SHOTS)
    picture = draw_picture(home / "card.png")
    catalog = write_catalog(home / "catalog.jsonl", images)
    spread = (0.5 * latency, 1.5 * latency)
    with (
        Sandbox(home / "sandbox", spread, "images", at_once + 10, images * 0.1 + 100, picture=picture) as sandbox,
        prefect_server(home, own=True) as url,
    ):
        os.environ |= sandbox.settings() | {
            "PACKSHOT_HOME": str(home),
            "PACKSHOT_SHOTS": str(home / "shots.yaml"),
            "PACKSHOT_CONCURRENCY": str(at_once),
        }
        size_before = sum(path.stat().st_size for path in (home / "prefect").glob("prefect.db*"))
        with sampled() as memory:
            wall = packshot(catalog, at_once)
        late = caught_up(url, images)
        runs = requests.post(f"{url}/flow_runs/filter", json={"limit": 200}, timeout=120).json()
        sizes = [count(url, "task_runs", flow_runs={"id": {"any_": [run["id"]]}}) for run in runs]
        states = {state: count(url, "task_runs", task_runs={"state": {"type": {"any_": [state]}}}) for state in STATES}
        log = (home / "prefect" / "server.log").read_text(errors="replace")
        growth = sum(path.stat().st_size for path in (home / "prefect").glob("prefect.db*")) - size_before
        if look:
            input(f"{url}: Enter ends it ")
    return {
        "images": images, "at_once": at_once, "wall": wall, "peak_mb": max(memory),
        "median_mb": statistics.median(memory[len(memory) // 2 :]),
        "flow_runs": dict(Counter(run["state_name"] for run in runs)), "most_of_a_flow_run": max(sizes),
        "task_runs": {state: number for state, number in states.items() if number},
        "server_late": late, "dropped": log.count("queue is full"), "database_kb_an_image": growth / images / 1e3,
    }  # fmt: skip


def show(found: dict[str, Any]) -> None:
    print(f"{found['images']:,} images, {found['at_once']} at once: {found['wall']:.0f} s, "
          f"{found['images'] / found['wall']:.1f} a second")  # fmt: skip
    print(f"  client memory     peak {found['peak_mb']:.0f} MB (bar {BAR_MB:g}), "
          f"median of the second half {found['median_mb']:.0f} MB")  # fmt: skip
    print(f"  flow runs         {found['flow_runs']}, at most {found['most_of_a_flow_run']} task runs in one")
    print(f"  task runs         {found['task_runs']}")
    print(f"  Prefect server    caught up {found['server_late']:.1f} s after the end, {found['dropped']} messages "
          f"dropped, {found['database_kb_an_image']:.1f} kB an image", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--latency", type=float, default=0.1, help="mean seconds of a call")
    parser.add_argument("--look", action="store_true", help="one size alone: keep its server up until Enter")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.alone or chosen.look:
        with tempfile.TemporaryDirectory(prefix="packshot-memory-") as name:
            found = measure(chosen.images[0], chosen.at_once, chosen.latency, Path(name), chosen.look)
        print(json.dumps(found))
        return
    all_found = []
    for images in chosen.images:
        command = [sys.executable, "-m", "benchmarks.memory", "--alone", "--images", str(images)]
        command += ["--at-once", str(chosen.at_once), "--latency", str(chosen.latency)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        all_found.append(json.loads(done.stdout.splitlines()[-1]))
        show(all_found[-1])
    growth = all_found[-1]["peak_mb"] / all_found[0]["peak_mb"]
    print(f"largest / smallest  {growth:.2f} (bar {BAR_GROWTH})")
    print(json.dumps({"benchmark": "memory", "growth": round(growth, 3), "runs": all_found}))
    if growth > BAR_GROWTH or max(found["peak_mb"] for found in all_found) > BAR_MB:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
