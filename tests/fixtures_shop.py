"""A shop with everything real: an image API on a socket, an S3 server, a database, settings in the environment."""

from __future__ import annotations

import csv
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import Engine

from packshot.db.engine import open_engine
from packshot.options import RunOptions
from packshot.report import Report, RunFailed
from packshot.sandbox.emulator import Emulator
from packshot.sandbox.seaweed import Seaweed
from packshot.settings import PREFIX, Settings, load_settings
from tests.fixtures_prefect import PrefectApi

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples/catalog/products.csv"
KEY = "sk-test-9f2c71d0a4b84e6e"
SYSTEM_TOKEN = "token-test-5b0d3c55e1f04a11"

# One small picture of each product: 1K is the least the API makes.
SHOTS = """
version: 1
shots:
  - name: front
    aspect_ratio: "1:1"
    image_size: 1K
    references: 1
    prompt: "{{ facts }} A studio photo. Output the final image only."
"""


class Shop:
    """The environment of one test's runs. Waits before a retry are too short to notice."""

    def __init__(self, folder: Path, emulator: Emulator, seaweed: Seaweed, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.emulator = emulator
        self.home = folder / "home"
        self.shots = folder / "shots.yaml"
        self.shots.write_text(SHOTS)
        self.secrets = [KEY, SYSTEM_TOKEN, seaweed.secret_access_key]
        self.prefix = f"pub/t-{uuid.uuid4().hex[:12]}"
        self._patch = patch
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            patch.delenv(name)
        no_file = folder / "no.env"  # a developer's own .env is none of ours
        no_file.touch()
        self.set(**{name.removeprefix(PREFIX): value for name, value in seaweed.settings().items()})
        self.set(
            ENV_FILE=no_file,
            HOME=self.home,
            SHOTS=self.shots,
            S3_PREFIX=self.prefix,
            APIYI_BASE_URL=emulator.base_url,
            APIYI_KEY=KEY,
            APIYI_SYSTEM_TOKEN=SYSTEM_TOKEN,
            DOWNLOAD_HOSTS="127.0.0.1",
            DOWNLOAD_CIDRS="127.0.0.0/8",
            CONCURRENCY=8,
            PROVIDER_LIMIT=f"provider-{uuid.uuid4().hex[:8]}",  # the Prefect server is shared, the provider is not
            PROVIDER_SLOTS=200,
            BACKOFF="0.05",
            RETRY='{"bad_gateway": {"waits": [0.05]}}',
            PAUSE="0.05",
            STALL_GRACE="0.2",
        )

    def set(self, **variables: object) -> None:
        """Set PACKSHOT_ variables, for this process and the commands it starts."""
        for name, value in variables.items():
            self._patch.setenv(PREFIX + name, str(value))

    def unset(self, *names: str) -> None:
        for name in names:
            self._patch.delenv(PREFIX + name)

    @property
    def settings(self) -> Settings:
        return load_settings()

    @property
    def engine(self) -> Engine:
        return open_engine(self.settings.db_url)

    def run(self, catalog: Path | str = EXAMPLE, **options: Any) -> Report:
        """Run the flow in this process, on the session's Prefect server."""
        from flows.catalog_imaging import catalog_imaging

        state = catalog_imaging(RunOptions(catalog=str(catalog), **options), return_state=True)
        report = state.result(raise_on_failure=False)
        if isinstance(report, RunFailed):
            return report.report
        if isinstance(report, BaseException):
            raise report
        assert isinstance(report, Report)
        return report


@contextmanager
def opened_shop(folder: Path, seaweed: Seaweed, patch: pytest.MonkeyPatch, **emulator: Any) -> Iterator[Shop]:
    """A shop in ``folder``; the named arguments are the emulator's."""
    folder.mkdir(exist_ok=True)
    with Emulator(**{"key": KEY, "system_token": SYSTEM_TOKEN, "latency": 0.01, **emulator}) as api:
        yield Shop(folder, api, seaweed, patch)


class OpenShop(Protocol):
    def __call__(self, **emulator: Any) -> Shop: ...


@pytest.fixture
def open_shop(
    seaweed: Seaweed, prefect: PrefectApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenShop]:
    """Opens a shop; arguments are the emulator's. Each has a folder of its own; the latest one's settings count."""
    assert prefect
    with ExitStack() as stack:
        numbers = count()
        yield lambda **emulator: stack.enter_context(
            opened_shop(tmp_path / f"shop-{next(numbers)}", seaweed, monkeypatch, **emulator)
        )


@pytest.fixture
def shop(open_shop: OpenShop) -> Shop:
    return open_shop()


def write_catalog(path: Path, number: int) -> Path:
    """A plain catalog of so many products: p-001 and so on."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "title", "category"])
        rows.writerows([f"p-{n:03d}", f"Product {n}", "Home"] for n in range(1, number + 1))
    return path
