"""How long until a run over a large catalog knows what to make, and how long does a run take that finds nothing to do?

Three sides, each in a process of its own, on SQLite (or on the database of PACKSHOT_DATABASE_URL, an empty one):

- ``plan``: new products x 1 shot, as ``packshot plan`` does it, which only reads;
- ``start``: the same, as a run does it before its first call: products, jobs and changes are written down;
- ``nothing``: a whole run over products x 2 shots whose pictures are all permanent, from its first check to its report;
  with ``--flow`` as the real flow, on a Prefect server of its own.

The bars are for the numbers that are the defaults.

    python -m benchmarks.planning --rows 1000000 --products 100000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import text

from benchmarks.reading import generate
from packshot.db.engine import open_engine
from packshot.flow_runner import load_flow
from packshot.options import RunOptions
from packshot.report import Report
from packshot.run import finish_run, plan_only, start_run
from packshot.sandbox.prefect_server import prefect_server
from packshot.sandbox.sandbox import Sandbox
from packshot.settings import load_settings

ROWS, PRODUCTS = 1_000_000, 100_000
ONE_SHOT, TWO_SHOTS = ["packshot"], ["packshot", "lifestyle"]


@dataclass(frozen=True, slots=True)
class Bar:
    seconds: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Measured:
    side: str
    products: int
    seconds: float
    memory_mb: float


PLANNING, NOTHING = Bar(120, 500), Bar(10, 300)

# What a hundred thousand calls would have left. One statement each: how it came about is not what is measured.
ARCHIVED = (
    """INSERT INTO attempt (job_id, run_id, number, model, wire_format, price_micro, spool_name, started_at, settled_at,
           billed, cost_micro, http_status, request_ids, seconds, in_flight, message, excerpt)
       SELECT id, (SELECT max(id) FROM run), 1, model, 'images', 90000, 'call-' || id, created_at, created_at,
           'yes', 90000, 200, '{}', 12.5, 5, '', '' FROM image_job""",
    """INSERT INTO generation (job_id, attempt_id, url, expires_at, spool_name, created_at, archived_at, archive_tries)
       SELECT job_id, id, 'https://images.example.com/' || id, started_at, spool_name, started_at, started_at, 0
       FROM attempt""",
    """INSERT INTO asset (job_id, attempt_id, bucket, key, sha256, bytes, mime, width, height, size_as_ordered,
           created_at)
       SELECT t.job_id, t.id, (SELECT max(bucket) FROM store), 'catalog/' || j.key || '.png', j.key, 5000000,
           'image/png', 2048, 2048, true, t.started_at
       FROM attempt t JOIN image_job j ON j.id = t.job_id""",
    "UPDATE image_job SET state = 'archived'",
)  # fmt: skip


def options(shots: list[str]) -> RunOptions:
    return RunOptions(catalog=os.environ["BENCH_CATALOG"], shots=shots)


def plan(products: int) -> None:
    found = plan_only(load_settings(), options(ONE_SHOT))
    assert (found.to_make, found.diff.new) == (products, products), found.headline


def start(products: int) -> None:
    started = start_run(load_settings(), options(ONE_SHOT), None)
    assert (started.size, started.plan.diff.new) == (products, products), started.plan.headline


def make_all(products: int) -> None:
    """Enroll the catalog for real, then pretend that every picture was made."""
    settings = load_settings()
    started = start_run(settings, options(TWO_SHOTS), None)
    assert started.size == 2 * products
    with open_engine(settings.db_url).execution_options(write=True).begin() as connection:
        for statement in ARCHIVED:
            connection.execute(text(statement))
    finish_run(settings, started.run_id)


def nothing(products: int) -> None:
    settings = load_settings()
    started = start_run(settings, options(TWO_SHOTS), None)
    _check(finish_run(settings, started.run_id, None, started.notes), products)


def nothing_as_flow(products: int) -> None:
    report = load_flow(Path.cwd())(options(TWO_SHOTS)).result()
    assert isinstance(report, Report)
    _check(report, products)


def _check(report: Report, products: int) -> None:
    run = report.run
    found = (run.planned, run.already, run.archived, run.calls, run.products_same, run.state)
    assert found == (2 * products, 2 * products, 2 * products, 0, products, "completed"), report.headline


SIDES: dict[str, Callable[[int], None]] = {
    "plan": plan, "start": start, "make_all": make_all, "nothing": nothing, "flow": nothing_as_flow,
}  # fmt: skip


def measure(side: str, products: int, environment: dict[str, str]) -> Measured:
    """Of a process that does nothing else; its imports are not in the seconds, but in the memory."""
    command = [sys.executable, "-m", "benchmarks.planning", "--side", side, "--products", str(products)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    seconds, peak = json.loads(run.stdout.splitlines()[-1])
    return Measured(side, products, seconds, peak)


def run_side(side: str, products: int) -> None:
    began = time.perf_counter()
    SIDES[side](products)
    seconds = time.perf_counter() - began
    print(json.dumps([round(seconds, 2), round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)]))


def measure_all(home: Path, rows: int, products: int, as_flow: bool) -> list[Measured]:
    def at(name: str, number: int) -> dict[str, str]:
        catalog = home / f"{name}.csv"
        if not catalog.exists():
            generate(catalog, number)
        return {"PACKSHOT_HOME": str(home / name), "BENCH_CATALOG": str(catalog)}

    found = []
    with Sandbox(home / "sandbox", wire_format="images") as sandbox:
        os.environ |= sandbox.settings()
        if rows:
            found += [measure(side, rows, at("large", rows)) for side in ("plan", "start")]
        if products:
            place = at("same", products)
            measure("make_all", products, place)
            found.append(measure("nothing", products, place))
            if as_flow:
                with prefect_server(home, own=True):
                    found.append(measure("flow", products, place))
        assert not sandbox.bill()["rows"], "something was bought"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="new products; 0 leaves these sides out")
    parser.add_argument("--products", type=int, default=PRODUCTS, help="products with all pictures; 0 leaves them out")
    parser.add_argument("--flow", action="store_true", help="the run with nothing to do as the real flow, too")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        run_side(chosen.side, chosen.products)
        return
    with tempfile.TemporaryDirectory(prefix="packshot-planning-") as folder:
        found = measure_all(Path(folder), chosen.rows, chosen.products, chosen.flow)
    missed = False
    print(f"{'side':9}{'products':>10}{'seconds':>9}{'bar':>6}{'us each':>9}{'peak MB':>9}{'bar':>6}")
    for one in found:
        bar, full = (PLANNING, ROWS) if one.side in ("plan", "start") else (NOTHING, PRODUCTS)
        each = one.seconds / one.products * 1e6
        print(
            f"{one.side:9}{one.products:10,}{one.seconds:9.1f}{bar.seconds:6.0f}{each:9.0f}"
            f"{one.memory_mb:9.0f}{bar.memory_mb:6.0f}"
        )
        missed |= one.products >= full and (one.seconds > bar.seconds or one.memory_mb > bar.memory_mb)
    print(json.dumps({"benchmark": "planning", "sides": [asdict(one) for one in found]}))
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
