"""A real Prefect worker, and flows deployed for it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.workers.process import ProcessWorker

from tests.fixtures_prefect import PrefectApi
from tests.fixtures_shop import ROOT
from tests.processes import in_background


def post(prefect: PrefectApi, where: str, **body: Any) -> Any:
    return prefect.send("POST", where, body).json()


def deployed(prefect: PrefectApi) -> tuple[str, str]:
    """(work pool, deployment): catalog-imaging as `prefect deploy` registers it."""
    pool = f"pool-{uuid.uuid4().hex[:8]}"
    template = ProcessWorker.get_default_base_job_template()
    post(prefect, "work_pools/", name=pool, type="process", base_job_template=template)
    flow = post(prefect, "flows/", name="catalog-imaging")
    deployment = post(
        prefect, "deployments/", name=pool, flow_id=flow["id"], work_pool_name=pool, path=str(ROOT),
        entrypoint="flows/catalog_imaging.py:catalog_imaging",
    )  # fmt: skip
    return pool, deployment["id"]


@contextmanager
def worker(
    prefect: PrefectApi, pool: str, log: Path, cwd: Path = ROOT, limit: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process worker of the pool, with a PREFECT_HOME of its own beside its log."""
    env = os.environ | {
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(log.parent / "worker"),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    command += ["--limit", str(limit)] if limit else []
    with in_background(command, log, cwd=cwd, env=env) as process:
        yield process
