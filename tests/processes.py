"""Commands in the background, who lives, and who is whose child: to see that nothing is left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


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


def _table() -> list[tuple[int, int, str]]:
    """(process, its parent, when it began) of every process that is not a zombie."""
    if Path("/proc/self/stat").exists():
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = stat.read_text(errors="replace")
            except OSError:  # it has just ended
                continue
            fields = text.rpartition(")")[2].split()
            if fields[0] != "Z":
                found.append((int(stat.parent.name), int(fields[1]), fields[19]))
        return found
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,lstart="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [(int(pid), int(parent), began) for pid, parent, began in rows]


def descendants(of: int) -> set[tuple[int, str]]:
    """(process, when it began) of the children of a process, their children, and so on."""
    table = _table()
    found: set[tuple[int, str]] = set()
    parents = {of}
    while parents:
        children = {(pid, began) for pid, parent, began in table if parent in parents}
        found |= children
        parents = {pid for pid, _ in children}
    return found


def alive(processes: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those that are still there."""
    return processes & {(pid, began) for pid, _, began in _table()}
