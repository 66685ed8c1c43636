"""Which process holds a claim, and whether it still lives."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Literal

Life = Literal["alive", "dead", "unknown"]


def _machine() -> str:
    """Tells apart machines, boots and containers: only there does a process number mean something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
    return hashlib.sha256((boot + namespace).encode()).hexdigest()[:12]


MACHINE = _machine()
_TOKEN = secrets.token_hex(4)  # where no start can be read


def this_worker() -> str:
    """``machine:pid:start`` of this process. The start, in clock ticks since boot, tells it from an earlier process of
    the same number; no jump of the clock changes it."""
    return f"{MACHINE}:{os.getpid()}:{_start(os.getpid()) or _TOKEN}"


def file_of_claim(claim: str) -> str:
    """What the files of this claim's call are named in the spool: after the claim, so unlike any other's."""
    return "call-" + claim.replace(":", "-")


def claim_of_file(name: str) -> str:
    """The claim that files in the spool are named after."""
    return name.removeprefix("call-").replace("-", ":")


def claims_of(worker: str, run_id: int | None) -> str:
    """What the names of this worker's claims for this run begin with."""
    return f"{worker}:{run_id or 0}:"


def new_claim(worker: str, run_id: int | None = None) -> str:
    """A name for one claim of this worker: two claims of the same job never have the same one."""
    return f"{claims_of(worker, run_id)}{secrets.token_hex(6)}"


def life_of(worker: str | None) -> Life:
    """What is certain about the process of a worker, or of a claim.

    ``unknown`` (another machine, another container, a system without /proc, processes that are hidden) is left to the
    claim's lease.
    """
    machine, pid, start, *_ = [*(worker or "").split(":"), "", ""]
    if not MACHINE or machine != MACHINE or not pid.isdigit():
        return "unknown"
    try:
        os.kill(int(pid), 0)  # asks only
    except ProcessLookupError:
        return "dead"
    except PermissionError:
        pass  # it is there, and another user's
    except OverflowError:
        return "unknown"
    found = _start(int(pid))
    if not found:
        return "unknown"
    return "alive" if found == start else "dead"


def _start(pid: int) -> str:
    """When the process began; ``ended`` for one that only waits for its parent; empty when nobody says."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if state in "ZX" else fields[18]
