"""`packshot demo`: the whole way on this machine, without a key. A catalog becomes objects, rows and a flow run."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from rich.console import Console

from packshot.catalog import CatalogReader
from packshot.db.engine import open_engine
from packshot.db.queries import assets
from packshot.flow_runner import project_folder, run_flow
from packshot.inputs.address import read_address
from packshot.inputs.sources import sources_of
from packshot.options import RunOptions
from packshot.plan import catalog_of
from packshot.report import Report
from packshot.run_sheet import save_contact_sheet
from packshot.sandbox.prefect_server import prefect_server
from packshot.sandbox.sandbox import Sandbox, write_env_file
from packshot.settings import ENV_FILE, PREFIX, Settings, load_settings
from packshot.storage import ObjectStore
from packshot.terminal import err

HOME = Path(".packshot/demo")
SHEET = HOME / "contact-sheet.jpg"
CONCURRENCY = 8


def run_demo(catalog: str, stay: bool, show: Console) -> Report:
    """Start the sandbox and a Prefect server, run the flow on the example catalog, show where everything is.

    ``stay``: keep it all up until Ctrl-C. What was made stays in any case, so a second demo makes nothing again.
    ``show`` gets the results.
    """
    project_folder()
    _forget_own_settings()
    chosen = catalog_of(RunOptions(catalog=catalog))
    CatalogReader(sources_of(chosen.source, Settings(_env_file=None, home=HOME)), chosen.options)
    err.print("Starting an S3 server, an emulator of the image API and a Prefect server, all on this machine ...")
    with Sandbox(HOME / "sandbox") as sandbox, prefect_server(HOME, own=True) as api:
        settings = _demo_settings(sandbox)
        report = run_flow(settings, RunOptions(catalog=catalog))
        made = assets(open_engine(settings.db_url))
        save_contact_sheet(ObjectStore(settings), SHEET, f"Packshot: {read_address(catalog).name}", made)
        show.print(report.headline)
        show.print(f"Contact sheet  {SHEET}", highlight=False)
        show.print(f"Images         {ENV_FILE}={HOME / 'demo.env'} packshot assets", highlight=False)
        if stay:
            show.print(f"Prefect UI     {api.removesuffix('/api')}/runs", highlight=False)
            show.print(f"S3             {sandbox.store.public_base_url}", highlight=False)
            show.print("Everything stays up until Ctrl-C.")
            _wait_for_ctrl_c()
    return report


def _forget_own_settings() -> None:
    """Nothing of the user's own settings counts in the demo: it must not touch their database, bucket or key."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]


def _demo_settings(sandbox: Sandbox) -> Settings:
    variables = sandbox.settings() | {
        "PACKSHOT_HOME": str(HOME.absolute()),
        "PACKSHOT_CONCURRENCY": str(CONCURRENCY),
    }
    path = HOME / "demo.env"
    path.unlink(missing_ok=True)
    write_env_file(path, variables)
    os.environ[ENV_FILE] = str(path.absolute())
    return load_settings()


def _wait_for_ctrl_c() -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
