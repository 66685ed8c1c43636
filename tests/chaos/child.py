"""A process that runs the packshot command, and can be armed to die by SIGKILL at a named point of an image's way.

    python -m tests.chaos.child

reads orders from standard input, one JSON object a line, and forks a process for each: everything is imported once, so
a child begins in milliseconds. It tells on standard output who was started and how it ended. When its input ends, it
ends, and its children with it.

The product has no hooks for this: the points are wrapped around its functions, in the child alone.
"""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from requests import Response
from sqlalchemy import Engine, event

import flows.catalog_imaging
import flows.rescue  # noqa: F401
import packshot.apiyi.client
import packshot.download
import packshot.studio
from packshot import cli
from packshot.apiyi.client import ApiyiClient
from packshot.apiyi.line import Watch
from packshot.db.ledger import Ledger
from packshot.db.runs import Runs
from packshot.storage import ObjectStore
from tests.chaos import twists

CRASHED = 70
"""Exit code of a child that ended with an exception nobody foresaw."""

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Order:
    """What a child is to do: ``packshot`` with these arguments, dying at the ``at``-th passage of ``point`` (empty: not
    at all). ``after``: seconds between that passage and the death. ``env``: PACKSHOT_ variables of its own."""

    argv: list[str]
    point: str = ""
    at: int = 1
    after: float = 0.0
    env: dict[str, str] = field(default_factory=dict)
    twist: str = ""
    """What is wrong with its machine, see :mod:`tests.chaos.twists`."""
    log: str = ""
    """The file that takes what it prints; with all other children's where there is none."""

    def as_json(self) -> str:
        return json.dumps(asdict(self))


class Fuse:
    """Kills this process when it is passed for the ``at``-th time, ``after`` seconds later."""

    def __init__(self, at: int, after: float) -> None:
        self._left = at
        self._after = after
        self._lock = threading.Lock()

    def burn(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                if self._after:
                    threading.Timer(self._after, _die).start()
                else:
                    _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: Any, name: str) -> Callable[[Fuse], None]:
    """A point right before each call of a function."""

    def arm(fuse: Fuse) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            fuse.burn()
            return function(*args, **kwargs)

        setattr(owner, name, wrapped)

    return arm


def _after(owner: Any, name: str) -> Callable[[Fuse], None]:
    """A point right after each call of a function that returned."""

    def arm(fuse: Fuse) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            fuse.burn()
            return result

        setattr(owner, name, wrapped)

    return arm


def _half_download(fuse: Fuse) -> None:
    """Half of what came first is written, the rest is not."""
    chunks = packshot.download._chunks

    def halved(answer: Response, url: str, deadline: float) -> Iterator[bytes]:
        for chunk in chunks(answer, url, deadline):
            yield chunk[: len(chunk) // 2]
            fuse.burn()
            yield chunk[len(chunk) // 2 :]

    packshot.download._chunks = halved


def _commit(fuse: Fuse) -> None:
    """All statements of a transaction were made, and it is not committed: nothing of it may remain."""
    event.listen(Engine, "commit", lambda _connection: fuse.burn())


POINTS: dict[str, Callable[[Fuse], None]] = {
    "run opened": _after(Runs, "open"),
    "planned": _after(Runs, "enroll"),
    "claimed": _after(Ledger, "claim"),
    "before the POST": _before(ApiyiClient, "generate"),
    "during the POST": _before(packshot.apiyi.client, "post"),
    "half an answer": _before(Watch, "bytes_came"),
    "answer on the disk": _after(packshot.apiyi.client, "post"),
    "before received": _before(Ledger, "received"),
    "received": _after(Ledger, "received"),
    "half a download": _half_download,
    "before the PUT": _before(ObjectStore, "put_image"),
    "after the PUT": _before(ObjectStore, "head"),
    "before archived": _before(Ledger, "archived"),
    "archived": _after(Ledger, "archived"),
    "before finish": _before(Runs, "finish"),
    "finished": _after(Runs, "finish"),
    "any commit": _commit,
}
"""Where a child can die, in the order of an image's way. ``during the POST`` wants ``Order.after``: its fuse is lit
when the request leaves. ``any commit`` is inside each transaction there is, those of recovery included."""


def main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)
    mask = {signal.SIGCHLD}

    def reap(*_: object) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            os.write(answers, f"ended {pid} {os.waitstatus_to_exitcode(status)}\n".encode())

    signal.signal(signal.SIGCHLD, reap)
    os.write(answers, b"ready\n")
    for line in sys.stdin:
        signal.pthread_sigmask(signal.SIG_BLOCK, mask)  # "started" is told before "ended"
        pid = os.fork()
        if not pid:
            os.close(answers)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, mask)
            _run(Order(**json.loads(line)))
        os.write(answers, f"started {pid}\n".encode())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, mask)


def _run(order: Order) -> None:
    """Be the packshot command; leaves as it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if order.log:
        log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
    os.environ.update(order.env)
    faulthandler.register(signal.SIGUSR1)  # one that hangs can be asked where: its threads' stacks go to the log
    twists.apply(order.twist)
    if order.point:
        POINTS[order.point](Fuse(order.at, order.after))
    sys.argv = ["packshot", *order.argv]
    try:
        cli.main()
    except Exception:  # noqa: BLE001  (Python would leave with 1, which has a meaning of its own here)
        traceback.print_exc()
        sys.exit(CRASHED)
    sys.exit(0)


if __name__ == "__main__":
    main()
