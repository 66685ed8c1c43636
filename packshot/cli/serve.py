"""`packshot serve`: start runs from the Prefect UI and by schedule on one machine, without a work pool or a worker."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import typer

from packshot.errors import Code, ConfigError
from packshot.flow_runner import project_folder
from packshot.sandbox.child import start_tied
from packshot.settings import load_settings

SERVER = "deployments.serve"  # what knows Prefect, beside the package


def serve() -> None:
    """Run what is started in the Prefect UI or by schedule, on this machine, until Ctrl-C."""
    load_settings()  # what is wrong with them is said before anything is started
    root = project_folder()
    if not (root / "deployments" / "serve.py").is_file():
        raise ConfigError(Code.PROJECT_MISSING, f"{root} holds no deployments/serve.py, which this command starts")
    # In a session of its own: a Ctrl-C in the terminal would reach the flows too, and break off paid calls.
    process = start_tied(
        [sys.executable, "-m", SERVER],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        cwd=root,
        output=sys.stdout.buffer,
    )

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hand_on)
    raise typer.Exit(process.wait())
