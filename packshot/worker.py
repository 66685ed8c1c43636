"""Which process holds a claim, and whether it still lives."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path


def _machine() -> str:
    """Tells apart machines, boots and containers: only there does a process number mean something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
    return hashlib.sha256((boot + namespace).encode()).hexdigest()[:12]


MACHINE = _machine()
_TOKEN = secrets.token_hex(4)


def this_worker() -> str:
    """``machine:pid:token`` of this process; the token survives neither a restart nor a reused process number."""
    return f"{MACHINE}:{os.getpid()}:{_TOKEN}"


def new_claim(worker: str) -> str:
    """A name for one claim of this worker: two claims of the same job never have the same one."""
    return f"{worker}:{secrets.token_hex(6)}"


def is_dead(worker: str | None) -> bool:
    """True only when that process (of a worker or of a claim) certainly ended: it ran here and is not there any more.

    Anything else (another machine, another container, an unknown system) is decided by the claim's lease.
    """
    machine, pid, token, *_ = [*(worker or "").split(":"), "", ""]
    if not MACHINE or machine != MACHINE or not pid.isdigit():
        return False
    if int(pid) == os.getpid():
        return token != _TOKEN
    try:
        os.kill(int(pid), 0)  # asks only; /proc may hide the processes of other users
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False
