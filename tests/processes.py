"""Commands in the background, who lives, and who is whose child: to see that nothing is left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def in_background(
    command: Sequence[str | Path], log: Path, *, cwd: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A command for as long as the block runs: then it is asked to end, and killed if it does not."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def descendants(of: int) -> set[psutil.Process]:
    """The children of a process, their children, and so on; none of one that has ended."""
    try:
        return set(psutil.Process(of).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def alive(processes: set[psutil.Process]) -> set[psutil.Process]:
    """Those that are still there, and do not only wait for their parent to notice that they have ended."""
    return {process for process in processes if process.is_running() and not _has_ended(process)}


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
