"""Who holds a claim, and whether that process still lives."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from packshot import worker
from packshot.worker import MACHINE, life_of, new_claim, this_worker

pytestmark = pytest.mark.skipif(not MACHINE, reason="this system has no /proc: there claims wait for their lease")


@pytest.fixture
def other() -> str:
    """The worker of another process that ended."""
    code = "from packshot.worker import new_claim, this_worker; print(new_claim(this_worker()))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_we_live() -> None:
    assert life_of(this_worker()) == life_of(new_claim(this_worker())) == "alive"


def test_a_process_that_ended_is_dead(other: str) -> None:
    assert other.startswith(f"{MACHINE}:")
    assert life_of(other) == "dead"


def test_a_process_that_waits_for_its_parent_is_dead() -> None:
    code = "from packshot.worker import this_worker; print(this_worker())"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        worker = process.stdout.read().strip()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
        assert life_of(worker) == "dead"


def test_another_process_that_runs_is_alive() -> None:
    code = "from packshot.worker import this_worker; print(this_worker(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert life_of(other.stdout.readline().strip()) == "alive"
        other.communicate("\n")


def test_an_earlier_process_with_the_same_number_is_dead() -> None:
    for pid in (os.getpid(), os.getppid(), 1):
        assert life_of(f"{MACHINE}:{pid}:1:claim") == "dead"


@pytest.mark.parametrize("machine", ["", "000000000000", f"{MACHINE}x"])
def test_nobody_is_dead_for_certain_elsewhere(machine: str, other: str) -> None:
    assert life_of(machine + other[len(MACHINE) :]) == "unknown"


@pytest.mark.parametrize("name", [None, "", ":", "::", "w1", f"{MACHINE}", f"{MACHINE}:x:y", f"{MACHINE}:{10**30}:y"])
def test_a_name_that_says_nothing_is_left_to_its_lease(name: str | None) -> None:
    assert life_of(name) == "unknown"


def test_every_claim_has_a_name_of_its_own() -> None:
    names = {new_claim(this_worker()) for _ in range(1000)}
    assert len(names) == 1000
    assert all(name.startswith(worker.this_worker() + ":") for name in names)
