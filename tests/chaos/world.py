"""A shop whose product runs in processes of their own, so that they can be killed.

The image API, the S3 server, the Prefect server and the database live outside of them and stay. Usage:

    with World(folder) as world:
        catalog = world.catalog("spring", 40)
        child = world.run(catalog, point="during the POST", at=3, after=0.1)
        assert child.wait(60) == -signal.SIGKILL
        world.run(catalog).wait(120)
        print(world.check())
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal, Self

from sqlalchemy import Engine

from packshot.db.engine import open_engine, upgrade
from packshot.sandbox.emulator import Emulator
from packshot.sandbox.prefect_server import prefect_server
from packshot.sandbox.seaweed import Seaweed
from packshot.settings import PREFIX, Settings
from tests.chaos.checks import Figures, Witness, look_into
from tests.chaos.child import Order
from tests.fixtures_postgres import PostgresServer, postgres_binaries
from tests.fixtures_shop import KEY, ROOT, SHOTS, SYSTEM_TOKEN

Database = Literal["sqlite", "postgresql"]


class Child:
    """A process that runs one packshot command. Its output is in the world's ``children.log``."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.pid = 0
        self.status: int | None = None
        self._ended = threading.Event()

    def wait(self, timeout: float) -> int:
        """Its exit code; minus the number of the signal that ended it. Raises TimeoutError while it still runs."""
        if not self._ended.wait(timeout):
            raise TimeoutError(f"packshot {' '.join(self.order.argv)} still runs after {timeout:.0f} s")
        assert self.status is not None
        return self.status

    def kill(self, number: int) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def ended(self, status: int) -> None:
        self.status = status
        self._ended.set()


class World:
    """Everything around the children. ``with World(folder) as world: ...``.

    Args:
        folder: for all files; ``folder/home`` is the children's PACKSHOT_HOME.
        database: a new one; ``world.postgres`` is its server.
        seaweed, prefect_url: servers that run already; started when not given.
        emulator: arguments of the image API, such as ``latency``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database: Database = "sqlite",
        seaweed: Seaweed | None = None,
        prefect_url: str = "",
        **emulator: Any,
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.log = folder / "children.log"
        self.postgres: PostgresServer | None = None
        self.env: dict[str, str] = {}
        """The PACKSHOT_ variables of children, names without the prefix. Changes count for those started later by
        :meth:`run`, :meth:`start` and :meth:`start_fresh`."""
        self._database = database
        self._given_seaweed = seaweed
        self._prefect_url = prefect_url
        usual = {"key": KEY, "system_token": SYSTEM_TOKEN, "latency": (0.3, 1.0), "balance_usd": 10_000}
        self._emulator: dict[str, Any] = usual | emulator
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.emulator = stack.enter_context(
                Emulator(**{"key": KEY, "system_token": SYSTEM_TOKEN, **self._emulator})
            )
            self.seaweed = self._given_seaweed or stack.enter_context(Seaweed(self.folder / "seaweed"))
            self.prefect_url = self._prefect_url or stack.enter_context(prefect_server(self.folder, own=True))
            if self._database == "postgresql":
                binaries = postgres_binaries()
                assert binaries, "PostgreSQL's binaries (initdb, postgres) are not on this machine"
                self.postgres = stack.enter_context(PostgresServer(binaries))
                self.database_url = self.postgres.new_database()
            else:
                self.database_url = f"sqlite:///{self.home.absolute() / 'packshot.db'}"
            self.env = self._environment()
            self.settings = Settings(_env_file=None, **{k.lower(): v for k, v in self.env.items()})  # type: ignore[arg-type]
            self.engine: Engine = open_engine(self.database_url)
            upgrade(self.engine)
            stack.callback(self.engine.dispose)
            self.witness = Witness(self.settings.spool, self.emulator)
            self._zygote = stack.enter_context(Zygote(self._whole(self.env), self.log, self.witness.look))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _environment(self) -> dict[str, str]:
        shots, no_file = self.folder / "shots.yaml", self.folder / "no.env"
        shots.write_text(SHOTS)
        no_file.touch()  # a developer's own .env is none of ours
        store = {name.removeprefix(PREFIX): value for name, value in self.seaweed.settings().items()}
        return store | {
            "ENV_FILE": str(no_file),
            "HOME": str(self.home),
            "DATABASE_URL": self.database_url,
            "SHOTS": str(shots),
            "S3_PREFIX": f"pub/chaos-{uuid.uuid4().hex[:12]}",
            "APIYI_BASE_URL": self.emulator.base_url,
            "APIYI_KEY": KEY,
            "APIYI_SYSTEM_TOKEN": SYSTEM_TOKEN,
            "DOWNLOAD_HOSTS": "127.0.0.1",
            "DOWNLOAD_CIDRS": "127.0.0.0/8",
            "CONCURRENCY": "8",
            "PROVIDER_LIMIT": f"provider-{uuid.uuid4().hex[:8]}",
            "PROVIDER_SLOTS": "200",  # a killed process keeps its slots for a minute
            "BACKOFF": "0.05",
            "RETRY": '{"bad_gateway": {"waits": [0.05]}}',
            "STALL_GRACE": "0.2",
        }

    def _whole(self, env: Mapping[str, str]) -> dict[str, str]:
        """A process's environment with these PACKSHOT_ variables and no other ones."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return kept | {PREFIX + name: value for name, value in env.items()} | {
            "PREFECT_API_URL": self.prefect_url,
            "PREFECT_HOME": str(self.folder / "prefect-client"),
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
            "NO_COLOR": "1",
        }  # fmt: skip

    # --- the product ----------------------------------------------------------------------------------------------
    def catalog(self, name: str, number: int, rejects: int = 0) -> Path:
        """A catalog file of so many products that no other catalog has; one image is wanted of each. ``rejects`` more
        records are without a title, and one is blank."""
        path = self.folder / f"{name}.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "title", "category"])
            rows.writerows([f"{name}-{n:04d}", f"Product {n} of {name}", "Home"] for n in range(1, number + 1))
            rows.writerows([f"{name}-r{n}", "", "Home"] for n in range(rejects))
            rows.writerows([["", "", ""]] * bool(rejects))
        return path

    def run(
        self,
        catalog: Path,
        *options: str,
        point: str = "",
        at: int = 1,
        after: float = 0.0,
        twist: str = "",
        **env: object,
    ) -> Child:
        """Start ``packshot run CATALOG``; ``point``, ``at``, ``after`` and ``twist`` as in
        :class:`tests.chaos.child.Order`, ``env``: PACKSHOT_ variables for this child, lower case, without the prefix.
        """
        return self.start("run", str(catalog), *options, point=point, at=at, after=after, twist=twist, **env)

    def start(
        self, *argv: str, point: str = "", at: int = 1, after: float = 0.0, twist: str = "", **env: object
    ) -> Child:
        """Start any packshot command in a child that begins at once."""
        return self._zygote.start(Order(list(argv), point, at, after, self._variables(env), twist))

    def start_fresh(
        self, *argv: str, variables: Mapping[str, str] | None = None, **env: object
    ) -> subprocess.Popen[bytes]:
        """Start a packshot command in a Python of its own (a few seconds of work), where even the environment of the
        interpreter matters: ``variables`` are plain environment variables."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", "from packshot.cli import main; main()", *argv],
                cwd=ROOT, env=self._whole(self.env) | self._variables(env) | dict(variables or {}),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _variables(self, env: Mapping[str, object]) -> dict[str, str]:
        return {PREFIX + name.upper(): str(value) for name, value in {**self.env, **env}.items()}

    # --- afterwards -----------------------------------------------------------------------------------------------
    def settle(self, timeout: float = 60.0) -> None:
        """Wait until the image API has nothing in work any more: what is in work is billed when it ends."""
        deadline = time.monotonic() + timeout
        while self.emulator.health()["in_flight"]:
            assert time.monotonic() < deadline, "the image API is still at work"
            time.sleep(0.02)

    def check(self) -> Figures:
        """Compare ledger, bill, bucket and spool. Call it when no child runs; the figures are about all runs so far."""
        self.settle()
        return look_into(self.settings, self.engine, self.emulator, self.witness)


class Zygote:
    """The process that children are forked from."""

    def __init__(self, env: Mapping[str, str], log: Path, at_an_end: Callable[[], None]) -> None:
        self._env = dict(env)
        self._log = log
        self._at_an_end = at_an_end
        self._lock = threading.Lock()
        self._starting: list[Child] = []
        self._running: dict[int, Child] = {}
        self._told = threading.Condition()
        self._ready = False
        self._over = False

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.child"],
                cwd=ROOT, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                bufsize=1, start_new_session=True,
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read, name="zygote", daemon=True)
        self._reader.start()
        self._expect(lambda: self._ready, 120)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()  # it ends, and so do its children
        self._process.wait(30)
        self._reader.join(10)

    def start(self, order: Order) -> Child:
        child = Child(order)
        assert self._process.stdin
        with self._lock:
            self._starting.append(child)
            self._process.stdin.write(order.as_json() + "\n")
            self._process.stdin.flush()
            self._expect(lambda: child.pid, 30)
        return child

    def _expect(self, seen: Any, timeout: float) -> None:
        with self._told:
            if not self._told.wait_for(lambda: seen() or self._over, timeout) or not seen():
                raise AssertionError(f"the children's parent does not answer: {self._log.read_text()[-2000:]}")

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            word, *numbers = line.split()
            with self._told:
                match word, [int(number) for number in numbers]:
                    case "ready", []:
                        self._ready = True
                    case "started", [pid]:
                        child = self._starting.pop(0)
                        child.pid, self._running[pid] = pid, child
                    case "ended", [pid, status]:
                        self._at_an_end()
                        self._running.pop(pid).ended(status)
                self._told.notify_all()
        with self._told:
            self._over = True
            self._told.notify_all()
