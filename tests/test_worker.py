"""Who holds a claim, and whether that process still lives."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from packshot import worker
from packshot.worker import MACHINE, is_dead, new_claim, this_worker

pytestmark = pytest.mark.skipif(not MACHINE, reason="this system has no /proc: there claims wait for their lease")


@pytest.fixture
def other() -> str:
    """The worker of another process that ended."""
    code = "from packshot.worker import new_claim, this_worker; print(new_claim(this_worker()))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_we_live() -> None:
    assert not is_dead(this_worker())
    assert not is_dead(new_claim(this_worker()))


def test_a_process_that_ended_is_dead(other: str) -> None:
    assert other.startswith(f"{MACHINE}:")
    assert is_dead(other)


def test_a_process_that_runs_is_not_dead_whoever_owns_it() -> None:
    for pid in (os.getppid(), 1):
        assert not is_dead(f"{MACHINE}:{pid}:abcd1234")


def test_an_earlier_process_with_our_number_is_dead() -> None:
    assert is_dead(f"{MACHINE}:{os.getpid()}:ffffffff")
    assert is_dead(f"{MACHINE}:{os.getpid()}:ffffffff:claim")


@pytest.mark.parametrize("machine", ["", "000000000000", f"{MACHINE}x"])
def test_nobody_is_dead_for_certain_elsewhere(machine: str, other: str) -> None:
    assert not is_dead(machine + other[len(MACHINE) :])


@pytest.mark.parametrize("name", [None, "", ":", "::", "w1", f"{MACHINE}", f"{MACHINE}:x:y", f"{MACHINE}:{10**30}:y"])
def test_a_name_that_says_nothing_is_left_to_its_lease(name: str | None) -> None:
    assert not is_dead(name)


def test_every_claim_has_a_name_of_its_own() -> None:
    names = {new_claim(this_worker()) for _ in range(1000)}
    assert len(names) == 1000
    assert all(name.startswith(worker.this_worker() + ":") for name in names)
