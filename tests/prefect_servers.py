"""A Prefect server that a test can kill and start again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from packshot.sandbox.child import start_tied
from packshot.sandbox.ports import free_ports
from packshot.sandbox.prefect_server import is_healthy
from tests.fixtures_prefect import eventually
from tests.fixtures_shop import ROOT


class Server:
    """A Prefect server of our own that can be killed and started again, with its data and its port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}/api"
        home.mkdir()
        self.start()

    def start(self, **settings: str) -> None:
        """With further ``settings``: environment variables."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        env = os.environ | {"PREFECT_HOME": str(self.home), "PREFECT_API_URL": self.url} | settings
        with (self.home / "server.log").open("ab") as log:
            self.process = start_tied(command, env=env, cwd=ROOT, output=log)
        eventually(lambda: is_healthy(self.url), 120)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
