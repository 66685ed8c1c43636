"""The Prefect server that runs are shown by: the one of the settings, or one of our own for as long as it is needed.

Prefect itself is not imported here: its settings are environment variables, its server a child process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from packshot.errors import Code, ConfigError
from packshot.sandbox.child import start_tied
from packshot.sandbox.ports import free_ports

USUAL_PORT = 4200
START_TIMEOUT = 90.0  # seconds; a cold start takes 7 to 10


@contextlib.contextmanager
def prefect_server(home: Path, own: bool = False) -> Iterator[str]:
    """Yield the API's URL, and set PREFECT_API_URL to it for this process and its children.

    A server that PREFECT_API_URL names must be there. Without the variable, one at the usual port is used, else one is
    started with its data in ``home``/prefect, and stopped at the end. ``own``: start one in any case.

    Raises:
        ConfigError: PREFECT_UNREACHABLE.
    """
    named = os.environ.get("PREFECT_API_URL", "")
    usual = named or f"http://127.0.0.1:{USUAL_PORT}/api"
    with contextlib.ExitStack() as stack:
        if not own and is_healthy(usual):
            url = usual
        elif named and not own:
            raise ConfigError(Code.PREFECT_UNREACHABLE, f"no Prefect server answers at PREFECT_API_URL={named}")
        else:
            url = stack.enter_context(_started(stack.enter_context(_data_folder(home.absolute() / "prefect"))))
        os.environ["PREFECT_API_URL"] = url
        try:
            yield url
        finally:
            if named:
                os.environ["PREFECT_API_URL"] = named
            else:
                del os.environ["PREFECT_API_URL"]


def is_healthy(url: str) -> bool:
    """Does a Prefect API answer there?"""
    try:
        answer = requests.get(f"{url.rstrip('/')}/health", timeout=5)
    except requests.RequestException:
        return False
    return answer.status_code == 200 and answer.text.strip() == "true"


@contextlib.contextmanager
def _data_folder(folder: Path) -> Iterator[Path]:
    """``folder``, or a temporary one while another server works on it: two on one SQLite file lock each other out."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with tempfile.TemporaryDirectory(prefix="packshot-prefect-", ignore_cleanup_errors=True) as temporary:
                yield Path(temporary)
        else:
            yield folder


@contextlib.contextmanager
def _started(home: Path) -> Iterator[str]:
    """A server for as long as the block runs. Never at the usual port: others would find it there, and lose it."""
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}/api"
    log = home / "server.log"
    # The working directory stays: prefect.toml there holds the server's settings.
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    env = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_UI_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    with log.open("wb") as output:
        process = start_tied(command, env=env, cwd=Path.cwd(), output=output)
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not is_healthy(url):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise ConfigError(
                    Code.PREFECT_UNREACHABLE, f"the Prefect server did not start; the end of {log}:\n{tail}"
                )
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
