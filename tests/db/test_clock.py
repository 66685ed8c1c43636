"""Everybody who shares a server goes by its clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, text

from packshot.db.clock import AGAIN_AFTER, ASK_EVERY, ServerClock, database_clock
from packshot.db.engine import open_engine
from packshot.sandbox.ports import free_ports


def test_a_servers_time_is_asked_and_carried_on(postgres: Callable[[], str]) -> None:
    engine = open_engine(postgres())
    steady = [1000.0]
    clock = ServerClock(engine, lambda: steady[0])
    with engine.connect() as connection:
        server = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    first = clock()
    assert abs((first - server).total_seconds()) < 5
    steady[0] += 30
    assert clock() - first == timedelta(seconds=30)  # not asked again
    steady[0] += ASK_EVERY
    assert clock() - first < timedelta(seconds=30)  # asked: there, hardly a moment has passed
    assert database_clock(engine) is database_clock(engine)


def test_a_server_that_is_away_leaves_the_last_answer_or_the_machines_clock() -> None:
    steady = [0.0]
    clock = ServerClock(open_engine(f"postgresql://nobody@127.0.0.1:{free_ports(1)[0]}/nothing"), lambda: steady[0])
    assert abs((clock() - datetime.now(UTC)).total_seconds()) < 5


def test_whoever_holds_the_last_connection_can_ask_what_time_it_is(postgres: Callable[[], str]) -> None:
    """Each of a hundred threads that settle failed calls at once holds one when it asks."""
    engine = create_engine(open_engine(postgres()).url, pool_size=1, max_overflow=0, pool_timeout=5)
    clock = ServerClock(engine)
    with engine.connect():
        began = time.monotonic()
        assert abs((clock() - datetime.now(UTC)).total_seconds()) < 5
        assert clock._asked is not None
    assert time.monotonic() - began < 4
    engine.dispose()


def test_a_server_that_is_away_is_not_asked_by_everybody() -> None:
    steady = [0.0]
    clock = ServerClock(open_engine(f"postgresql://nobody@127.0.0.1:{free_ports(1)[0]}/nothing"), lambda: steady[0])
    asked: list[float] = []

    def unreachable() -> None:
        asked.append(steady[0])
        ask()

    ask, clock._ask = clock._ask, unreachable  # type: ignore[method-assign]
    for second in range(12):
        steady[0] = float(second)
        clock()
    assert asked == [0, AGAIN_AFTER, 2 * AGAIN_AFTER]


def test_sqlite_goes_by_the_machine(tmp_path: Path) -> None:
    clock = database_clock(open_engine(f"sqlite:///{tmp_path}/c.db"))
    assert abs((clock() - datetime.now(UTC)).total_seconds()) < 5
