"""Kill the product a few hundred times and count what was lost: ``python -m tests.chaos --kills 200``; then take away
its store, database, disk, clock and names (:mod:`tests.chaos.outages`), unless ``--no-outages`` says not to.

Exit code 1 when a promise is broken. ``--seed`` repeats a plan of deaths; the moments within it are the machine's.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import outages
from tests.chaos.child import POINTS
from tests.chaos.kills import FROM_OUTSIDE, Tally, play, rounds
from tests.chaos.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--keep", action="store_true", help="keep the folder with database, spool and logs")
    parser.add_argument("--no-outages", action="store_true", help="kills only")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="packshot-chaos-"))
    print(f"{options.kills} kills, seed {options.seed}, {options.database}, in {folder}", flush=True)
    with World(folder, database=options.database, seed=options.seed) as world:
        broken = _strike(world, options.kills, options.seed)
    if not (broken or options.keep):
        shutil.rmtree(folder, ignore_errors=True)
    if not options.no_outages:
        print()
        broken += outages.run(list(outages.SCENARIOS), keep=options.keep)
    return 1 if broken else 0


def _strike(world: World, kills: int, seed: int) -> list[str]:
    began = time.monotonic()
    tally, unknown_money = Tally(), 0
    for order in rounds(seed):
        play(world, order, tally, kills)
        figures = world.check()
        unknown_money += figures.unknown_money
        dead = tally.deaths.total()
        verdict = "; ".join(figures.broken) or "all promises hold"
        print(f"{time.monotonic() - began:6.0f} s, round {order.number}: {dead} kills, {verdict}", flush=True)
        if dead >= kills:
            break
    print()
    points = [*POINTS, FROM_OUTSIDE]
    print(f"{'killed at':<50}{'deaths':>12}{'came past':>12}")
    for point in points:
        print(f"{point:<50}{tally.deaths[point]:>12}{tally.escapes[point]:>12}")
    print(f"{'kills':<50}{tally.deaths.total():>12}{sum(tally.escapes[point] for point in points):>12}")
    print(f"{'two runs at once':<50}{tally.overlaps:>12}")
    print(f"{'booked for calls that nobody billed, at first':<50}{unknown_money:>12}")
    print(figures.table())
    broken = figures.broken
    if kills >= 5 * len(POINTS):
        broken += [f"nobody died at: {point}" for point in points if not tally.deaths[point]]
    print("\n".join(["", "BROKEN:", *broken, *figures.reasons] if broken else ["", "all promises hold"]))
    return broken


if __name__ == "__main__":
    sys.exit(main())
