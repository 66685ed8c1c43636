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
    bin_folder = _binaries()
    if bin_folder is None:
        reason = "PostgreSQL's binaries (initdb, postgres) are neither on PATH nor in /usr/lib/postgresql/*/bin"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(mkdtemp(prefix="packshot-pg-"))  # short: a socket's path has 107 bytes at most
    port = free_ports(1)[0]
    try:
        server = _start(bin_folder, folder, port)
        try:
            admin = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
            _wait(admin, server, folder)
            yield _Maker(admin, port)
        finally:
            server.send_signal(signal.SIGINT)  # "fast": ends open connections
            server.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _binaries() -> Path | None:
    # Debian keeps them out of PATH, one folder a version; initdb finds its files relative to where it really lies.
    for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    found = shutil.which("initdb")
    folder = Path(found).resolve().parent if found else None
    return folder if folder and (folder / "postgres").exists() else None


def _start(bin_folder: Path, folder: Path, port: int) -> subprocess.Popen[bytes]:
    data, prefix = folder / "data", []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
    made = subprocess.run(
        [*prefix, bin_folder / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
        cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr.decode()
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [
                *prefix, bin_folder / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder,
                "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=120",
            ],
            cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip


def _wait(admin: str, server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            psycopg.connect(admin).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise AssertionError(f"PostgreSQL did not start: {(folder / 'log').read_text(errors='replace')[-2000:]}")


class _Maker:
    def __init__(self, admin: str, port: int) -> None:
        self._admin = admin
        self._port = port
        self._template = ""

    def __call__(self, tables: bool = False) -> str:
        if tables and not self._template:
            url = self._create("")
            engine = open_engine(url)
            upgrade(engine)
            engine.dispose()
            self._template = url.rpartition("/")[2]
        return self._create(f"TEMPLATE {self._template} STRATEGY FILE_COPY" if tables else "")

    def _create(self, how: str) -> str:
        name = f"t_{uuid.uuid4().hex}"
        with psycopg.connect(self._admin, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {how}")
        return f"postgresql://postgres@127.0.0.1:{self._port}/{name}"
