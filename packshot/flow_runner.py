"""Run the flow from the command line, in this process, on a real Prefect server.

The flows are project code next to the package: they are imported from the current folder, and only when asked for.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

from packshot.errors import Code, ConfigError, PackshotError
from packshot.options import RunOptions
from packshot.report import Report, RunFailed
from packshot.run import preflight, ready_engine
from packshot.sandbox.prefect_server import is_healthy, prefect_server
from packshot.settings import Settings
from packshot.stopping import SWITCH
from packshot.terminal import live_progress

FLOW = "flows.catalog_imaging"


def run_flow(settings: Settings, options: RunOptions) -> Report:
    """Check the input, run the flow, and return its report.

    Raises:
        PackshotError: nothing was begun, and the message says why.
    """
    root = project_folder()
    preflight(settings, options)
    engine = ready_engine(settings)
    with SWITCH.armed(settings.drain), prefect_server(settings.home) as api, live_progress(engine):
        try:
            state = load_flow(root)(options)
        except Exception as error:
            if is_healthy(api):
                raise
            message = f"the Prefect server at {api} went away; what was made until then is safe, so run again"
            raise PackshotError(Code.PREFECT_UNREACHABLE, message) from error
    result = state.result(raise_on_failure=False)
    if isinstance(result, Report):
        return result
    if isinstance(result, RunFailed):
        return result.report
    if isinstance(result, PackshotError):
        raise result
    raise PackshotError(Code.UNEXPECTED, f"the flow ended as {state.name}: {state.message}")


def project_folder() -> Path:
    """The current folder, if it is a checkout.

    Raises:
        ConfigError: it holds no flows.
    """
    root = Path.cwd()
    if not (root / "flows" / "catalog_imaging.py").is_file():
        raise ConfigError(
            Code.PROJECT_MISSING,
            f"{root} holds no flows/catalog_imaging.py: run this in the project's folder, which has flows/ and tasks/",
        )
    return root


def load_flow(root: Path) -> Any:
    """The function that runs this project's flow in this process."""
    # Our own progress and report say what Prefect's log lines would; the UI has them all. An explicit setting wins.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    run_here = importlib.import_module(FLOW).run_here
    logging.getLogger("prefect.events").setLevel(logging.ERROR)
    return run_here
