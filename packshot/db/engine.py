"""The database engine: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from packshot.errors import Code, ConfigError

BUSY_TIMEOUT = 60  # seconds a writer waits for the others on SQLite
_MIGRATIONS = Path(__file__).parent / "migrations"


@lru_cache(maxsize=8)
def open_engine(url: str) -> Engine:
    """One engine a process and URL, safe to share between threads. Makes the folder of an SQLite file.

    Raises:
        ConfigError: the URL is not usable, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed.database or "", url)
        # Each image task holds a connection for milliseconds; a wave of finished calls may want many at once.
        return create_engine(parsed, pool_size=10, max_overflow=20, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            Code.SETTINGS_INVALID,
            f"PACKSHOT_DATABASE_URL cannot be used: {error}. Allowed: sqlite:///FILE, or "
            "postgresql://USER:PASSWORD@HOST/NAME, which needs the extra: pip install 'packshot[postgres]'",
        ) from None


def _sqlite(path: str, url: str) -> Engine:
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    # A pool bounds the open files when a hundred threads finish at once.
    engine = create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False}, pool_size=10, max_overflow=20
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # a ledger of money survives a power cut
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads and then writes fails at once, whatever the busy time-out, if another writer was
        # in between; so writers take the lock when they begin.
        write = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine) -> str:
    """Bring the tables to this version's revision and return it. Safe to run at any time, from several processes."""
    with engine.execution_options(write=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7205759403792793)")  # one migrator at a time
        command.upgrade(_alembic(connection), "head")
    return head_revision()


def head_revision() -> str:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return str(ScriptDirectory.from_config(config).get_current_head())


def current_revision(engine: Engine) -> str | None:
    """The revision the database is at; None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check_revision(engine: Engine) -> None:
    """Raise the error that says how to upgrade, unless the tables fit this version."""
    try:
        found = current_revision(engine)
    except OperationalError as error:
        raise ConfigError(Code.SETTINGS_INVALID, f"the database cannot be reached: {_first_line(error)}") from None
    if found != head_revision():
        raise ConfigError(
            Code.DATABASE_OUTDATED,
            f"the database is at revision {found or 'none'}, this version needs {head_revision()}",
        )


def _first_line(error: Any) -> str:
    return str(error.orig or error).strip().splitlines()[0]
