"""The emulator and the S3 server together: all that a run without a key needs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from packshot.errors import Code, ConfigError
from packshot.sandbox.child import start_tied
from packshot.sandbox.ports import free_ports, port_is_free
from packshot.sandbox.seaweed import Seaweed

KEY = "sk-sandbox-key"  # opens nothing but the emulator
SYSTEM_TOKEN = "sandbox-system-token"  # noqa: S105


class Sandbox:
    """Both servers as child processes on 127.0.0.1, with their data in ``home``; they end when we do.

    ``latency``: seconds (low, high) a generation takes. ``wire_format`` chooses what :meth:`settings` sets.
    ``least_bytes``: smaller pictures are padded. ``picture``: a PNG that answers orders of its size, for which drawing
    one each would take too long.
    """

    def __init__(
        self,
        home: Path,
        latency: tuple[float, float] = (2.0, 5.0),
        wire_format: str = "gemini",
        max_in_flight: int = 30,
        balance_usd: float = 100.0,
        least_bytes: int = 0,
        picture: Path | None = None,
    ) -> None:
        self.home = home
        self.store = Seaweed(home / "s3")
        self._latency = latency
        self._format = wire_format
        self._max_in_flight = max_in_flight
        self._balance = balance_usd
        self._least_bytes = least_bytes
        self._picture = picture
        self._emulator: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def emulator_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def settings(self) -> dict[str, str]:
        """The environment variables that make packshot use this sandbox. Holds the store's secret key."""
        return {
            "PACKSHOT_APIYI_BASE_URL": self.emulator_url,
            "PACKSHOT_APIYI_KEY": KEY,
            "PACKSHOT_APIYI_SYSTEM_TOKEN": SYSTEM_TOKEN,
            "PACKSHOT_APIYI_FORMAT": self._format,
            "PACKSHOT_DOWNLOAD_HOSTS": "127.0.0.1",
            "PACKSHOT_DOWNLOAD_CIDRS": "127.0.0.0/8",
        } | self.store.settings()

    def bill(self) -> dict[str, Any]:
        """What the emulator charged so far: ``rows``, and ``total_micro`` in micro-dollars."""
        bill: dict[str, Any] = requests.get(f"{self.emulator_url}/sandbox/bill", timeout=10).json()
        return bill

    def start(self) -> Self:
        """Raises ConfigError (SANDBOX_FAILED) with the reason when a server does not come up."""
        self.store.start()
        try:
            self._start_emulator()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        if self._emulator is not None:
            self._emulator.terminate()
            try:
                self._emulator.wait(5)
            except subprocess.TimeoutExpired:
                self._emulator.kill()
                self._emulator.wait()
            self._emulator = None
        self.store.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_emulator(self) -> None:
        folder = self.home.absolute() / "emulator"
        folder.mkdir(parents=True, exist_ok=True)
        self._port = _kept_port(folder / "port")
        low, high = self._latency
        command = [
            sys.executable, "-m", "packshot.sandbox.emulator", "--port", str(self._port), "--key", KEY,
            "--system-token", SYSTEM_TOKEN, "--latency", str(low), str(high), "--url-mode", "oss",
            "--max-in-flight", str(self._max_in_flight), "--balance", str(self._balance),
            "--least-bytes", str(self._least_bytes), "--data", str(folder / "images"),
        ]  # fmt: skip
        if self._picture is not None:
            command += ["--picture", str(self._picture)]
        log = folder / "emulator.log"
        with log.open("wb") as output:
            self._emulator = start_tied(command, env=_plain_environment(), cwd=Path.cwd(), output=output)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._emulator.poll() is None:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.emulator_url}/sandbox/health", timeout=2).ok:
                    return
            time.sleep(0.1)
        raise ConfigError(Code.SANDBOX_FAILED, f"the emulator did not start: {log.read_text(errors='replace')[-1000:]}")


def _kept_port(path: Path) -> int:
    """The port of the last start while it is free, so that a settings file written then stays good; else another."""
    with contextlib.suppress(OSError, ValueError):
        port = int(path.read_text())
        if port_is_free(port):
            return port
    port = free_ports(1)[0]
    path.write_text(str(port))
    return port


def _plain_environment() -> dict[str, str]:
    """Our environment without the user's own key and store secrets: the emulator has no use for them."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PACKSHOT_")}


def write_env_file(path: Path, variables: dict[str, str]) -> None:
    """Write ``NAME=value`` lines, readable by us alone: they hold secrets.

    Raises:
        ConfigError: the file exists already (it may be the user's own), or cannot be written.
    """
    try:
        with path.open("x") as file:
            path.chmod(0o600)
            file.write("".join(f"{name}={value}\n" for name, value in variables.items()))
    except FileExistsError:
        raise ConfigError(Code.SETTINGS_INVALID, f"{path} exists already; name another file, or remove it") from None
    except OSError as error:
        raise ConfigError(Code.SETTINGS_INVALID, f"{path} cannot be written: {error.strerror}") from None
