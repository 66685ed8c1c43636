"""What can be wrong with a child's machine, wrapped around it in the child alone: its clock, its name service.

A twist is a name and a number, such as ``clock_ahead:7200``; several are separated by commas.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

import packshot.worker
from packshot.db.ledger import Ledger
from packshot.db.runs import Runs

NOT_FOUND = "the name service does not answer"


def apply(twists: str) -> None:
    """Twist this process."""
    for twist in filter(None, twists.split(",")):
        name, _, number = twist.partition(":")
        TWISTS[name](float(number or 0))


class _Clock(datetime):
    """Stands in for ``datetime`` in the product's modules; what it gives are ordinary datetimes."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + cls.ahead


def _clock_ahead(seconds: float) -> None:
    _Clock.ahead = timedelta(seconds=seconds)
    for name, module in list(sys.modules.items()):
        if name.startswith("packshot") and getattr(module, "datetime", None) is datetime:
            setattr(module, "datetime", _Clock)  # noqa: B010  (mypy knows the modules' own names)


def _clock_jumps(seconds: float) -> None:
    """After the sixth call has begun: work is in all hands, and retries wait for their time."""
    begun = iter(range(1, 1_000_000))
    _after(Ledger, "begin", lambda: _clock_ahead(seconds) if next(begun) == 6 else None)


def _other_machine(_: float) -> None:
    """This process cannot see whether another one of ours lives, nor can those see it."""
    packshot.worker.MACHINE = "0ther0ther00"


def _names_fail(seconds: float) -> None:
    """For so long no name can be looked up, from the third image that was received on. Addresses work on."""
    began: list[float] = []
    lock = threading.Lock()
    received = iter(range(1, 1_000_000))
    lookup = socket.getaddrinfo

    def third_received() -> None:
        with lock:
            if next(received) == 3:
                began.append(time.monotonic())

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "localhost" and began and time.monotonic() - began[0] < seconds:
            os.write(2, f"{NOT_FOUND}\n".encode())
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return lookup(host, *args, **kwargs)

    _after(Ledger, "received", third_received)
    socket.getaddrinfo = getaddrinfo


def _slow_finish(seconds: float) -> None:
    """Time to take the database away when all images are made and the run is not closed yet."""
    finish = Runs.finish

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(seconds)
        return finish(*args, **kwargs)

    Runs.finish = slow  # type: ignore[method-assign]


def _after(owner: type, name: str, act: Callable[[], None]) -> None:
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        act()
        return result

    setattr(owner, name, wrapped)


TWISTS: dict[str, Callable[[float], None]] = {
    "clock_ahead": _clock_ahead,
    "clock_jumps": _clock_jumps,
    "other_machine": _other_machine,
    "names_fail": _names_fail,
    "slow_finish": _slow_finish,
}
