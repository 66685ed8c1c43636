"""Outages in the middle of real runs: the store, the database, the disk, the clock, the name service, the provider.

Each scenario strikes while a child is at work, lets it end, and holds ledger, bill, bucket and database against each
other. It returns its figures in one line, and raises AssertionError when a promise is broken. ``python -m
tests.chaos.outages`` plays all of them at full length; ``--short`` as in ``make test``; ``--only NAME`` one.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from packshot.apiyi.spool import LEAST_FREE
from packshot.db.tables import Asset, Attempt, ImageJob, Product, Run
from packshot.errors import Code
from tests.chaos.checks import Figures
from tests.chaos.twists import NOT_FOUND
from tests.chaos.world import Child, Database, World
from tests.fixtures_shop import SHOTS

MIX = (
    "rate_limited", "server_error", "bad_gateway", "overloaded", "gateway_timeout", "reset_mid_body", "truncated_json",
    "tail_stall", "moderation_blocked", "image_safety", "empty_200", "html_page", "wrong_size", "url_expired",
    "url_html",
)  # fmt: skip
"""What bad answers there are; three answers in ten are bad."""

TMPFS = 400 * 2**20
HANGS = 90.0
"""Seconds after which a child has no excuse any more."""


class Impossible(Exception):
    """This machine cannot play the scenario; says why."""


# --- the store ------------------------------------------------------------------------------------------------
def store_away(world: World, images: int = 150, seconds: float = 60.0) -> str:
    """SeaweedFS is stopped in mid-run and comes back: one run, no person, everything archived."""
    catalog = world.catalog("store-away", images)
    retries: dict[str, Any] = {"backoff": "5,15,45"} if seconds > 20 else {"backoff": "1,2,4"}
    with _latency(world, seconds * 1.2 * 8 / images):
        child = world.run(catalog, **retries)
        _until(lambda: _archived(world, catalog) >= 3, child)
        stopped, calls = time.monotonic(), world.emulator.calls
        world.seaweed.stop()
        try:
            time.sleep(seconds)
        finally:
            bought_meanwhile = world.emulator.calls - calls
            world.seaweed.start()
        away = time.monotonic() - stopped
        _ended(child, 0)
    [run] = _runs(world, catalog)
    assert (run.archived, run.calls, run.failed, run.held) == (images, images, 0, 0)
    assert bought_meanwhile > 0, "the outage was not in the middle of the run"
    return f"{images} images, away {away:.0f} s, {bought_meanwhile} calls meanwhile; one run, all archived"


# --- the database ---------------------------------------------------------------------------------------------
def database_restarts(world: World, images: int = 60, seconds: float = 10.0) -> str:
    """PostgreSQL is stopped fast, then at once as in a crash, then is away while calls come home, and once more when
    all images are there and the run is about to be closed."""
    assert world.postgres, "this needs a world on PostgreSQL"
    catalog = world.catalog("database-restarts", images)
    goals = (images // 6, images // 3, images // 2, images)
    waits = ((False, 0.0), (True, 0.0), (False, seconds), (False, 3.0))
    with _latency(world, 0.5, 1.0):
        child = world.run(catalog, concurrency=4, twist="slow_finish:2")
        for goal, (immediately, wait) in zip(goals, waits, strict=True):
            _until(lambda goal=goal: _archived(world, catalog) >= goal, child)  # type: ignore[misc]
            world.postgres.stop(immediately)
            time.sleep(wait)
            world.postgres.start()
        _ended(child, 0)
    [run] = _runs(world, catalog)
    assert (run.archived, run.calls) == (images, images)
    return f"{images} images; stopped fast, immediately, away {seconds:.0f} s, and at the end; one run, all archived"


# --- the disk -------------------------------------------------------------------------------------------------
@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 400 MB at ``folder``.

    Raises:
        Impossible: this user may not mount.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS}", "packshot-chaos", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Impossible(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def spool_full(world: World, images: int = 40) -> str:
    """``world.home`` is a small disk. It gets too small for answers, later full to the last byte, and free again."""
    assert world.emulator.calls == 0
    catalog = world.catalog("spool-full", images)
    ballast = world.home / "ballast"
    with _latency(world, 0.6, 1.0):
        first = world.run(catalog, concurrency=4)
        _until(lambda: _archived(world, catalog) >= 2, first)
        _fill(ballast, keep=LEAST_FREE - 2**20)
        calls = world.emulator.calls
        _ended(first, 3)
        late = world.emulator.calls - calls
        [run] = _runs(world, catalog)
        assert (run.state, run.code) == ("stopped", Code.DISK_FULL)
        assert late <= 4, f"{late} calls began on a disk that was too small"
        assert run.archived == world.emulator.calls, "what was in the air did not come home"
        ballast.unlink()

        second = world.run(catalog, concurrency=4)
        _until(lambda: world.emulator.health()["in_flight"] >= 3, second)
        _fill(ballast, keep=0)
        world.settle()  # answers come to a disk without room
        time.sleep(1.0)
        ballast.unlink()
        status = _ended(second, 1, 3)
    [_, run] = _runs(world, catalog)
    not_saved = _codes(world, catalog)[Code.ANSWER_NOT_SAVED]
    held = {code for code, _ in _held(world, catalog)}
    assert held <= {Code.ANSWER_NOT_SAVED}
    _ended(world.run(catalog), 1 if not_saved else 0)
    [*_, last] = _runs(world, catalog)
    assert (last.archived, last.held) == (images - not_saved, not_saved)
    return (
        f"{images} images; too small: stopped after {run.already} with {late} calls begun late; full: exit {status}, "
        f"{not_saved} answers found no room and are held, {last.archived} archived"
    )


def sqlite_full(world: World, images: int = 24, seconds: float = 5.0) -> str:
    """The disk of the database alone is full for a while: the run waits, and goes on."""
    catalog = world.catalog("sqlite-full", images)
    elsewhere = world.folder / "spool"
    elsewhere.mkdir()
    shutil.rmtree(world.home / "spool", ignore_errors=True)
    (world.home / "spool").symlink_to(elsewhere)
    ballast = world.home / "ballast"
    calls = world.emulator.calls
    try:
        with _latency(world, 0.5, 1.0):
            child = world.run(catalog, concurrency=4)
            _until(lambda: _archived(world, catalog) >= 2, child)
            with closing(sqlite3.connect(world.home / "packshot.db", timeout=10)) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else there is room in the log that has grown
            _fill(ballast, keep=0)
            time.sleep(seconds)
            stuck = world.emulator.calls - calls
            ballast.unlink()
            _ended(child, 0)
    finally:
        (world.home / "spool").unlink()
    [run] = _runs(world, catalog)
    assert (run.archived, run.calls) == (images, images)
    assert stuck < images, "the disk was full too late"
    return f"{images} images, no room for {seconds:.0f} s with {stuck} calls made; one run, all archived"


def _fill(ballast: Path, keep: int) -> None:
    """Leave so many bytes of the disk free."""
    with ballast.open("wb") as file:
        while keep < (free := shutil.disk_usage(ballast.parent).free):
            try:
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free - keep)
            except OSError:  # others were faster
                continue


# --- the clock ------------------------------------------------------------------------------------------------
def clock_ahead(world: World, images: int = 60) -> str:
    """Two runs at once over one catalog; the clock of the second one is two hours ahead. On PostgreSQL it is also on
    another machine, where the lease alone says that the first one lives."""
    twist = "clock_ahead:7200" + (",other_machine" if world.postgres else "")
    shares = _two_at_once(world, world.catalog("clock-ahead", images), images, twist)
    return f"{images} images, two runs at once, one two hours ahead: {shares} calls, each image bought once"


def clock_jumps_back(world: World, images: int = 40) -> str:
    """The clock is put back by an hour in mid-run, while retries wait for their time."""
    catalog = world.catalog("clock-jumps", images)
    world.emulator.queue("none", times=2)
    world.emulator.queue("overloaded", times=3)
    with _latency(world, 0.3, 0.6):
        child = world.run(catalog, twist="clock_jumps:-3600", backoff="1")
        _ended(child, 0)
    [run] = _runs(world, catalog)
    assert (run.archived, run.calls) == (images, images + 3)
    assert run.ended_at
    assert run.ended_at < run.started_at, "the clock was not put back"
    return f"{images} images and 3 retries, one hour back in mid-run; one run, all archived"


def two_runs(world: World, images: int = 60) -> str:
    """Two runs at once over one catalog, in two processes."""
    shares = _two_at_once(world, world.catalog("two-runs", images), images, "")
    return f"{images} images, two runs at once: {shares} calls, each image bought once"


def _two_at_once(world: World, catalog: Path, images: int, twist: str) -> str:
    calls = world.emulator.calls
    with _latency(world, 0.4, 0.8):
        first = world.run(catalog, concurrency=4)
        if twist:  # the second one begins when the first one's calls are in the air
            _until(lambda: world.emulator.health()["in_flight"] >= 3, first)
        second = world.run(catalog, concurrency=4, twist=twist)
        _until(lambda: len(_runs(world, catalog)) == 2, first)
        for child in (first, second):
            _ended(child, 0, 1)  # 1: some of its images were in the other one's hands
    _ended(world.run(catalog), 0)
    *both, resumed = _runs(world, catalog)
    assert (resumed.archived, resumed.calls) == (images, 0)
    assert world.emulator.calls - calls == images == sum(run.calls for run in both)
    return " + ".join(str(run.calls) for run in both)


# --- the name service -----------------------------------------------------------------------------------------
def names_fail(world: World, images: int = 60, seconds: float = 20.0) -> str:
    """No name can be looked up for a while, in mid-run; connections that are open already live on."""
    catalog = world.catalog("names-fail", images)
    env: dict[str, Any] = {
        "apiyi_base_url": world.emulator.base_url.replace("127.0.0.1", "localhost"),
        "s3_endpoint_url": world.seaweed.endpoint_url.replace("127.0.0.1", "localhost"),
        "download_hosts": "localhost",
        "pause": 0.5,
        "backoff": "1,2,5",
    }
    usual = world.emulator.studio.base_url
    world.emulator.studio.base_url = str(env["apiyi_base_url"])
    before = _times_in(world.log, NOT_FOUND)
    try:
        with _latency(world, 0.3, 0.6):
            _ended(world.run(catalog, twist=f"names_fail:{seconds}", **env), 0)
    finally:
        world.emulator.studio.base_url = usual
    [run] = _runs(world, catalog)
    codes = _codes(world, catalog)
    assert run.archived == images
    assert set(codes) <= {None, Code.CONNECT_FAILED}
    assert codes[Code.CONNECT_FAILED], "no call failed for want of a name"
    assert run.spent_micro == images * 90_000, "a call that never left was booked"
    failed = _times_in(world.log, NOT_FOUND) - before
    return (
        f"{images} images, no names for {seconds:.0f} s: {failed} lookups failed, {codes[Code.CONNECT_FAILED]} calls "
        "could not connect and are free; one run, all archived"
    )


# --- the provider ---------------------------------------------------------------------------------------------
def bad_answers(world: World, jobs: int = 500, seed: int = 1) -> str:
    """Three answers in ten are bad: every job ends archived, failed with its code, or held."""
    shots = world.folder / "two-shots.yaml"
    front = SHOTS.partition("shots:\n")[2]
    shots.write_text(SHOTS + front.replace("front", "large").replace("1K", "2K"))
    catalog = world.catalog("bad-answers", jobs // 2)
    rows, calls = len(world.emulator.bill), world.emulator.calls
    chance = random.Random(seed)
    bad = [MIX[number % len(MIX)] for number in range(round(0.3 * 1.25 * jobs))]  # some jobs take more than one call
    answers = [*bad, *["none"] * (len(bad) * 7 // 3)]
    for name in chance.sample(answers, len(answers)):
        world.emulator.queue(name)
    with _latency(world, 0.02, 0.2):
        child = world.run(catalog, shots=shots, pause=0.2, backoff="0.1", max_archive_tries=3, concurrency=8)
        _ended(child, 0, 1)
    while len(world.emulator.studio.deck):
        world.emulator.studio.deck.draw()
    [run] = _runs(world, catalog)
    assert run.planned == jobs == run.archived + run.failed + run.held
    with Session(world.engine) as session:
        found = session.exec(select(ImageJob).join(Product).where(Product.catalog == catalog.stem)).all()
    states = Counter(job.state for job in found)
    received = Counter(job.code for job in found if job.state == "generated")
    assert set(states) <= {"archived", "failed", "held", "generated"}
    assert (states["archived"], states["failed"]) == (run.archived, run.failed)
    assert all(job.code and job.message for job in found if job.state != "archived")
    # An image whose URL answers with something else stays received, so that another run can try to bring it home.
    assert set(received) <= {Code.NOT_AN_IMAGE}
    outcomes = Counter(row.outcome for row in world.emulator.bill[rows:])
    assert set(outcomes) >= set(MIX), outcomes
    made = world.emulator.calls - calls
    share = 1 - outcomes["image"] / made
    return (
        f"{jobs} jobs, {made} calls, {share:.0%} of them bad: {run.archived} archived, {run.failed} failed, "
        f"{run.held} held ({', '.join(f'{n} {code}' for (code, n) in _unfinished(found).most_common())})"
    )


def _unfinished(jobs: Any) -> Counter[str]:
    return Counter(str(job.code) for job in jobs if job.state != "archived")


# --- what is asked --------------------------------------------------------------------------------------------
def judge(world: World) -> Figures:
    """All promises hold, but for images that nobody could bring home: their URLs were dead or led to something else,
    and the ledger says so."""
    figures = world.check()
    with Session(world.engine) as session:
        wanted = select(ImageJob).where(col(ImageJob.code).in_([Code.LOST, Code.NOT_AN_IMAGE]))
        named = Counter(job.state for job in session.exec(wanted) if not job.claimed_by)
    explained = {"lost": named["held"] + named["generated"], "open_jobs": named["generated"]}
    for name, number in explained.items():
        assert getattr(figures, name) == number, f"{name} = {getattr(figures, name)}, not {number}: {figures.reasons}"
    broken = [line for line in figures.broken if line.partition(" ")[0] not in explained]
    assert not broken, "\n".join([*broken, *figures.reasons])
    return figures


def _runs(world: World, catalog: Path) -> list[Run]:
    with Session(world.engine) as session:
        return list(session.exec(select(Run).where(Run.catalog == catalog.stem).order_by(col(Run.id))))


def _archived(world: World, catalog: Path) -> int:
    of_catalog = select(func.count()).select_from(Asset).join(ImageJob).join(Product)
    with Session(world.engine) as session:
        return session.exec(of_catalog.where(Product.catalog == catalog.stem)).one()


def _codes(world: World, catalog: Path) -> Counter[str | None]:
    of_catalog = select(Attempt.code).join(ImageJob).join(Product).where(Product.catalog == catalog.stem)
    with Session(world.engine) as session:
        return Counter(session.exec(of_catalog))


def _held(world: World, catalog: Path) -> list[tuple[str | None, str]]:
    held = select(ImageJob.code, ImageJob.message).join(Product).where(Product.catalog == catalog.stem)
    with Session(world.engine) as session:
        return [(code, message) for code, message in session.exec(held.where(ImageJob.state == "held"))]


def _times_in(log: Path, text: str) -> int:
    return log.read_text(errors="replace").count(text)


@contextmanager
def _latency(world: World, low: float, high: float | None = None) -> Iterator[None]:
    before = world.emulator.latency
    world.emulator.latency = (low, high or low)
    try:
        yield
    finally:
        world.emulator.latency = before


def _until(seen: Callable[[], bool], child: Child) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert child.status is None, f"the child ended with {child.status} before it was struck"
        assert time.monotonic() < deadline, "the child does not get as far as it should"
        time.sleep(0.05)


def _ended(child: Child, *allowed: int) -> int:
    try:
        status = child.wait(HANGS)
    except TimeoutError:
        child.kill(signal.SIGUSR1)  # where does it hang? see children.log
        raise
    assert status in allowed, f"packshot {' '.join(child.order.argv)} ended with {status}, not {allowed}"
    return status


# --- the whole play -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scenario:
    """``place``: the world it is played in. ``short``: the arguments that make it fit into ``make test``; None: it has
    another test of the same."""

    play: Callable[..., str]
    place: str
    short: dict[str, Any] | None


SCENARIOS: dict[str, Scenario] = {
    "store-away": Scenario(store_away, "sqlite", {"images": 20, "seconds": 2.0}),
    "database-restarts": Scenario(database_restarts, "postgresql", {"images": 24, "seconds": 2.0}),
    "spool-full": Scenario(spool_full, "small disk", {"images": 12}),
    "sqlite-full": Scenario(sqlite_full, "small disk", {"images": 12, "seconds": 2.0}),
    "clock-ahead": Scenario(clock_ahead, "sqlite", None),
    "clock-ahead-postgresql": Scenario(clock_ahead, "postgresql", {"images": 24}),
    "clock-jumps": Scenario(clock_jumps_back, "sqlite", {"images": 12}),
    "names-fail": Scenario(names_fail, "sqlite", {"images": 20, "seconds": 2.0}),
    "bad-answers": Scenario(bad_answers, "sqlite", {"jobs": 50}),
    "two-runs": Scenario(two_runs, "sqlite", None),
    "two-runs-postgresql": Scenario(two_runs, "postgresql", None),
}


@contextmanager
def place_of(place: str, folder: Path, **given: Any) -> Iterator[World]:
    """The world that a scenario needs; ``given`` are arguments of :class:`World`."""
    with ExitStack() as stack:
        if place == "small disk":
            stack.enter_context(small_disk(folder / "home"))
        database: Database = "postgresql" if place == "postgresql" else "sqlite"
        yield stack.enter_context(World(folder, database=database, **given))


def play_all(folder: Path, names: list[str], short: bool) -> list[str]:
    """Play these scenarios; returns what is broken."""
    broken = []
    for place in dict.fromkeys(SCENARIOS[name].place for name in names):
        with ExitStack() as stack:
            try:
                world = stack.enter_context(place_of(place, folder / place.replace(" ", "-")))
            except Impossible as error:
                print(f"not played on {place}: {error}", flush=True)
                continue
            for name in [name for name in names if SCENARIOS[name].place == place]:
                began = time.monotonic()
                scenario = SCENARIOS[name]
                try:
                    said = scenario.play(world, **((short and scenario.short) or {}))
                    judge(world)
                except (AssertionError, TimeoutError) as error:
                    said = f"BROKEN: {error or traceback.format_exc()}"
                    broken.append(name)
                print(f"{time.monotonic() - began:6.1f} s  {name:<24}{said}", flush=True)
            print(world.check().table(), flush=True)
    return broken


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outages", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="repeatable")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the folder with database, spool and logs")
    options = parser.parse_args(arguments)
    return 1 if run(options.only or list(SCENARIOS), options.short, options.keep) else 0


def run(names: list[str], short: bool = False, keep: bool = False) -> list[str]:
    """Play these scenarios in a folder of their own, which stays if one is broken; returns those that are."""
    folder = Path(tempfile.mkdtemp(prefix="packshot-outages-"))
    print(f"outages, in {folder}", flush=True)
    broken = play_all(folder, [name for name in names if not short or SCENARIOS[name].short], short)
    if not (broken or keep):
        shutil.rmtree(folder, ignore_errors=True)
    return broken


if __name__ == "__main__":
    sys.exit(main())
