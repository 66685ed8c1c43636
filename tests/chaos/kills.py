"""A plan of deaths, drawn from a seed, and its execution: rounds over new products, each ended by runs in peace."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.chaos.child import POINTS
from tests.chaos.world import Child, World

FROM_OUTSIDE = "kill -9 at a random moment"
PATIENCE = 180.0
"""Seconds a child may take; one that hangs is a finding."""

_ONCE_A_RUN = ("run opened", "planned")
_AT_THE_END = ("before finish", "finished")
_PRODUCTS = 36
_VOLLEYS = 6


@dataclass(frozen=True)
class Blow:
    """What one child does, and how it dies; it lives on if it gets to its end before, or if ``point`` is empty.

    ``after`` is seconds since the start when the kill comes from outside, else since the passage of the point.
    """

    point: str = ""
    at: int = 1
    after: float = 0.0
    command: str = "run"


@dataclass(frozen=True)
class Round:
    """Deaths over one catalog. A volley is one child, or two at once."""

    number: int
    env: Mapping[str, Any]
    slow_downloads: int
    volleys: tuple[tuple[Blow, ...], ...]


@dataclass
class Tally:
    """What came of a plan: ``deaths`` by point, and children that got to their end before (``escapes``)."""

    deaths: Counter[str] = field(default_factory=Counter)
    escapes: Counter[str] = field(default_factory=Counter)
    overlaps: int = 0


def rounds(seed: int) -> Iterator[Round]:
    """An endless plan. The same seed gives the same one."""
    chance = random.Random(seed)
    deck: list[str] = []
    for number in count():
        base64 = number % 4 == 3
        volleys: list[tuple[Blow, ...]] = []
        for _ in range(_VOLLEYS):
            if len(deck) < 2:
                fresh = [*(point for point in POINTS if point not in _AT_THE_END), *[FROM_OUTSIDE] * 5]
                deck += chance.sample(fresh, len(fresh))
            volley = [_blow(deck.pop(0), base64, chance)]
            if chance.random() < 0.4:
                volley.append(_blow(deck.pop(0), base64, chance) if chance.random() < 0.7 else Blow())
            volleys.append(tuple(volley))
            if chance.random() < 0.2:
                volleys.append((Blow(command="costs reconcile --apply"),))
        volleys.append((Blow("any commit", chance.randint(1, 4), command="rescue"),))
        volleys.append((Blow(_AT_THE_END[number % 2]),))
        yield Round(
            number=number,
            env={"APIYI_RESPONSE": "b64_json" if base64 else "url", "CONCURRENCY": chance.choice([3, 5, 8])},
            slow_downloads=4 if number % 3 == 1 and not base64 else 0,
            volleys=tuple(volleys),
        )


def _blow(point: str, base64: bool, chance: random.Random) -> Blow:
    if point == FROM_OUTSIDE:
        return Blow(point, after=chance.uniform(0.1, 3.0))
    if point == "half a download" and base64:  # nothing is downloaded
        point = "before the PUT"
    if point in _ONCE_A_RUN:
        return Blow(point)
    if point == "any commit":
        return Blow(point, at=chance.randint(1, 40))
    return Blow(point, at=chance.randint(1, 4), after=chance.uniform(0.05, 0.5) if point == "during the POST" else 0.0)


def play(world: World, order: Round, tally: Tally, enough: int) -> None:
    """Strike until the round is over or ``enough`` have died, then let runs in peace finish the catalog."""
    catalog = world.catalog(f"round{order.number:03d}", _PRODUCTS, rejects=2)
    if order.slow_downloads:
        world.emulator.queue("url_slow", times=order.slow_downloads, seconds=1.0)
    for volley in order.volleys:
        if tally.deaths.total() >= enough:
            break
        tally.overlaps += len(volley) > 1
        for blow, child in [(blow, _start(world, str(catalog), order.env, blow)) for blow in volley]:
            if child.wait(PATIENCE) == -signal.SIGKILL and blow.point:
                tally.deaths[blow.point] += 1
            else:
                _check_exit(child)
                tally.escapes[blow.point] += 1
    finish(world, str(catalog), order.env)


def finish(world: World, catalog: str, env: Mapping[str, Any]) -> None:
    """A rescue, a run to the end, and one more that must find nothing left to buy."""
    for argv in (["rescue"], ["run", catalog], ["run", catalog]):
        calls = world.emulator.calls
        child = world.start(*argv, **env)
        child.wait(PATIENCE)
        _check_exit(child)
    assert world.emulator.calls == calls, "a run over a finished catalog called the image API"


def _start(world: World, catalog: str, env: Mapping[str, Any], blow: Blow) -> Child:
    argv = ["run", catalog] if blow.command == "run" else blow.command.split()
    if blow.point != FROM_OUTSIDE:
        return world.start(*argv, point=blow.point, at=blow.at, after=blow.after, **env)
    child = world.start(*argv, **env)
    timer = threading.Timer(blow.after, child.kill, [signal.SIGKILL])
    timer.daemon = True
    timer.start()
    return child


def _check_exit(child: Child) -> None:
    """0: all is well; 1: some images are held, for example because two calls for them had an unknown outcome."""
    if child.status not in (0, 1):
        raise AssertionError(f"packshot {' '.join(child.order.argv)} ended with {child.status}")
