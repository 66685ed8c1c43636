"""Stopping a run from outside: `packshot stop`, Ctrl-C, SIGTERM, and a second run beside the first."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from sqlmodel import Session, col, select

from packshot.db.engine import upgrade
from packshot.db.queries import assets
from packshot.db.tables import Attempt, ImageJob, Run, RunJob
from packshot.reconcile import reconcile
from packshot.settings import PREFIX
from packshot.studio import ARCHIVES_AT_ONCE
from tests.chaos.child import Order
from tests.chaos.world import Child, Zygote
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import ROOT, OpenShop, Shop, write_catalog
from tests.processes import alive, descendants

PACKSHOT = str(Path(sys.executable).parent / "packshot")
PRICE = 90_000


@dataclass
class Command:
    """A packshot command in a process of its own, which began at once."""

    child: Child
    log: Path

    @property
    def said(self) -> str:
        """All that it printed, on both streams."""
        return self.log.read_text()

    def signal(self, number: int) -> None:
        self.child.kill(number)

    def ended(self, timeout: float = 60) -> int:
        try:
            code = self.child.wait(timeout)
        except TimeoutError as error:
            raise AssertionError(self.said) from error
        assert "Traceback" not in self.said, self.said
        return code


class Packshot:
    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self._zygote = zygote
        self._logs = (folder / f"log-{number}" for number in count(1))

    def start(self, *argv: object) -> Command:
        env = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
        log = next(self._logs)
        log.touch()
        return Command(self._zygote.start(Order([str(a) for a in argv], env=env, log=str(log))), log)

    def __call__(self, *argv: object) -> tuple[int, str]:
        command = self.start(*argv)
        return command.ended(), command.said


@pytest.fixture(scope="module")
def packshot(prefect: PrefectApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packshot]:
    folder = tmp_path_factory.mktemp("packshot")
    env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(folder / "prefect-client"),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "NO_COLOR": "1",
    }
    with Zygote(env, folder / "log", lambda: None) as zygote:
        yield Packshot(zygote, folder)


@pytest.fixture
def shop(open_shop: OpenShop) -> Shop:
    shop = open_shop()
    upgrade(shop.engine)
    return shop


def in_flight(shop: Shop) -> int:
    return int(shop.emulator.health()["in_flight"])


def runs(shop: Shop) -> list[Run]:
    with Session(shop.engine) as session:
        return list(session.exec(select(Run).order_by(col(Run.id))).all())


def check_the_next_run(packshot: Packshot, shop: Shop, catalog: Path, images: int) -> None:
    """It makes the rest, and buys nothing twice but what was booked as unknown."""
    shop.emulator.latency = 0
    eventually(lambda: in_flight(shop) == 0, 20)  # what nobody waits for any more is billed all the same
    assert packshot("run", catalog)[0] == 0
    assert len(assets(shop.engine)) == images
    with Session(shop.engine) as session:
        unknown = len(session.exec(select(Attempt.id).where(Attempt.code == "interrupted")).all())
    assert shop.emulator.calls <= images + unknown
    reconcile(shop.settings, apply=True)
    assert booked(shop) == shop.emulator.billed_micro


def nothing_taken(shop: Shop) -> bool:
    with Session(shop.engine) as session:
        taken = session.exec(select(ImageJob.id).where(col(ImageJob.claimed_by).is_not(None))).all()
        open_calls = session.exec(select(Attempt.id).where(col(Attempt.settled_at).is_(None))).all()
    return not (taken or open_calls)


def booked(shop: Shop) -> int:
    with Session(shop.engine) as session:
        return sum(session.exec(select(Attempt.cost_micro)).all())


def check_sums(run: Run, state: str, code: str | None) -> None:
    assert (run.state, run.code) == (state, code)
    assert run.planned == run.archived + run.failed + run.held


# --- packshot stop --------------------------------------------------------------------------------------------
def test_stop_brings_home_the_twenty_calls_in_the_air(
    packshot: Packshot, shop: Shop, prefect: PrefectApi, tmp_path: Path
) -> None:
    shop.emulator.latency = 4.0
    for _ in range(2):  # two images whose way home fails twice, so that they come back after the stop
        shop.emulator.queue("url_500", downloads=2, latency=4.0)
    shop.set(CONCURRENCY=20, BACKOFF="1")
    catalog = write_catalog(tmp_path / "c.csv", 45)
    command = packshot.start("run", catalog)
    eventually(lambda: in_flight(shop) == 20, 30)
    assert packshot("stop") == (0, "run 1 will end when its calls in flight are archived\n")
    assert in_flight(shop) == 20
    assert command.ended() == 3
    [run] = runs(shop)
    check_sums(run, "stopped", "stop_requested")
    assert (run.calls, run.archived, run.held) == (20, 20, 25)
    assert shop.emulator.calls == len(assets(shop.engine)) == 20
    assert nothing_taken(shop)
    summary = "20 of 45 images are permanent (20 new); 25 held; 20 calls, $1.80. Stopped: stopped on request"
    assert summary in command.said
    flow_run = prefect.flow_run(run.flow_run_id or "")
    assert (flow_run["state_type"], flow_run["state_name"]) == ("FAILED", "Stopped")
    assert flow_run["state"]["message"] == f"{summary}. Next: run again when you want the rest"
    check_the_next_run(packshot, shop, catalog, 45)
    assert shop.emulator.calls == 45


def test_stop_of_one_run_leaves_the_other(packshot: Packshot, shop: Shop, tmp_path: Path) -> None:
    shop.emulator.latency = 1.0
    shop.set(CONCURRENCY=2)
    one = packshot.start("run", write_catalog(tmp_path / "a.csv", 60))  # goes on while the other starts
    eventually(lambda: shop.emulator.calls, 30)
    two = packshot.start("run", write_catalog(tmp_path / "b.csv", 6))
    eventually(lambda: len(runs(shop)) == 2 and in_flight(shop) == 4, 30)
    assert packshot("stop", "9")[0] == 2
    assert packshot("stop", "1")[0] == 0
    assert (one.ended(), two.ended()) == (3, 0)
    stopped, finished = runs(shop)
    check_sums(stopped, "stopped", "stop_requested")
    check_sums(finished, "completed", None)
    assert stopped.archived == stopped.calls < 60
    assert finished.archived == 6


def test_nothing_to_stop_is_said_in_one_line(packshot: Packshot, shop: Shop, tmp_path: Path) -> None:
    shop.emulator.latency = 30.0
    command = packshot.start("run", write_catalog(tmp_path / "c.csv", 2))
    eventually(lambda: in_flight(shop) == 2, 30)
    end = ", so there is nothing to stop. Next: `packshot runs` lists all runs.\n"
    assert packshot("stop", "9") == (2, f"error: run_over: run 9 is not in progress{end}")
    command.signal(signal.SIGKILL)
    assert command.ended() == -signal.SIGKILL
    assert packshot("stop") == (2, f"error: run_over: no run is in progress{end}")  # nobody is there who would stop


# --- signals --------------------------------------------------------------------------------------------------
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@pytest.mark.parametrize("number", NAMES)
def test_the_first_signal_brings_home_what_is_in_the_air(
    packshot: Packshot, shop: Shop, tmp_path: Path, number: signal.Signals
) -> None:
    shop.emulator.latency = 2.0
    shop.set(CONCURRENCY=6)
    command = packshot.start("run", write_catalog(tmp_path / "c.csv", 14))
    eventually(lambda: in_flight(shop) == 6, 30)
    command.signal(number)
    assert command.ended() == 3
    [run] = runs(shop)
    check_sums(run, "stopped", "stop_requested")
    assert run.message == f"stopped by {NAMES[number]}"
    first, last, *_ = [line for line in command.said.splitlines() if "done (" not in line]
    assert first == f"{NAMES[number]}: no new calls; waiting up to 900 s for those in flight. Again: stop at once"
    assert last.startswith("6 of 14 images are permanent (6 new); 8 held; 6 calls, $0.54. Stopped: ")
    assert run.archived == shop.emulator.calls == len(assets(shop.engine)) == 6
    assert nothing_taken(shop)


def test_ctrl_c_reaches_the_group_and_spares_the_servers(shop: Shop, tmp_path: Path) -> None:
    """As a terminal sends it: to the command and all its children, among them a Prefect server of its own."""
    shop.emulator.latency = 2.0
    shop.set(CONCURRENCY=3)
    process = subprocess.Popen(
        [PACKSHOT, "run", write_catalog(tmp_path / "c.csv", 9)],
        cwd=ROOT, env=os.environ | {"PREFECT_API_URL": ""}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        eventually(lambda: in_flight(shop) == 3, 90)
        children = descendants(process.pid)
        assert children
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 3, err
    assert out.startswith("3 of 9 images are permanent")
    assert "Traceback" not in err
    assert shop.emulator.calls == 3
    assert alive(children) == set()


Trigger = Callable[[Command], None]


def twice(command: Command) -> None:
    command.signal(signal.SIGINT)
    eventually(lambda: "no new calls" in command.said)
    command.signal(signal.SIGTERM)


def once(command: Command) -> None:
    command.signal(signal.SIGTERM)


@pytest.mark.parametrize(("trigger", "drain"), [(twice, 900), (once, 1)], ids=["second signal", "drain time over"])
def test_stopping_at_once_leaves_a_clean_ledger(
    packshot: Packshot, shop: Shop, prefect: PrefectApi, tmp_path: Path, trigger: Trigger, drain: float
) -> None:
    for _ in range(3):
        shop.emulator.queue("slow_body", latency=0, seconds=0)
    shop.emulator.latency = 6.0
    shop.set(CONCURRENCY=4, DRAIN_TIMEOUT=drain)
    catalog = write_catalog(tmp_path / "c.csv", 10)
    command = packshot.start("run", catalog)
    eventually(lambda: in_flight(shop) == 4 and shop.emulator.calls == 7, 30)
    eventually(lambda: len(assets(shop.engine)) == 3)
    began = time.monotonic()
    trigger(command)
    assert command.ended() == 130
    assert time.monotonic() - began < 5
    assert command.said.splitlines()[-1] == "stopped at once: calls that were in flight are booked as unknown"
    [run] = runs(shop)
    check_sums(run, "stopped", "stop_requested")
    assert (run.archived, run.calls, run.spent_micro) == (3, 7, 7 * PRICE)
    assert nothing_taken(shop)
    with Session(shop.engine) as session:
        lost = [call for call in session.exec(select(Attempt)).all() if call.code]
        assert {(call.code, call.billed, call.cost_micro) for call in lost} == {("interrupted", "unknown", PRICE)}
    assert len(lost) == 4
    family = prefect.family(run.flow_run_id or "")
    states = {(one["state_type"], one["state"]["message"]) for one in family}
    assert (len(family), states) == (1, {("CRASHED", "stopped at once, with calls in flight")})
    check_the_next_run(packshot, shop, catalog, 10)


def test_nothing_holds_up_the_end(packshot: Packshot, shop: Shop, tmp_path: Path) -> None:
    """Neither a database that is away, nor, after a third signal, anything else."""
    shop.emulator.latency = 3.0
    shop.set(CONCURRENCY=2)
    catalog = write_catalog(tmp_path / "c.csv", 4)
    engine = shop.engine.execution_options(write=True)
    codes, seconds = [], []
    for impatient in (False, True):
        command = packshot.start("run", catalog)
        eventually(lambda: in_flight(shop) == 2, 30)
        with engine.begin():  # it cannot write down anything
            began = time.monotonic()
            twice(command)
            if impatient:
                time.sleep(0.5)
                command.signal(signal.SIGINT)
            codes.append(command.ended())
            seconds.append(time.monotonic() - began)
        assert "booked" not in command.said
        eventually(lambda: in_flight(shop) == 0)
    assert codes == [130, 130]
    assert seconds[0] < 12
    assert seconds[1] < 2
    assert [run.state for run in runs(shop)] == ["crashed", "running"]
    shop.set(MAX_TRIES=3)
    shop.emulator.latency = 0
    assert packshot("run", catalog)[0] in (0, 1)
    assert [run.state for run in runs(shop)] == ["crashed", "crashed", "completed"]
    assert nothing_taken(shop)


@pytest.mark.parametrize("number", NAMES)
def test_a_signal_before_anything_was_bought_ends_it(
    packshot: Packshot, shop: Shop, prefect: PrefectApi, tmp_path: Path, number: signal.Signals
) -> None:
    command = packshot.start("run", write_catalog(tmp_path / "c.csv", 20_000))  # seconds of planning
    eventually(lambda: runs(shop) and runs(shop)[0].planned, 30)
    command.signal(number)
    assert command.ended(30) == 3
    assert command.said.splitlines()[-1] == (
        f"error: stop_requested: stopped by {NAMES[number]}. Next: run again when you want the rest."
    )
    [run] = runs(shop)
    assert (run.state, run.code, run.message) == ("stopped", "stop_requested", "stopped while it was planned")
    flow_run = prefect.flow_run(run.flow_run_id or "")
    assert (flow_run["state_type"], "stopped by" in flow_run["state"]["message"]) == ("FAILED", True)
    assert 0 < run.planned < 20_000
    assert shop.emulator.calls == 0


def test_sigterm_between_shards_is_no_crash(
    packshot: Packshot, shop: Shop, prefect: PrefectApi, tmp_path: Path
) -> None:
    shop.set(CONCURRENCY=5, SHARD_SIZE=100)
    command = packshot.start("run", write_catalog(tmp_path / "c.csv", 240))  # three shards
    [run] = eventually(lambda: runs(shop), 30)
    eventually(lambda: len(prefect.family(run.flow_run_id or "")) == 3, 60)  # the second one is about to begin
    command.signal(signal.SIGTERM)
    assert command.ended() == 3
    [run] = runs(shop)
    check_sums(run, "stopped", "stop_requested")
    assert run.message == "stopped by SIGTERM"
    in_the_air = 2 * 5 + ARCHIVES_AT_ONCE  # of the first shard, when the second one begins
    assert 100 - in_the_air <= run.archived == shop.emulator.calls == len(assets(shop.engine)) < 240
    assert nothing_taken(shop)


def test_in_a_real_terminal(packshot: Packshot, shop: Shop, prefect: PrefectApi, tmp_path: Path) -> None:
    shop.emulator.latency = 3.0
    shop.set(CONCURRENCY=2)
    catalog = write_catalog(tmp_path / "c.csv", 8)
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(ROOT)
        os.execve(PACKSHOT, [PACKSHOT, "run", str(catalog)], os.environ | {"TERM": "xterm"})
    eventually(lambda: in_flight(shop) == 2, 60)
    os.write(terminal, b"\x03")  # the Ctrl-C key
    shown = b""
    while chunk := _read(terminal):
        shown += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    os.close(terminal)
    text = shown.decode(errors="replace")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "Ctrl-C: no new calls; waiting up to 900 s for those in flight. Again: stop at once\r\n" in plain
    assert "2 of 8 images are permanent (2 new); 6 held; 2 calls, $0.18. Stopped: stopped by Ctrl-C\r\n" in plain


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody holds its other end any more
        return b""


# --- two at once ----------------------------------------------------------------------------------------------
def test_a_run_that_overlaps_an_earlier_one_doubles_nothing(packshot: Packshot, shop: Shop, tmp_path: Path) -> None:
    shop.emulator.latency = 2.0
    shop.emulator.queue("slow_body", latency=14.0, seconds=0)  # the first run still makes it when the second one ends
    shop.set(CONCURRENCY=6)
    catalog = write_catalog(tmp_path / "c.csv", 36)
    yesterdays = packshot.start("run", catalog)
    eventually(lambda: in_flight(shop) == 6, 30)
    todays = packshot.start("run", catalog)
    assert {yesterdays.ended(), todays.ended()} <= {0, 1}
    one, two = runs(shop)
    assert shop.emulator.calls == one.calls + two.calls == len(assets(shop.engine)) == 36
    assert two.calls > 0
    for run in (one, two):
        check_sums(run, "completed", None)
        with Session(shop.engine) as session:
            left = select(RunJob.code).where(RunJob.run_id == run.id, RunJob.outcome == "held")
            assert set(session.exec(left).all()) <= {"in_progress"}
    assert one.held + two.held > 0
    assert shop.emulator.billed_micro == booked(shop) == 36 * PRICE
