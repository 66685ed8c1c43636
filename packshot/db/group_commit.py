"""Several threads' writes in one transaction: when fifty calls end at once, fifty threads write at once.

SQLite takes one writer at a time, and PostgreSQL one for a row that all of them change. Handing the lock from thread to
thread costs more than the writes themselves, and whoever waits longest may get it last. So the thread that has the lock
does the work of those who wait, each part between savepoints, and commits once for all of them. Everybody goes on only
after that commit.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar

from sqlalchemy import Connection, Engine
from sqlmodel import Session

from packshot.db.engine import writers_gate
from packshot.db.patience import is_away

T = TypeVar("T")

MOST = 32
"""Parts in one transaction: other processes wait for its end."""


class _Part(Generic[T]):
    """What one thread wants written, and what became of it."""

    def __init__(self, act: Callable[[Session], T]) -> None:
        self._act = act
        self._result: T | None = None
        self._settled = False
        self.error: Exception | None = None
        self.woken = threading.Event()
        """It is settled, or its thread is to lead."""

    @property
    def settled(self) -> bool:
        return self._settled or self.error is not None

    def carry_out(self, session: Session) -> None:
        self._result = self._act(session)

    def settle(self) -> None:
        self._settled = True

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return self._result  # type: ignore[return-value]  # settled: then it is what act returned


class GroupCommit:
    """The writers of one process on one database. Share it between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(write=True)
        self._gate = writers_gate(engine)
        self._lock = threading.Lock()
        self._queue: deque[_Part[Any]] = deque()
        self._is_led = False

    def run(self, act: Callable[[Session], T]) -> T:
        """What ``act`` returns, after its changes were committed. Its exception undoes its own changes and no other's;
        an error of the database itself is everybody's who shared the transaction."""
        part = _Part(act)
        with self._lock:
            self._queue.append(part)
            leads, self._is_led = not self._is_led, True
        if not leads:
            try:
                part.woken.wait()
            except BaseException:  # a signal, in the main thread
                self._leave(part)
                raise
        if not part.settled:
            self._lead()
        return part.outcome()

    def _lead(self) -> None:
        with self._lock:
            parts = [self._queue.popleft() for _ in range(min(len(self._queue), MOST))]
        try:
            self._commit(parts)
        except Exception as error:  # noqa: BLE001  (nothing was committed: each thread hears it, and decides)
            for part in parts:
                part.error = error
        except BaseException:  # of the leading thread alone: the others' parts are carried out by the next one
            parts = self._others_go_on(parts)
            raise
        finally:
            for part in parts:
                part.woken.set()
            with self._lock:
                self._hand_on()

    def _hand_on(self) -> None:
        self._is_led = bool(self._queue)
        if self._queue:
            self._queue[0].woken.set()

    def _leave(self, part: _Part[Any]) -> None:
        """Nobody waits for it any more: if it has not begun, nobody is to begin it."""
        with self._lock:
            if part in self._queue:
                self._queue.remove(part)
                if part.woken.is_set():  # it was to lead
                    self._hand_on()

    def _others_go_on(self, parts: list[_Part[Any]]) -> list[_Part[Any]]:
        with self._lock:
            self._queue.extendleft(reversed(parts[1:]))
        return parts[:1]

    def _commit(self, parts: list[_Part[Any]]) -> None:
        with self._gate, self._engine.connect() as connection, connection.begin():
            for part in parts:
                try:
                    with self._session(connection, alone=len(parts) == 1) as session, session.begin():
                        part.carry_out(session)
                except Exception as error:
                    if len(parts) == 1 or is_away(error) or not _goes_on(connection):
                        raise  # a deadlock, too: the locks that the others hold would be its cause again
                    part.error = error
        for part in parts:
            part.settle()

    @staticmethod
    def _session(connection: Connection, alone: bool) -> Session:
        mode: Literal["rollback_only", "create_savepoint"] = "rollback_only" if alone else "create_savepoint"
        return Session(connection, expire_on_commit=False, join_transaction_mode=mode)


def _goes_on(connection: Connection) -> bool:
    """False when the whole transaction has ended: SQLite does that by itself when the disk is full, PostgreSQL when the
    connection breaks. What comes after it would be committed one by one, or lost without an error."""
    if connection.invalidated:
        return False
    raw: Any = connection.connection.driver_connection
    if isinstance(raw, sqlite3.Connection):
        return raw.in_transaction
    return bool(raw.info.transaction_status.name == "INTRANS")


@lru_cache(maxsize=8)
def group_commit(engine: Engine, of_run: int = 0) -> GroupCommit:
    """The one of this engine; or of those threads that share a run, whose transactions lock no other run's row."""
    return GroupCommit(engine)
