"""A database that goes away is waited for; a wrong statement is not."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from packshot.db.engine import open_engine
from packshot.db.patience import is_away, patiently
from packshot.sandbox.ports import free_ports


def error_of(act: Callable[[], object]) -> DBAPIError:
    with pytest.raises(DBAPIError) as caught:
        act()
    return caught.value


def run(engine: Engine, statement: str) -> Callable[[], object]:
    def act() -> None:
        with engine.connect() as connection:
            connection.execute(text(statement))

    return act


def test_what_is_the_statements_fault_is_not_waited_for(engine: Engine) -> None:
    for statement in ("SELECT * FROM no_such_table", "SELEKT", "INSERT INTO store (bucket) VALUES (NULL)"):
        assert not is_away(error_of(run(engine, statement)))


def test_a_value_that_cannot_be_sent_is_not_waited_for(postgres: Callable[[], str]) -> None:
    engine = open_engine(postgres())

    def send() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT :value"), {"value": "a NUL: \x00"})

    assert not is_away(error_of(send))


def test_a_full_sqlite_is_waited_for(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'small.db'}")
    with engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count = 3"))
        connection.execute(text("CREATE TABLE t (c)"))
        with pytest.raises(OperationalError) as caught:
            connection.execute(text("INSERT INTO t VALUES (zeroblob(100000))"))
    assert "full" in str(caught.value)
    assert is_away(caught.value)
    engine.dispose()


def test_a_locked_sqlite_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (c)")
    other.execute("BEGIN EXCLUSIVE")
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    assert is_away(error_of(run(engine, "SELECT * FROM t")))
    other.close()
    engine.dispose()


def test_a_server_that_is_gone_is_waited_for() -> None:
    engine = open_engine(f"postgresql://nobody@127.0.0.1:{free_ports(1)[0]}/nothing")
    assert is_away(error_of(run(engine, "SELECT 1")))


def test_a_connection_that_the_server_ended_is_waited_for(postgres: Callable[[], str]) -> None:
    engine = open_engine(postgres())
    with engine.connect() as connection:
        number = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:n)"), {"n": number})
        assert is_away(error_of(lambda: connection.execute(text("SELECT 1"))))


def test_it_is_tried_again_until_it_works_and_told_so() -> None:
    seen: list[bool] = []

    def act(again: bool) -> str:
        seen.append(again)
        if len(seen) < 3:
            raise OperationalError("x", {}, Exception("gone"))
        return "done"

    assert patiently(act, 10) == "done"
    assert seen == [False, True, True]


def test_patience_ends_with_the_error() -> None:
    def act(_again: bool) -> None:
        raise OperationalError("x", {}, Exception("gone"))

    for patience in (0, 0.2):
        with pytest.raises(OperationalError):
            patiently(act, patience)


def test_other_errors_are_raised_at_once() -> None:
    calls = threading.Semaphore(1)

    def act(_again: bool) -> None:
        assert calls.acquire(blocking=False), "called twice"
        raise ProgrammingError("x", {}, sqlite3.ProgrammingError("no"))

    with pytest.raises(ProgrammingError):
        patiently(act, 10)
