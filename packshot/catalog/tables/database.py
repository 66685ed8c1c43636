"""A database that is read and never written to, and its values as text."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, Executable, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.tables.encoding import MARK_DAMAGED
from packshot.catalog.text import one_line, shorten
from packshot.errors import Code, ConfigError

SETTING = "PACKSHOT_CATALOG_DATABASE_URL"
BUSY_TIMEOUT = 60  # seconds a reader waits for writers on SQLite
CONNECT_TIMEOUT = 10  # seconds

_AS_TEXT = ("json", "jsonb", "date", "time", "timetz", "interval")
_WITH_T = ("timestamp", "timestamptz")
"""PostgreSQL types that stay as the server writes them: 1.10 in JSON is not 1.1, and Python has no infinite dates."""
_LONGEST_REASON = 300


class ReadOnlyDatabase:
    """Transactions that cannot write: READ ONLY on PostgreSQL, a file opened for reading on SQLite.

    Raises:
        ConfigError: the URL is not usable, or its driver is not installed.
    """

    def __init__(self, url: str, label: str) -> None:
        self._label = label
        self._secrets: list[str] = []
        self._engine = self._open(url)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Raises ConfigError when the database cannot be reached, and for what goes wrong inside the block."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise self._refusal(error) from None
        except UnicodeEncodeError:
            raise bad_catalog(self._label, "has keys that are no text") from None

    def rows(self, connection: Connection, statement: Executable) -> tuple[list[str], Sequence[Any]]:
        """The columns' names, and all rows, read in a transaction of its own; once more when the line had broken."""
        for again in (True, False):
            try:
                with connection.begin():
                    if connection.dialect.name == "postgresql":
                        connection.exec_driver_sql("SET LOCAL DateStyle = 'ISO'")
                        connection.exec_driver_sql("SET LOCAL TimeZone = 'UTC'")
                    result = connection.execute(statement)
                    description = result.cursor.description if result.cursor else ()
                    return [str(entry[0]) for entry in description], result.all()
            except DBAPIError as error:
                if not (again and error.connection_invalidated):
                    raise
        raise AssertionError("the last round returns or raises")

    def _open(self, url: str) -> Engine:
        try:
            parsed = make_url(url.strip())
        except (ArgumentError, ValueError):  # the reason might quote a password
            raise _unusable("it does not read as a URL") from None
        if "@" in (parsed.host or ""):
            raise _unusable("user or password hold an @, which must be written as %40")
        self._secrets = [secret for secret in (str(parsed.password or ""), parsed.username or "") if secret]
        if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
            return _sqlite(parsed)
        if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
            return _postgresql(parsed)
        raise _unusable(f"{one_line(parsed.drivername)} databases cannot be read")

    def _refusal(self, error: DBAPIError) -> ConfigError:
        driver = error.orig
        reason = getattr(getattr(driver, "diag", None), "message_primary", None) or str(driver)
        for secret in self._secrets:
            reason = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", reason)
        reason = shorten(one_line(reason.partition("\n")[0]), _LONGEST_REASON)
        if getattr(driver, "sqlstate", "") is None:  # the server never had a say
            return ConfigError(Code.CATALOG_UNREACHABLE, f"{self._label}: the database cannot be reached: {reason}")
        return bad_catalog(self._label, f"cannot be read: {reason}")


def cell_text(value: Any) -> str | None:
    """A database's value as the text of a cell; None for bytes that are no text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        # What a column of floats holds of whole numbers, such as GTINs, are whole numbers.
        return format(Decimal(int(value) if value.is_integer() else repr(value)), "f")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=cell_text)
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _sqlite(url: URL) -> Engine:
    path = Path(url.database or "")
    if not url.database or not path.is_file():
        raise _unusable(f"there is no file {url.database!r}" if url.database else "it names no file")
    address = f"file:{quote(str(path.absolute()))}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT, check_same_thread=False)
        connection.text_factory = lambda raw: raw.decode("utf-8", MARK_DAMAGED)
        connection.execute("PRAGMA query_only = ON")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)


def _postgresql(url: URL) -> Engine:
    try:
        from psycopg.types.string import TextLoader

        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            # Prepared statements would outlive the transaction, and a pooler in between may give us another server.
            connect_args={"connect_timeout": CONNECT_TIMEOUT, "prepare_threshold": None},
            execution_options={"postgresql_readonly": True},
            poolclass=NullPool,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise _unusable(f"{error}; PostgreSQL needs the extra: pip install --editable '.[postgres]'") from None

    class WithT(TextLoader):
        """Days and times with the T between them that ISO 8601 asks for."""

        def load(self, data: Any) -> Any:
            return bytes(data).decode().replace(" ", "T", 1)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        for name in _WITH_T:
            connection.adapters.register_loader(name, WithT)
        for name in _AS_TEXT:
            connection.adapters.register_loader(name, TextLoader)

    return engine


def _unusable(why: str) -> ConfigError:
    return ConfigError(
        Code.SETTINGS_INVALID,
        f"{SETTING} cannot be used: {why}. Allowed: sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME",
    )
