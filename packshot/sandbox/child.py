"""A child process that does not outlive us."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


def start_tied(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    output: IO[bytes],
    keep_open: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own (Ctrl-C does not reach it); ``keep_open`` are inherited descriptors.

    On Linux the kernel kills it when we die, however we die. The kernel means the *thread* that started it, so a
    thread that waits for the child does that: it ends with the child or with the process, not earlier.

    Raises:
        OSError: the program cannot be started.
    """
    outcome: list[subprocess.Popen[bytes] | OSError] = []
    started = threading.Event()

    def run() -> None:
        try:
            process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=keep_open,
                preexec_fn=_die_with_parent(),
            )
        except OSError as error:
            outcome.append(error)
            started.set()
            return
        outcome.append(process)
        started.set()
        process.wait()

    threading.Thread(target=run, name=f"wait for {Path(command[0]).name}", daemon=True).start()
    started.wait()
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between the fork and the request
            os._exit(1)

    return ask
