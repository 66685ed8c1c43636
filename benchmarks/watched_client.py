"""The client process of a soak, and what it looks like from outside: memory, threads, descriptors, sockets, files.

It stays alive as a worker's does, and runs the catalogs that it is told to. Run as a module it is that process.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from select import select
from typing import Any, Self

from packshot.flow_runner import load_flow
from packshot.options import RunOptions
from packshot.report import RunFailed

EVERY = 5.0  # seconds between two samples


@dataclass(frozen=True, slots=True)
class Sample:
    """The client at one moment. ``spool``: files, without those of images that wait for another run or a person;
    ``waiting``: those. ``server_mb`` and ``emulator_mb`` are for information."""

    seconds: float
    phase: str
    images: int
    memory_mb: float
    threads: int
    descriptors: int
    sockets: int
    spool: int
    temporary: int
    waiting: int
    server_mb: float
    emulator_mb: float


class Client:
    """The process that is watched. It runs one catalog after the other, and lives on."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._temporary = home / "tmp"
        self._temporary.mkdir()
        self._log = (home / "client.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.watched_client"],
            env=os.environ | {"TMPDIR": str(self._temporary)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        self._began = time.monotonic()
        self._servers = {name: _child_with(name) for name in ("prefect", "packshot.sandbox.emulator")}
        self.samples: list[Sample] = []
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def run(self, catalog: Path, phase: str, at_work: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Run this catalog to its end. ``at_work`` is called meanwhile, after each sample."""
        self._send(str(catalog))
        while not self._has_answer(EVERY):
            self.sample(phase)
            at_work()
        return self._answer()

    def rest(self, phase: str) -> Sample:
        """How it is between runs, when it had a moment to come to rest."""
        time.sleep(EVERY)
        self.sample(phase)
        return self.samples[-1]

    def sample(self, phase: str) -> None:
        process = Path("/proc") / str(self._process.pid)
        links = []
        for entry in (process / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                links.append(str(entry.readlink()))
        spool = self._home / "spool"
        names = [path.stem for path in spool.iterdir()] if spool.is_dir() else []
        images, unarchived = self._ledger()
        waiting = sum(name in unarchived for name in names)
        self.samples.append(
            Sample(
                seconds=round(time.monotonic() - self._began, 1),
                phase=phase,
                images=images,
                memory_mb=_memory_mb(self._process.pid),
                threads=len(list((process / "task").iterdir())),
                descriptors=len(links),
                sockets=sum(link.startswith("socket:") for link in links),
                spool=len(names) - waiting,
                temporary=sum(1 for _ in self._temporary.rglob("*")),
                waiting=waiting,
                server_mb=_memory_mb(self._servers["prefect"]),
                emulator_mb=_memory_mb(self._servers["packshot.sandbox.emulator"]),
            )
        )
        print(line_of(astuple(self.samples[-1])), flush=True)

    def _ledger(self) -> tuple[int, set[str]]:
        """Images archived, and the names of the answers that are not."""
        try:
            [(images,)] = query(self._home, "SELECT count(*) FROM asset")
            names = query(self._home, "SELECT spool_name FROM generation WHERE archived_at IS NULL")
        except sqlite3.OperationalError:  # no tables yet
            return 0, set()
        return int(images), {str(name) for (name,) in names}

    def _send(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _has_answer(self, timeout: float) -> bool:
        assert self._process.stdout
        return bool(select([self._process.stdout], [], [], timeout)[0])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the client ended: {(self._home / 'client.log').read_text(errors='replace')[-3000:]}"
        answer: dict[str, Any] = json.loads(line)
        return answer


def _child_with(word: str) -> int:
    """The process that we started with this word in its command line."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if word in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                return int(pid)
    raise AssertionError(f"no {word} was started")


def _memory_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGESIZE") / 2**20, 1)


def line_of(values: Sequence[object]) -> str:
    return " ".join(f"{value!s:>11}" for value in values)


def query(home: Path, sql: str) -> list[tuple[Any, ...]]:
    """From the client's database, past its own code."""
    with closing(sqlite3.connect(f"file:{home / 'packshot.db'}?mode=ro", uri=True)) as database:
        return database.execute(sql).fetchall()


def be_client() -> None:
    """The watched process: one catalog a line on stdin, one JSON object a run on stdout."""
    flow = load_flow(Path.cwd())
    print("{}", flush=True)
    for line in sys.stdin:
        result = flow(RunOptions(catalog=line.strip())).result(raise_on_failure=False)
        report = result.report if isinstance(result, RunFailed) else result
        figures = {name: getattr(report.run, name) for name in ("code", "planned", "archived", "failed", "held")}
        del result, report
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    be_client()
