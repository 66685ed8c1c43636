"""How well are the paid slots used? N images, W calls at a time; the whole way to S3 and database.

Prints the wall time of the flow beside (a) the ideal: the list schedule, W at a time, of the latencies that the API
really drew, and (b) a bare ThreadPoolExecutor with requests that downloads and records nothing. All in one run on one
machine, against the same servers: read the ratios, not the seconds. Both sides get the same latencies, and each makes
one image before its clock starts: imports, tables and a store's first object are not scheduling.

    python -m benchmarks.schedule                      # 1,000 images, 100 at once, 10 s a call
    python -m benchmarks.schedule --case wide          # 2,000 images, 500 at once, 30 s a call
    python -m benchmarks.schedule --case short         # 300 images, 50 at once, all calls exactly 5 s
    python -m benchmarks.schedule --database postgresql
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Case:
    """What is made, and the bars: the most that the wall may be of the ideal, and of the bare script."""

    images: int
    at_once: int
    latency: float
    spread: float
    bytes: int
    of_ideal: float
    of_bare: float | None = None


CASES = {
    "schedule": Case(1000, 100, 10.0, 0.4, 1_000_000, of_ideal=1.03, of_bare=1.02),
    "wide": Case(2000, 500, 30.0, 0.4, 1_000_000, of_ideal=1.05),
    "short": Case(300, 50, 5.0, 0.0, 0, of_ideal=1.10),
}


@dataclass(frozen=True, slots=True)
class Calls:
    """What the API saw of one side."""

    rows: Sequence[dict[str, Any]]
    began: datetime
    ended: datetime

    def ideal(self, at_once: int) -> float:
        """Seconds of the list schedule: each call in turn goes to the slot that is free first."""
        slots = [0.0] * at_once
        for row in self.rows:
            heapq.heapreplace(slots, slots[0] + row["latency"])
        return max(slots)

    def start(self, at_once: int) -> float:
        """Seconds until every slot was in use."""
        return self._since(self.rows[min(at_once, len(self.rows)) - 1])

    def end(self) -> float:
        """Seconds from the last answer to the end."""
        return (self.ended - self.began).total_seconds() - max(self._answered(row) for row in self.rows)

    def refill(self, at_once: int) -> float:
        """Seconds that a slot stands empty between two calls, on average."""
        ends = sorted(self._answered(row) for row in self.rows)
        starts = [self._since(row) for row in self.rows[at_once:]]
        return sum(start - end for start, end in zip(starts, ends, strict=False)) / max(len(starts), 1)

    def _since(self, row: dict[str, Any]) -> float:
        return (datetime.fromisoformat(row["created_at"]) - self.began).total_seconds()

    def _answered(self, row: dict[str, Any]) -> float:
        return self._since(row) + float(row["seconds"])


def bare(url: str, images: int, at_once: int) -> float:
    """Seconds for the calls and downloads alone."""
    kept = threading.local()

    def one(number: int) -> int:
        session = kept.session = getattr(kept, "session", None) or requests.Session()
        body = {"model": "nano-banana-pro", "prompt": f"Mug {number}", "size": "1024x1024", "response_format": "url"}
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = session.post(f"{url}/v1/images/generations", json=body, headers=headers, timeout=(10, 300))
        return len(session.get(answer.json()["data"][0]["url"], timeout=60).content)

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        sizes = list(pool.map(one, range(images)))
    assert min(sizes) > 1000
    return time.perf_counter() - began


def packshot(catalog: Path, at_once: int, limit: int = 0) -> float:
    """Seconds for the flow: read, plan, call, download, decode, store, verify, record, report."""
    flow = load_flow(Path.cwd())
    began = time.perf_counter()
    report = flow(RunOptions(catalog=str(catalog), concurrency=at_once, limit=limit)).result()
    wall = time.perf_counter() - began
    assert isinstance(report, Report)
    assert report.run.archived == report.run.planned, report.headline
    return wall


def write_catalog(path: Path, images: int) -> Path:
    lines = (json.dumps({"id": f"mug-{n}", "title": f"Mug number {n}", "color": "red"}) for n in range(images))
    path.write_text("\n".join(lines) + "\n")
    return path


class Side:
    """One side's turn: the emulator draws the same latencies for each, and its bill says what it drew."""

    def __init__(self, sandbox: Sandbox, case: Case) -> None:
        self._sandbox = sandbox
        self._case = case

    @contextmanager
    def turn(self) -> Iterator[list[Calls]]:
        wanted = {"seconds": self._case.latency, "spread": self._case.spread, "seed": 1}
        requests.post(f"{self._sandbox.emulator_url}/sandbox/latency", json=wanted, timeout=30).raise_for_status()
        before = len(self._sandbox.bill()["rows"])
        found: list[Calls] = []
        began = datetime.now(UTC)
        yield found
        ended = datetime.now(UTC)
        rows = sorted(self._sandbox.bill()["rows"][before:], key=lambda row: str(row["created_at"]))
        assert len(rows) == self._case.images, f"{len(rows)} calls instead of {self._case.images}"
        found.append(Calls(rows, began, ended))

    def warm_up(self) -> None:
        requests.post(f"{self._sandbox.emulator_url}/sandbox/latency", json={"seconds": 0}, timeout=30)


def measure(case: Case, database: str, home: Path) -> dict[str, Any]:
    (home / "shots.yaml").write_text(SHOTS)
    catalog = write_catalog(home / "catalog.jsonl", case.images)
    with ExitStack() as stack:
        sandbox = stack.enter_context(
            Sandbox(home / "sandbox", wire_format="images", max_in_flight=case.at_once + 10,
                    balance_usd=case.images, least_bytes=case.bytes)
        )  # fmt: skip
        stack.enter_context(prefect_server(home, own=True))
        os.environ |= sandbox.settings() | {
            "PACKSHOT_HOME": str(home),
            "PACKSHOT_SHOTS": str(home / "shots.yaml"),
            "PACKSHOT_CONCURRENCY": str(case.at_once),
        }
        if database == "postgresql":
            # Here, because what it brings along would be counted as the client's memory.
            from tests.fixtures_postgres import PostgresServer, postgres_binaries

            binaries = postgres_binaries()
            if binaries is None:
                raise SystemExit("PostgreSQL is not on this machine")
            os.environ["PACKSHOT_DATABASE_URL"] = stack.enter_context(PostgresServer(binaries)).new_database()
        side = Side(sandbox, case)
        side.warm_up()
        bare(sandbox.emulator_url, 1, 1)
        with side.turn() as of_bare:
            bare_wall = bare(sandbox.emulator_url, case.images, case.at_once)
        side.warm_up()
        packshot(write_catalog(home / "first.jsonl", 1), case.at_once)
        with side.turn() as of_packshot:
            wall = packshot(catalog, case.at_once)
    calls = of_packshot[0]
    ideal = calls.ideal(case.at_once)
    return {
        "benchmark": "schedule", "database": database, "images": case.images, "at_once": case.at_once,
        "latency": case.latency, "spread": case.spread,
        "ideal": ideal, "bare": bare_wall, "bare_ideal": of_bare[0].ideal(case.at_once), "wall": wall,
        "of_ideal": wall / ideal, "of_bare": wall / bare_wall,
        "start": calls.start(case.at_once), "refill": calls.refill(case.at_once), "end": calls.end(),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def show(found: dict[str, Any], case: Case) -> None:
    calls = f"{case.latency:g} s a call, spread {case.spread:g}"
    print(f"{case.images} images, {case.at_once} at once, {calls}, {found['database']}")
    print(f"ideal         {found['ideal']:7.1f} s")
    print(f"bare script   {found['bare']:7.1f} s   {found['bare'] / found['bare_ideal']:.3f} x its ideal")
    of_bare = f" (bar {case.of_bare})" if case.of_bare else ""
    print(f"packshot      {found['wall']:7.1f} s   {found['of_ideal']:.3f} x ideal (bar {case.of_ideal}), "
          f"{found['of_bare']:.3f} x bare script{of_bare}")  # fmt: skip
    print(f"  all slots in use after {found['start']:.2f} s, empty between two calls {found['refill'] * 1000:.0f} ms, "
          f"done {found['end']:.2f} s after the last answer")  # fmt: skip
    print(f"peak memory   {found['memory_mb']:7.0f} MB (this process)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=list(CASES), default="schedule")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    for name, kind in (("images", int), ("at_once", int), ("latency", float), ("spread", float), ("bytes", int)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    given = vars(parser.parse_args())
    database = given.pop("database")
    case = replace(CASES[given.pop("case")], **{name: value for name, value in given.items() if value is not None})
    with tempfile.TemporaryDirectory(prefix="packshot-schedule-") as name:
        found = measure(case, database, Path(name))
    show(found, case)
    print(json.dumps({name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}))
    if found["of_ideal"] > case.of_ideal or (case.of_bare and found["of_bare"] > case.of_bare):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
