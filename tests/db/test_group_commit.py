"""Threads that write at once share a transaction: each answers for its own part, and none goes on before the commit."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel import Session

from packshot.db.engine import open_engine, writers_gate
from packshot.db.group_commit import MOST, GroupCommit
from tests.fixtures_postgres import MakeUrl

WAVE = 20


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    engine = open_engine(empty_url)
    with engine.execution_options(write=True).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE line (number INTEGER PRIMARY KEY)")
    yield engine
    engine.dispose()


@pytest.fixture
def commits(engine: Engine) -> list[int]:
    """One entry for each commit."""
    seen: list[int] = []
    event.listen(engine, "commit", lambda connection: seen.append(1))
    return seen


@contextmanager
def nobody_writes(engine: Engine) -> Iterator[None]:
    """Whoever wants to write waits, with the others behind it in the queue."""
    with writers_gate(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("LOCK TABLE line IN SHARE MODE")
        yield


def put(number: int, session: Session) -> int:
    session.connection().execute(text("INSERT INTO line VALUES (:n)"), {"n": number})
    return number


def lines(engine: Engine) -> list[int]:
    """What another connection sees: what was committed."""
    with engine.connect() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT number FROM line ORDER BY number")]


def wave(
    writers: GroupCommit, engine: Engine, numbers: Sequence[int], act: Callable[[int, Session], int] = put
) -> list[int | Exception]:
    """All at once: nobody writes until every thread stands in the queue. What each got, a number or an error."""

    def one(number: int) -> int | Exception:
        try:
            result = writers.run(lambda session: act(number, session))
        except (DBAPIError, sqlite3.Error) as error:  # anything else ends the test
            return error
        assert number in lines(engine), "told before it was committed"
        return result

    with ThreadPoolExecutor(len(numbers)) as pool:
        with nobody_writes(engine):
            futures = [pool.submit(one, number) for number in numbers]
            while len(writers._queue) < len(numbers) - 1:
                threading.Event().wait(0.005)
        return [future.result(timeout=20) for future in futures]


def test_those_who_wait_share_a_commit(engine: Engine, commits: list[int]) -> None:
    assert wave(GroupCommit(engine), engine, list(range(WAVE))) == list(range(WAVE))
    assert lines(engine) == list(range(WAVE))
    assert len(commits) == 2  # the first one's, who found the queue empty, and that of the others


def test_no_transaction_has_more_parts_than_the_most(engine: Engine, commits: list[int]) -> None:
    numbers = list(range(2 * MOST + 2))
    assert wave(GroupCommit(engine), engine, numbers) == numbers
    assert len(commits) == 4


def test_what_one_does_wrong_undoes_its_own_part_only(engine: Engine) -> None:
    results = wave(GroupCommit(engine), engine, [0, 1, 2, 3, 3, 4, 4, 4, 5])
    assert sum(isinstance(result, IntegrityError) for result in results) == 3
    assert lines(engine) == [0, 1, 2, 3, 4, 5]


def test_everybody_hears_of_a_commit_that_fails_and_may_try_again(engine: Engine) -> None:
    failing = [True]

    def fail(connection: object) -> None:
        if failing[0]:
            raise sqlite3.OperationalError("disk I/O error")

    event.listen(engine, "commit", fail)
    writers = GroupCommit(engine)

    def one(number: int) -> str:
        try:
            writers.run(lambda session: put(number, session))
        except Exception as error:  # noqa: BLE001
            return str(error)
        return "written"

    with ThreadPoolExecutor(5) as pool:
        assert all("disk I/O" in said for said in pool.map(one, range(5)))
        assert lines(engine) == []
        failing[0] = False
        assert set(pool.map(one, range(5))) == {"written"}
    assert lines(engine) == list(range(5))


def test_when_the_transaction_ends_nothing_after_it_slips_through(engine: Engine) -> None:
    """A full disk makes SQLite roll back by itself; parts after it would be committed one by one."""
    writers = GroupCommit(engine)

    def act(number: int, session: Session) -> int:
        put(number, session)
        if number == 3:
            session.connection().exec_driver_sql("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        return number

    said = wave(writers, engine, range(8), act)
    assert [number for number in said if isinstance(number, int)] == lines(engine)
    assert 3 not in lines(engine)
    assert writers.run(lambda session: put(99, session)) == 99


class _Interrupted(BaseException):
    pass


def test_a_leader_that_is_interrupted_leaves_the_others_to_the_next(engine: Engine) -> None:
    writers = GroupCommit(engine)
    led = threading.Event()

    def interrupted(session: Session) -> int:
        led.set()
        while len(writers._queue) < 3:
            threading.Event().wait(0.005)
        raise _Interrupted

    def lead() -> str:
        try:
            writers.run(interrupted)
        except _Interrupted:
            return "interrupted"
        return "written"

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(lead)
        led.wait(10)
        others = [pool.submit(writers.run, lambda session, n=n: put(n, session)) for n in range(3)]
        assert first.result(timeout=20) == "interrupted"
        assert sorted(other.result(timeout=20) for other in others) == [0, 1, 2]
    assert lines(engine) == [0, 1, 2]


def test_when_the_connection_breaks_nothing_is_believed_written(postgres: MakeUrl) -> None:
    engine = open_engine(postgres())
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE line (number INTEGER PRIMARY KEY)")
    writers = GroupCommit(engine)

    def act(number: int, session: Session) -> int:
        put(number, session)
        if number == 3:
            session.connection().exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return number

    said = wave(writers, engine, range(8), act)
    assert [number for number in said if isinstance(number, int)] == lines(engine)
    broken = [error for error in said if not isinstance(error, int)]
    assert broken
    assert all(isinstance(error, DBAPIError) for error in broken)
    assert writers.run(lambda session: put(99, session)) == 99
    engine.dispose()


def test_a_deadlock_ends_it_for_all_of_a_group(engine: Engine) -> None:
    """What the others hold would be in its way again; each tries once more by itself."""
    cause = sqlite3.OperationalError("as PostgreSQL's deadlock: another try may do")
    cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
    deadlock = OperationalError("UPDATE", {}, cause)

    def act(number: int, session: Session) -> int:
        if number == 3:
            raise deadlock
        return put(number, session)

    said = wave(GroupCommit(engine), engine, range(6), act)
    assert [number for number in said if isinstance(number, int)] == lines(engine)
    assert said.count(deadlock) >= 5
    assert all(isinstance(error, OperationalError) for error in said if not isinstance(error, int))


def test_who_does_not_wait_any_more_stalls_nobody(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = GroupCommit(engine)
    event_of = threading.Event

    class Interrupted(event_of):  # type: ignore[misc, valid-type]
        def wait(self, timeout: float | None = None) -> bool:
            raise _Interrupted

    with ThreadPoolExecutor(4) as pool:
        with nobody_writes(engine):
            first = pool.submit(writers.run, lambda session: put(1, session))
            while not writers._is_led or writers._queue:
                event_of().wait(0.005)
            monkeypatch.setattr("packshot.db.group_commit.threading.Event", Interrupted)
            with pytest.raises(_Interrupted):
                writers.run(lambda session: put(2, session))
            monkeypatch.undo()
            last = pool.submit(writers.run, lambda session: put(3, session))
        assert (first.result(timeout=20), last.result(timeout=20)) == (1, 3)
    assert lines(engine) == [1, 3]
