"""All benchmarks in their short forms, one after the other: under ten minutes. The full ones: see each module.

python -m benchmarks
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

Found = dict[str, Any]

SHORT: dict[str, tuple[str, Callable[[Found], str]]] = {
    "schedule": ("--case short", lambda found: f"{found['of_ideal']:.3f} x the ideal schedule"),
    "overhead": ("--images 400 --latency 3", lambda found: f"{found['ours_ms']:.1f} ms of processor time an image"),
    # Smaller runs have fewer shards open at once than larger ones: they would be no measure for these.
    "memory": ("--images 2000 3000", lambda found: f"{found['growth']:.2f} x the memory for half as many more"),
    "big_bodies": (
        "--images 8 --at-once 4 --rounds 1 --latency 0.5", lambda found: f"{found['ratio']:.2f} x a raw loop"
    ),
    "planning": ("--rows 20000 --products 5000", lambda found: _planning(found["sides"])),
    "queries": (
        "--assets 20000 --database sqlite --moves 50", lambda found: f"{found['sqlite']['worst']:.1f} ms at worst"
    ),
    "reading": ("--rows 100000", lambda found: f"{found['ratio']:.2f} x csv.DictReader"),
}  # fmt: skip


def _planning(sides: list[Found]) -> str:
    each = {side["side"]: side["seconds"] / side["products"] * 1e6 for side in sides}
    return f"{each['start']:.0f} us a new product, {each['nothing']:.0f} us one that is done"


def main() -> None:
    shown: list[str] = []
    missed = False
    for name, (options, figure) in SHORT.items():
        print(f"== {name} {options}", flush=True)
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *options.split()], stdout=subprocess.PIPE, text=True
        )
        print(done.stdout, flush=True)
        lines = done.stdout.splitlines()
        try:
            said = figure(json.loads(lines[-1]))
        except (IndexError, ValueError, KeyError, TypeError):
            said = "broke"
        missed |= done.returncode != 0
        shown.append(f"{name:<12} {said:<50} {'missed' if done.returncode else 'met':<8}"
                     f"{time.perf_counter() - began:5.0f} s")  # fmt: skip
    print("\n".join(shown))
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
