"""The database engine: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path

import stamina
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from packshot.errors import Code, ConfigError

BUSY_TIMEOUT = 60  # seconds a writer waits for the others on SQLite
_LINE = {
    "connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}  # fmt: skip
"""libpq's: a line to PostgreSQL that falls silent is given up within about a minute; left to itself it may hang for
hours. What the URL says of them wins."""
_MIGRATIONS = Path(__file__).parent / "migrations"


@lru_cache(maxsize=8)
def open_engine(url: str) -> Engine:
    """One engine a process and URL, safe to share between threads. Makes the folder of an SQLite file.

    Raises:
        ConfigError: the URL is not usable, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the reason might quote a password
        raise _unusable("it does not read as a URL") from None
    if "@" in (parsed.host or ""):
        raise _unusable("user or password hold an @, which must be written as %40")
    try:
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
            return _sqlite(parsed.database or "", url)
        if parsed.drivername != "postgresql+psycopg":
            raise _unusable(f"there is no support for {parsed.drivername}")
        # Each image task holds a connection for milliseconds; a wave of finished calls may want many at once.
        return create_engine(
            parsed, pool_size=10, max_overflow=20, pool_pre_ping=True, hide_parameters=True,
            connect_args=_line_to(parsed),
        )  # fmt: skip
    except ModuleNotFoundError as error:
        raise _unusable(str(error)) from None


def _line_to(url: URL) -> dict[str, int]:
    return {name: value for name, value in _LINE.items() if name not in url.query}


def _unusable(why: str) -> ConfigError:
    return ConfigError(
        Code.SETTINGS_INVALID,
        f"PACKSHOT_DATABASE_URL cannot be used: {why}. Allowed: sqlite:///FILE, or "
        "postgresql://USER:PASSWORD@HOST/NAME, which needs the extra: pip install --editable '.[postgres]'",
    )


def _is_locked(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _sqlite(path: str, url: str) -> Engine:
    if path in ("", ":memory:"):
        raise _unusable("a database in memory is gone when the process ends")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            Code.SETTINGS_INVALID, f"the folder of the database {path} cannot be made: {error.strerror}"
        ) from None
    # A pool bounds the open files when a hundred threads finish at once. Parameters stay out of errors, and so out of
    # logs: among them are temporary URLs, which open for anybody.
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False},
        pool_size=10,
        max_overflow=20,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")  # a ledger of money survives a power cut
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads and then writes fails at once, whatever the busy time-out, if another writer was
        # in between; so writers take the lock when they begin.
        write = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


@stamina.retry(on=_is_locked, attempts=None, timeout=BUSY_TIMEOUT, wait_initial=0.02, wait_max=0.5)
def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. While another process does the same, SQLite says "locked" at once, whatever the
    busy time-out."""
    connection.execute("PRAGMA journal_mode=WAL")


def expect_many_rows(connection: Connection, expect: bool = True) -> None:
    """On SQLite, keep more pages in memory, and copy the write-ahead log into the database less often. The keys of jobs
    are all over their index: with the usual 2 MB, nearly every new one would read a page and write it twice."""
    if connection.dialect.name == "sqlite":
        cache_kb, log_pages = (64_000, 16_000) if expect else (2_000, 1_000)
        connection.exec_driver_sql(f"PRAGMA cache_size=-{cache_kb}")
        connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint={log_pages}")


def unpooled(engine: Engine) -> Engine:
    """The same PostgreSQL, each time by a new connection: for who must not wait for those that others hold."""
    return create_engine(engine.url, poolclass=NullPool, hide_parameters=True, connect_args=_line_to(engine.url))


@lru_cache(maxsize=8)
def writers_gate(engine: Engine) -> AbstractContextManager[object]:
    """Held while a transaction writes. On SQLite it lets this process's threads queue: left to SQLite, each would sleep
    up to 0.1 s between two looks at the lock, and fifty finished calls would wait for seconds. PostgreSQL needs none.
    """
    return threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine) -> str:
    """Bring the tables to this version's revision and return it. Safe to run at any time, from several processes.

    Raises:
        ConfigError: it cannot be reached, or a newer version of packshot has upgraded it already.
    """
    _reachable_revision(engine)
    with engine.execution_options(write=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7205759403792793)")  # one migrator at a time
        command.upgrade(_alembic(connection), "head")
    return head_revision()


def head_revision() -> str:
    """The revision that this version of packshot works with."""
    return str(_scripts().get_current_head())


@lru_cache(maxsize=1)
def _scripts() -> ScriptDirectory:
    """Kept, because it reads every migration, and each start of a run asks for it several times."""
    return ScriptDirectory(str(_MIGRATIONS))


def current_revision(engine: Engine) -> str | None:
    """The revision the database is at; None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_empty(engine: Engine) -> bool:
    """True for a database that packshot has made no tables in yet.

    Raises:
        ConfigError: it cannot be reached, or a newer version of packshot has upgraded it already.
    """
    return _reachable_revision(engine) is None


def check_revision(engine: Engine) -> None:
    """Raise the error that says what to do, unless the tables fit this version."""
    found = _reachable_revision(engine)
    if found != head_revision():
        raise ConfigError(
            Code.DATABASE_OUTDATED,
            f"the database is at revision {found or 'none'}, this version needs {head_revision()}",
        )


def _reachable_revision(engine: Engine) -> str | None:
    try:
        found = current_revision(engine)
    except DBAPIError as error:
        reason = str(error.orig or error).strip().partition("\n")[0]
        raise ConfigError(Code.SETTINGS_INVALID, f"the database cannot be reached: {reason}") from None
    if found is not None and found not in {script.revision for script in _scripts().walk_revisions()}:
        raise ConfigError(
            Code.DATABASE_NEWER, f"the database is at revision {found}, this version knows only {head_revision()}"
        )
    return found
