"""How well are the paid slots used? N images, W calls at a time, L seconds a call; the whole way to S3 and database.

Prints the wall time of the flow beside (a) the ideal ceil(N/W) x L and (b) a bare ThreadPoolExecutor with requests that
keeps and records nothing. All in one run on one machine, against the same servers: read the ratios, not the seconds.
Each side makes one image before its clock starts: imports, tables and a store's first object are not scheduling.

    python -m benchmarks.schedule --images 300 --at-once 50 --latency 5
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from packshot.flow_runner import load_flow
from packshot.options import RunOptions
from packshot.report import Report
from packshot.sandbox.prefect_server import prefect_server
from packshot.sandbox.sandbox import KEY, Sandbox

SHOTS = """
version: 1
shots:
  - {name: packshot, prompt: "A packshot. {{ facts }}", aspect_ratio: "1:1", image_size: 1K}
"""


def bare(url: str, images: int, at_once: int) -> float:
    """Seconds for the calls and downloads alone."""

    def one(number: int) -> int:
        body = {"model": "nano-banana-pro", "prompt": f"Mug {number}", "size": "1024x1024", "response_format": "url"}
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = requests.post(f"{url}/v1/images/generations", json=body, headers=headers, timeout=(10, 300))
        return len(requests.get(answer.json()["data"][0]["url"], timeout=60).content)

    one(images)
    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        sizes = list(pool.map(one, range(images)))
    assert min(sizes) > 1000
    return time.perf_counter() - began


def packshot(folder: Path, images: int, at_once: int) -> float:
    """Seconds for the flow: read, plan, call, download, decode, store, verify, record, report."""
    catalog = folder / "catalog.jsonl"
    lines = (json.dumps({"id": f"mug-{n}", "title": f"Mug number {n}", "color": "red"}) for n in range(images + 1))
    catalog.write_text("\n".join(lines) + "\n")
    flow = load_flow(Path.cwd())
    flow(RunOptions(catalog=str(catalog), concurrency=at_once, limit=1))
    began = time.perf_counter()
    report = flow(RunOptions(catalog=str(catalog), concurrency=at_once)).result()
    wall = time.perf_counter() - began
    assert isinstance(report, Report)
    assert report.run.archived == images + 1, report.headline
    return wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--latency", type=float, default=5.0)
    options = parser.parse_args()
    images, at_once, latency = options.images, options.at_once, options.latency
    ideal = math.ceil(images / at_once) * latency
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "shots.yaml").write_text(SHOTS)
        with Sandbox(home / "sandbox", (latency, latency), "images", at_once + 10) as sandbox, prefect_server(home):
            os.environ |= sandbox.settings() | {
                "PACKSHOT_HOME": str(home),
                "PACKSHOT_SHOTS": str(home / "shots.yaml"),
                "PACKSHOT_CONCURRENCY": str(at_once),
            }
            bare_wall = bare(sandbox.emulator_url, images, at_once)
            wall = packshot(home, images, at_once)
            billed = len([row for row in sandbox.bill()["rows"] if row["billed"]])
    assert billed == 2 * (images + 1), f"{billed} calls billed instead of {2 * (images + 1)}"
    print(f"{images} images, {at_once} at once, {latency:g} s a call")
    print(f"ideal               {ideal:7.1f} s")
    print(f"bare script         {bare_wall:7.1f} s   {bare_wall / ideal:.3f} x ideal")
    print(f"packshot            {wall:7.1f} s   {wall / ideal:.3f} x ideal, {wall / bare_wall:.3f} x bare script")
    print(f"peak memory         {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:7.0f} MB (this process)")


if __name__ == "__main__":
    main()
