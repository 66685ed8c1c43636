"""The HTTP line to the API: a session whose connections know which call they serve, and the watch over one call.

A blocking read cannot be told "give up after five silent seconds, unless the answer is still incomplete", and a read
timeout never bounds a whole call. So each call has a watch, and one thread looks after all of them: it sleeps until the
next moment something could be late, and then shuts that socket down, which wakes the reader.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import requests
from requests.adapters import DEFAULT_POOLBLOCK, HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

# docs.apiyi.com asks for it: not a byte flows while an image is made, and what stands between us and the API forgets
# a silent connection (AWS NAT after 350 s), while Linux sends its first probe after two hours.
_KEEP_ALIVE_AFTER = 60
_KEEP_ALIVE_EVERY = 30
_OVERDUE = 0.05
_LOOK_EVERY = 1.0
"""Seconds between two looks, at most: then hardly any news of a call is worth waking the thread for, which costs more
than a look."""


class Verdict(StrEnum):
    """Why a watch cut the line."""

    STALLED = "stalled"
    """The answer is complete and the line silent."""
    SILENT = "silent"
    """Nothing came for too long in the middle of the answer."""
    LATE = "late"
    """The first byte, or the whole call, took too long."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds. ``first_byte`` counts from the end of sending, ``silence`` and ``grace`` from the last byte."""

    first_byte: float
    silence: float
    grace: float
    total: float


class Watch:
    """Looks after one call, from before it connects until its answer is read. Use as a context manager.

    The caller reports progress: :meth:`headers_came`, :meth:`bytes_came`. ``is_complete`` is asked, in the watch's
    thread, whether what has come so far is a whole answer.
    """

    def __init__(self, limits: Limits) -> None:
        self.verdict: Verdict | None = None
        self.sent = False
        self._limits = limits
        self._socket: socket.socket | None = None
        self._started = self._last = time.monotonic()
        self._received = 0
        self._is_complete: Callable[[], bool] | None = None
        self._asked_at = 0
        self._over = False
        self._looking = threading.Lock()

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        _watchman.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._looking:  # after this nobody cuts the line any more: it may serve another call
            self._over = True
        _watchman.drop(self)
        _current.reset(self._token)

    @property
    def seconds(self) -> float:
        """Since the call began."""
        return time.monotonic() - self._started

    def connected(self, line: socket.socket) -> None:
        """A connection is about to carry this call."""
        self._socket = line
        if self.verdict:
            raise TimeoutError("the call was over before it was connected")

    def request_sent(self) -> None:
        """Every byte of the request has left: from now on the call may be billed."""
        self.sent = True
        self._last = time.monotonic()

    def headers_came(self, is_complete: Callable[[], bool] | None) -> None:
        """The answer has begun; ``is_complete`` is given when a silent line may end it."""
        self._is_complete = is_complete

    def bytes_came(self, count: int) -> None:
        first = not self._received
        self._received += count
        self._last = time.monotonic()
        if first:
            _watchman.look_by(self.next())  # from here on silence is late much sooner

    def look(self) -> None:
        """Cut the line if the call is late."""
        with self._looking:
            if self._over:
                return
            self.verdict = self.verdict or self._judge(time.monotonic())
            if self.verdict and self._socket:
                with contextlib.suppress(OSError):
                    # The plain method: a TLS socket's own one pulls its state from under the reader.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def next(self) -> float:
        """The next moment at which something could be late. After a verdict: soon, until the reader has let go."""
        if self.verdict:
            return time.monotonic() + 1
        moments = [self._started + self._limits.total]
        if self.sent:
            moments.append(self._last + (self._limits.silence if self._received else self._limits.first_byte))
            if self._may_stall():
                moments.append(self._last + self._limits.grace)
        else:
            moments.append(time.monotonic() + self._limits.grace)  # nobody tells when sending ends
        return min(moments)

    def _may_stall(self) -> bool:
        return self._is_complete is not None and self._received != self._asked_at

    def _judge(self, now: float) -> Verdict | None:
        silent = now - self._last
        if now - self._started >= self._limits.total:
            return Verdict.LATE
        if self._may_stall() and silent >= self._limits.grace:
            self._asked_at = received = self._received
            if self._is_complete and self._is_complete() and received == self._received:
                return Verdict.STALLED
        if self._received:
            return Verdict.SILENT if silent >= self._limits.silence else None
        if self.sent and silent >= self._limits.first_byte:
            return Verdict.LATE
        return None


class _Watchman:
    """The thread that looks after the calls in the air. There is none while there is no call."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watches: set[Watch] = set()
        self._looks_at = 0.0
        self._thread: threading.Thread | None = None

    def add(self, watch: Watch) -> None:
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="packshot-watch", daemon=True)
                thread.start()
                self._thread = thread
            elif watch.next() < self._looks_at:
                self._changed.notify()
            self._watches.add(watch)

    def look_by(self, moment: float) -> None:
        """Something has changed: a call could be late at that moment, sooner than was known."""
        with self._changed:
            if moment < self._looks_at:
                self._changed.notify()

    def drop(self, watch: Watch) -> None:
        with self._changed:
            self._watches.discard(watch)
            if self._watches:
                return
            last, self._thread = self._thread, None
            self._changed.notify()
        if last is not None:
            last.join()

    def _run(self) -> None:
        this = threading.current_thread()
        while True:
            with self._changed:
                if self._thread is not this:
                    return
                now = time.monotonic()
                due = min(watch.next() for watch in self._watches)
                self._looks_at = min(due, now + _LOOK_EVERY) + _OVERDUE
                self._changed.wait(max(0.0, self._looks_at - now))
                watches = list(self._watches)
            for watch in watches:
                with contextlib.suppress(Exception):  # whatever one answer holds, the others are looked after
                    watch.look()


_watchman = _Watchman()
_current: ContextVar[Watch | None] = ContextVar("packshot_watch", default=None)


class _Watched(HTTPConnection):
    """Tells the current watch which socket to cut and when the request is out."""

    _line: socket.socket | None = None

    def connect(self) -> None:
        super().connect()
        # Kept, because http.client drops its own once the answer says `Connection: close`.
        # Inside a TLS proxy it is no socket but wraps one.
        self._line = getattr(self.sock, "socket", self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        watch = _current.get()
        if watch and self._line:
            watch.connected(self._line)
        super().request(*args, **kwargs)
        if watch:
            watch.request_sent()


class _WatchedTLS(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


class _Adapter(HTTPAdapter):
    def __init__(self) -> None:
        super().__init__(max_retries=0, pool_connections=2, pool_maxsize=1)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = DEFAULT_POOLBLOCK, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, socket_options=_socket_options(), **kwargs)
        _use_watched(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, socket_options=_socket_options(), **kwargs)
        _use_watched(manager)
        return manager


def _use_watched(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


def _socket_options() -> list[tuple[int, int, int]]:
    options = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    # macOS calls the idle time TCP_KEEPALIVE.
    for name, value in (
        ("TCP_KEEPIDLE", _KEEP_ALIVE_AFTER),
        ("TCP_KEEPALIVE", _KEEP_ALIVE_AFTER),
        ("TCP_KEEPINTVL", _KEEP_ALIVE_EVERY),
    ):
        if (option := getattr(socket, name, None)) is not None:
            options.append((socket.IPPROTO_TCP, option, value))
    return options


def new_session() -> requests.Session:
    """A session for one thread: one kept connection, no retries of its own, proxies from the environment."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session
