"""A real PostgreSQL from the binaries of this machine, and an ``engine`` fixture that runs a test on both databases."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

import psycopg
import pytest
from sqlalchemy import Engine

from packshot.db.engine import open_engine, upgrade
from packshot.sandbox.ports import free_ports

MakeUrl = Callable[..., str]
"""Returns the URL of a new database: an empty one, or one with our tables."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[MakeUrl]:
    """One server for the session. ``postgres()`` is a new empty database, ``postgres(tables=True)`` has our tables."""
    bin_folder = postgres_binaries()
    if bin_folder is None:
        reason = "PostgreSQL's binaries (initdb, postgres) are neither on PATH nor in /usr/lib/postgresql/*/bin"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with PostgresServer(bin_folder) as server:
        yield server.new_database


@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file to copy: migrating each test's own would take most of the time."""
    path = tmp_path_factory.mktemp("sqlite") / "tables.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()  # the last connection leaves everything in the one file
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database; every test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("postgres")())


@pytest.fixture(params=["sqlite", "postgresql"])
def db_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with our tables; every test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "packshot.db"
        shutil.copyfile(request.getfixturevalue("sqlite_with_tables"), path)
        return f"sqlite:///{path}"
    return str(request.getfixturevalue("postgres")(tables=True))


@pytest.fixture
def engine(db_url: str) -> Iterator[Engine]:
    """The engine of ``db_url``."""
    engine = open_engine(db_url)
    yield engine
    engine.dispose()


def postgres_binaries() -> Path | None:
    """The folder of initdb and postgres, if this machine has them."""
    # Debian keeps them out of PATH, one folder a version; initdb finds its files relative to where it really lies.
    for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    found = shutil.which("initdb")
    folder = Path(found).resolve().parent if found else None
    return folder if folder and (folder / "postgres").exists() else None


class PostgresServer:
    """A server of our own in a folder of its own; :meth:`stop` and :meth:`start` keep the port and the data."""

    def __init__(self, bin_folder: Path, shared_buffers: str = "16MB") -> None:
        self._bin = bin_folder
        self._buffers = shared_buffers
        self._folder = Path(mkdtemp(prefix="packshot-pg-"))  # short: a socket's path has 107 bytes at most
        self._port = free_ports(1)[0]
        self._admin = f"host=127.0.0.1 port={self._port} user=postgres dbname=postgres"
        self._process: subprocess.Popen[bytes] | None = None
        self._template = ""
        self._as_postgres: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]

    def __enter__(self) -> Self:
        try:
            self._make()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Returns when it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._as_postgres, self._bin / "postgres", "-D", self._folder / "data", "-h", "127.0.0.1",
                    "-p", str(self._port), "-k", self._folder,
                    "-c", "fsync=off", "-c", f"shared_buffers={self._buffers}", "-c", "max_connections=120",
                ],
                cwd=self._folder, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                psycopg.connect(self._admin).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        text = (self._folder / "log").read_text(errors="replace")
        raise AssertionError(f"PostgreSQL did not start: {text[-2000:]}")

    def stop(self, immediately: bool = False) -> None:
        """Ends open connections. Nothing happens when it is not running. ``immediately``: as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if immediately else signal.SIGINT)  # SIGINT is "fast"
            self._process.wait(20)
            self._process = None

    def new_database(self, tables: bool = False) -> str:
        """URL of a new database: an empty one, or one with our tables."""
        if tables and not self._template:
            url = self._create("")
            engine = open_engine(url)
            upgrade(engine)
            engine.dispose()
            self._template = url.rpartition("/")[2]
        return self._create(f"TEMPLATE {self._template} STRATEGY FILE_COPY" if tables else "")

    def _make(self) -> None:
        if self._as_postgres:
            account = pwd.getpwnam("postgres")
            os.chown(self._folder, account.pw_uid, account.pw_gid)
        made = subprocess.run(
            [
                *self._as_postgres, self._bin / "initdb", "-D", self._folder / "data", "-U", "postgres", "-A", "trust",
                "-E", "UTF8", "--no-sync",
            ],
            cwd=self._folder, capture_output=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr.decode()

    def _create(self, how: str) -> str:
        name = f"t_{uuid.uuid4().hex}"
        with psycopg.connect(self._admin, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {how}")
        return f"postgresql://postgres@127.0.0.1:{self._port}/{name}"
