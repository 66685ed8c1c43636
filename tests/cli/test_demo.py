"""`packshot demo`, as on a fresh machine: a copy of the project, no settings, no terminal, real servers of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from PIL import Image
from sqlalchemy import inspect

from packshot.db.engine import open_engine
from packshot.db.queries import assets
from packshot.settings import PREFIX
from tests.fixtures_prefect import eventually
from tests.fixtures_shop import ROOT
from tests.processes import alive, descendants

Processes = set[psutil.Process]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody who clones the project has."""
    folder = tmp_path_factory.mktemp("project")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def demo(project: Path, *arguments: str) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "PREFECT_"))}
    return subprocess.Popen(
        [Path(sys.executable).parent / "packshot", "demo", "--exit", *arguments],
        # The user's own settings must not matter: a server that is not there, a key that is worth money.
        env=env | {"PACKSHOT_APIYI_KEY": "sk-precious", "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        cwd=project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def watched(process: subprocess.Popen[str]) -> tuple[str, str, Processes]:
    """(standard output, standard error, every process that it started) when it has ended."""
    children: Processes = set()
    deadline = time.monotonic() + 150
    try:
        while process.poll() is None and time.monotonic() < deadline:
            children |= descendants(process.pid)
            time.sleep(0.2)
    finally:
        process.kill()
        out, err = process.communicate()
    return out, err, children


def images(project: Path) -> list[dict[str, Any]]:
    engine = open_engine(f"sqlite:///{project / '.packshot/demo/packshot.db'}")
    return assets(engine) if inspect(engine).has_table("asset") else []


def wait_until_gone(children: Processes) -> None:
    eventually(lambda: not alive(children), 10)


# In this order: a demo that is killed, one that ends what the first began, and one that finds all of it done.
def test_a_killed_demo_leaves_no_server_behind(project: Path) -> None:
    process = demo(project)
    try:
        database = project / ".packshot/demo/packshot.db"
        eventually(lambda: process.poll() is None and database.exists() and images(project), 90)
        children = descendants(process.pid)
        assert len(children) >= 3  # an emulator, an S3 server, a Prefect server
    finally:
        process.kill()
        process.communicate()
    wait_until_gone(children)


def test_the_demo_makes_all_images_and_leaves_no_process(project: Path) -> None:
    before = {row["sha256"] for row in images(project)}
    out, err, children = watched(process := demo(project))
    assert process.returncode == 0, err
    assert out.startswith("27 of 27 images are permanent")
    assert "Traceback" not in err
    assert len(children) >= 3
    wait_until_gone(children)
    rows = images(project)
    assert (len(rows), len({row["product_key"] for row in rows}), len({row["shot"] for row in rows})) == (27, 9, 3)
    assert before
    assert before < {row["sha256"] for row in rows}  # what the killed one had made was not made again
    written = [path for path in (project / ".packshot").rglob("*") if path.is_file()]
    assert not [path for path in written if b"sk-precious" in path.read_bytes()]
    with Image.open(project / ".packshot/demo/contact-sheet.jpg") as sheet:
        assert min(sheet.size) > 500


def test_a_second_demo_buys_nothing(project: Path) -> None:
    out, err, children = watched(process := demo(project, "--json"))
    assert process.returncode == 0, err
    run = json.loads(out)
    assert (run["calls"], run["archived"], run["already"], run["spent_usd"]) == (0, 27, 27, 0)
    wait_until_gone(children)


def test_its_images_are_gone_with_its_server_and_come_back(project: Path) -> None:
    """The addresses stay: the same port, the same keys."""
    url = images(project)[0]["url"]
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)
    from packshot.sandbox.seaweed import Seaweed

    with Seaweed(project / ".packshot/demo/sandbox/s3"):
        assert requests.get(url, timeout=5).headers["Content-Type"] in ("image/png", "image/jpeg")


def test_a_demo_outside_of_the_project_starts_nothing(project: Path, tmp_path: Path) -> None:
    process = demo(tmp_path)
    out, err, _ = watched(process)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: project_missing: ")
    assert list(tmp_path.iterdir()) == []
