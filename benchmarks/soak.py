"""Does a long run stay as it is? W calls at once and three bad answers in ten, for as many minutes as asked.

A client process stays alive as a worker's does: a short run to warm up, the long one (ended by a request to stop, as
``packshot stop`` makes it), a short one more. It is watched from outside: memory, threads, descriptors, sockets, files
in the spool and temporary files. What it has in the middle of the long run it may have at its end, and no more; after
the runs it gives back what it took. Ledger and provider's bill must agree to the micro-dollar.

    python -m benchmarks.soak --minutes 30 --at-once 200 --csv soak.csv
    python -m benchmarks.soak --minutes 2 --at-once 40
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import requests

from benchmarks.schedule import SHOTS
from benchmarks.watched_client import Client, Sample, line_of, query
from packshot.db.running import request_stop
from packshot.errors import Code
from packshot.reconcile import reconcile
from packshot.run import open_ledger
from packshot.sandbox.prefect_server import prefect_server
from packshot.sandbox.sandbox import Sandbox
from packshot.settings import PREFIX, load_settings
from tests.chaos.outages import MIX

BAD = 0.3
THROTTLING = "rate_limited"
"""Not among the bad answers: at random, without a crowd as the reason, it would hold all calls back for good, and the
run would not be one of W calls at once."""

MOST_GROWTH, MORE_MB = 0.05, 10.0  # of the memory, from the second fifth of the run to its last
COUNTED = ("threads", "descriptors", "sockets", "spool", "temporary")

FASTER: dict[str, str] = {
    "BACKOFF": "1,2,4",
    "RETRY": '{"bad_gateway": {"waits": [2]}}',
    "MAX_ARCHIVE_TRIES": "3",
    "FAILURES_BEFORE_PAUSE": "20",
}
"""Waits are short, so that calls and not waits fill the time; and bad luck at random is no outage to pause for."""


def growth(samples: Sequence[Sample], minutes: float, slack: int) -> dict[str, tuple[float, float, bool]]:
    """(in the second fifth of the run, in its last fifth, is that too much more) of each measure. The first fifth is
    for warming up. ``slack``: by how much a count may differ, because calls come and go."""
    began, fifth = samples[0].seconds, minutes * 60 / 5
    found = {}
    for name in ("memory_mb", *COUNTED):
        early = median(getattr(s, name) for s in samples if fifth <= s.seconds - began < 2 * fifth)
        late = median(getattr(s, name) for s in samples if 4 * fifth <= s.seconds - began < 5 * fifth)
        allowed = early * (1 + MOST_GROWTH) + MORE_MB if name == "memory_mb" else early + slack
        found[name] = (early, late, late > allowed)
    return found


def kept(before: Sample, after: Sample) -> list[str]:
    """What the client has between two runs that it did not have before, though nothing is at work."""
    allowed = {"memory_mb": before.memory_mb * (1 + MOST_GROWTH) + MORE_MB} | {
        name: getattr(before, name) + 2 for name in COUNTED
    }
    return [
        f"{name} {getattr(before, name)} -> {getattr(after, name)}"
        for name, most in allowed.items()
        if getattr(after, name) > most
    ]


def ledger_and_bill(home: Path, sandbox: Sandbox, since: datetime) -> tuple[int, int]:
    """Micro-dollars of both, when calls of unknown outcome were looked up in the provider's log the day after."""
    while requests.get(f"{sandbox.emulator_url}/sandbox/health", timeout=10).json()["in_flight"]:
        time.sleep(1)
    tomorrow = datetime.now(UTC) + timedelta(hours=20)
    reconcile(load_settings(), since, apply=True, now=tomorrow, sleep=lambda _: None)
    return int(query(home, "SELECT sum(cost_micro) FROM attempt")[0][0]), int(sandbox.bill()["total_micro"])


def write_catalog(path: Path, products: int) -> Path:
    lines = (json.dumps({"id": f"{path.stem}-{n}", "title": f"Mug {path.stem}/{n}"}) for n in range(products))
    path.write_text("\n".join(lines) + "\n")
    return path


def soak(
    client: Client, sandbox: Sandbox, home: Path, minutes: float, at_once: int, rate: float
) -> tuple[dict[str, Any], list[str]]:
    """(figures, what is not as it should be)."""
    bad = [name for name in MIX if name != THROTTLING]
    shares = {name: BAD / len(bad) for name in bad}
    requests.post(f"{sandbox.emulator_url}/sandbox/mix", json={"shares": shares, "seed": 1}, timeout=10)
    since = datetime.now(UTC) - timedelta(minutes=1)
    print(line_of([field.name for field in fields(Sample)]))
    client.rest("started")
    runs = [client.run(write_catalog(home / "first.jsonl", at_once), "first")]
    before = client.rest("rest")
    end = time.monotonic() + minutes * 60

    def stop_in_time() -> None:
        if time.monotonic() > end:
            request_stop(open_ledger(load_settings()))

    calls = int(1.5 * rate * minutes * 60)
    runs.append(client.run(write_catalog(home / "long.jsonl", calls), "long", stop_in_time))
    between = client.rest("rest")
    runs.append(client.run(write_catalog(home / "last.jsonl", at_once), "last"))
    after = client.rest("rest")
    ledger, bill = ledger_and_bill(home, sandbox, since)
    unarchived = "FROM generation JOIN image_job ON image_job.id = generation.job_id WHERE archived_at IS NULL"
    waiting = {code for (code,) in query(home, f"SELECT DISTINCT code {unarchived}")}

    measures = growth([s for s in client.samples if s.phase == "long"], minutes, max(4, at_once // 10))
    for name, (early, late, _) in measures.items():
        print(f"{name:<12} {early:9.1f} -> {late:9.1f}")
    broken = [f"{name} grew from {early} to {late}" for name, (early, late, grew) in measures.items() if grew]
    # The first run is too short to have opened all of the database's pool, or to have filled every cache.
    settling = ("memory_mb", "descriptors")
    broken += [f"kept after the long run: {what}" for what in kept(before, between) if not what.startswith(settling)]
    broken += [f"kept after the last run: {what}" for what in kept(between, after)]
    broken += [f"sums: {run}" for run in runs if run["planned"] != run["archived"] + run["failed"] + run["held"]]
    broken += [f"the long run ended too early: {runs[1]}"] * (runs[1]["code"] != Code.STOP_REQUESTED)
    broken += [f"{after.spool} files are left in the spool"] * (after.spool > 0)
    broken += [f"images wait for no good reason: {waiting}"] * (not waiting <= {Code.LOST, Code.NOT_AN_IMAGE})
    broken += [f"ledger minus bill: {ledger - bill} micro-dollars"] * (ledger != bill)
    found = {
        "images": after.images,
        "ledger_usd": ledger / 1e6,
        "bill_usd": bill / 1e6,
        "waiting": after.waiting,
        **{name: [early, late] for name, (early, late, _) in measures.items()},
        "memory_at_rest_mb": [client.samples[0].memory_mb, before.memory_mb, between.memory_mb, after.memory_mb],
        "ok": not broken,
    }
    return found, broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--rate", type=float, default=12, help="calls a second, what two cores manage without haste")
    parser.add_argument("--csv", type=Path, help="where all samples go")
    chosen = parser.parse_args()
    latency = chosen.at_once / chosen.rate
    with tempfile.TemporaryDirectory(prefix="packshot-soak-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        (home / "shots.yaml").write_text(SHOTS)
        spread = (0.6 * latency, 1.4 * latency)
        with (
            Sandbox(home / "sandbox", spread, "images", chosen.at_once + 10, 1e6) as sandbox,
            prefect_server(home, own=True),
        ):
            ours = {"HOME": str(home), "SHOTS": str(home / "shots.yaml"), "CONCURRENCY": str(chosen.at_once)}
            os.environ |= sandbox.settings() | {PREFIX + name: value for name, value in (FASTER | ours).items()}
            with Client(home) as client:
                found, broken = soak(client, sandbox, home, chosen.minutes, chosen.at_once, chosen.rate)
    if chosen.csv:
        with chosen.csv.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow([field.name for field in fields(Sample)])
            rows.writerows(astuple(sample) for sample in client.samples)
    print(*broken, sep="\n")
    print(json.dumps({"benchmark": "soak", "minutes": chosen.minutes, "at_once": chosen.at_once} | found))
    raise SystemExit(bool(broken))


if __name__ == "__main__":
    main()
