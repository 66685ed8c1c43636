"""README and changelog: what they say can be done is done here, in a copy of the project and on the sandbox."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import typer.main
import yaml
from sqlalchemy import text

import packshot
from packshot.catalog.options import KEY_PARTS, TARGETS, FormatName
from packshot.cli import app
from packshot.db.engine import head_revision, open_engine
from packshot.db.queries import runs
from packshot.db.types import JobState
from packshot.inputs.catalog_file import load_catalog_file
from packshot.log_match import Kind
from packshot.options import RunOptions
from packshot.run import plan_only
from packshot.settings import ENV_FILE, PREFIX, Settings
from packshot.settings_table import settings_table, with_table
from packshot.storage.profiles import PROFILES
from tests.fixtures_prefect import PrefectApi, eventually
from tests.processes import in_background

pytestmark = pytest.mark.timeout(600)  # the first test starts Python some fifty times

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CATALOGS = (ROOT / "docs/catalogs.md").read_text("utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
EVERYTHING = README + CATALOGS + CHANGELOG
BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^>\n]+) -->\n)?^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)
EXAMPLE = "examples/catalog/products.csv"
STAYS_UP = "stays up"  # the command runs until Ctrl-C: a test of its own starts and stops it

# One small picture of each product, so that the page's own commands take seconds.
SHOTS = """
version: 1
shots:
  - {name: packshot, prompt: "{{ facts }} A packshot.", aspect_ratio: "1:1", image_size: 1K, references: 1}
"""


@dataclass(frozen=True)
class Block:
    """A fenced block, with the HTML comment on the line before it."""

    language: str
    body: str
    note: str


def blocks_of(page: str) -> list[Block]:
    return [Block(m["language"], m["body"], m["note"] or "") for m in BLOCK.finditer(page)]


BLOCKS = blocks_of(README)


def blocks(language: str, note: str = "", among: Sequence[Block] = BLOCKS) -> list[str]:
    return [block.body for block in among if (block.language, block.note) == (language, note)]


# --- the page, run -------------------------------------------------------------------------------------------------
class Checkout:
    """A copy of the project with the sandbox's ``.env``; commands run in it as a reader's would."""

    def __init__(self, folder: Path, prefect_url: str) -> None:
        self.folder = folder
        self.home = folder / ".packshot" / "sandbox"  # as the .env says
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self.env = kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "PREFECT_API_URL": prefect_url,
            "PREFECT_HOME": str(folder / "prefect-client"),
            "PACKSHOT_CONCURRENCY": "9",
            "PACKSHOT_SHOTS": str(folder / "small.yaml"),
            "NO_COLOR": "1",
        }

    def run(self, script: str) -> str:
        """Standard output of a script that has to succeed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"exit code {done.returncode} of:\n{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def started(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that stays up, for as long as the block runs."""
        command_line = ["bash", "-c", f"exec {command}"]
        with in_background(command_line, self.folder / "stays-up.log", cwd=self.folder, env=self.env) as process:
            yield process


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, prefect: PrefectApi) -> Iterator[Checkout]:
    folder = tmp_path_factory.mktemp("readme") / "packshot"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests"))
    (folder / "small.yaml").write_text(SHOTS)
    (folder / ".venv").symlink_to(sys.prefix)  # what `make demo` makes
    checkout = Checkout(folder, prefect.url)
    command = next(body.strip() for body in blocks("bash", STAYS_UP) if body.startswith("packshot sandbox"))
    with checkout.started(f"{command} --latency 0.1 0.2") as sandbox:
        deadline = time.monotonic() + 60
        while not ((folder / ".env").exists() and (folder / ".env").read_text()):
            assert sandbox.poll() is None, (folder / "stays-up.log").read_text()
            assert time.monotonic() < deadline, "the sandbox did not write .env"
            time.sleep(0.1)
        yield checkout


@pytest.fixture(scope="module")
def outputs(checkout: Checkout) -> dict[str, str]:
    """What each command block printed. Blocks that make something run in the order of the page; those that only look
    run beside them, because starting Python is most of their work. Of make only whether it would know what to do."""
    with ThreadPoolExecutor(2) as pool:
        running: dict[str, Future[str]] = {}
        for body in blocks("bash") + blocks("bash", among=blocks_of(CATALOGS)):
            running[body] = pool.submit(checkout.run, re.sub(r"^make ", "make -n ", body, flags=re.MULTILINE))
            if re.search(r"^(packshot (run|db)|python) ", body, re.MULTILINE):
                running[body].result()
        return {body: future.result() for body, future in running.items()}


def printed(outputs: dict[str, str], words: str) -> str:
    found = [output for body, output in outputs.items() if f"\n{words}" in f"\n{body}"]
    assert len(found) == 1, f"{len(found)} blocks hold a line that begins with {words!r}"
    return " ".join(found[0].split())  # where a line is wrapped says nothing


def test_the_commands_do_what_the_page_says(outputs: dict[str, str], checkout: Checkout, prefect: PrefectApi) -> None:
    assert f"at revision {head_revision()}" in printed(outputs, "packshot doctor")
    assert "FAIL" not in printed(outputs, "packshot doctor")
    assert "9 images wanted" in printed(outputs, f"packshot plan {EXAMPLE}\n")
    assert "3 of 3 images are permanent (3 new)" in printed(outputs, f"packshot run {EXAMPLE} --limit 3")
    assert "9 of 9 images are permanent (6 new)" in printed(outputs, f"packshot run {EXAMPLE} --max-cost 20")
    assert "4 images wanted" in printed(outputs, "packshot plan examples/catalog/products_plain.csv")
    assert "10 images wanted" in printed(outputs, f"packshot plan {EXAMPLE} --variants-by Color")
    assert (checkout.folder / "sheet.jpg").read_bytes().startswith(b"\xff\xd8")
    # The last run was the flow itself, without the command line: nothing was left to buy.
    made = runs(open_engine(f"sqlite:///{checkout.home / 'packshot.db'}"))
    assert [(run["calls"], run["archived"]) for run in made] == [(0, 9), (6, 9), (3, 3)]
    assert eventually(lambda: prefect.flow_run(made[0]["flow_run_id"])["state_type"] == "COMPLETED")


def test_the_queries_run(outputs: dict[str, str], checkout: Checkout) -> None:
    assert outputs
    with open_engine(f"sqlite:///{checkout.home / 'packshot.db'}").connect() as connection:
        pictures, accounts = [connection.execute(text(query)).mappings().all() for query in blocks("sql")]
    assert [row["product_key"] for row in pictures][:2] == ["canvas-backpack", "ceramic-vase"]
    assert len(pictures) == 9
    assert {row["dollars"] for row in pictures} == {0.09}
    assert [(row["calls"], row["archived"]) for row in accounts] == [(0, 9), (6, 9), (3, 3)]


def test_the_python_code_runs(outputs: dict[str, str], checkout: Checkout) -> None:
    assert outputs
    (code,) = blocks("python")
    (checkout.folder / "ask.py").write_text(code)
    title, shot, url, sha256 = checkout.run("python ask.py").rsplit("\n", 1)[0].rsplit(" ", 3)
    assert (title, shot) == ("Fjord Canvas Backpack", "packshot")
    assert re.search(rf"/{sha256[:16]}\.(png|jpg)$", url)


def test_the_shot_list_works(tmp_path: Path) -> None:
    (shots,) = blocks("yaml")
    (tmp_path / "own.yaml").write_text(shots)
    settings = Settings(_env_file=None, home=tmp_path / "home", shots=tmp_path / "own.yaml", apiyi_format="gemini")
    plan = plan_only(settings, RunOptions(catalog=str(ROOT / EXAMPLE)))
    assert (dict(plan.by_shot), [reject.code for reject in plan.first_rejects]) == ({"on-oak": 3}, ["not_selected"])


def test_the_deployments_can_be_served(checkout: Checkout, prefect: PrefectApi) -> None:
    with checkout.started("packshot serve"):
        found = eventually(lambda: prefect.filter("deployments", deployments={"name": {"any_": ["on-demand"]}}), 60)
    for deployment in yaml.safe_load((ROOT / "deployments/prefect.yaml").read_text())["deployments"]:
        assert re.search(rf"^\| `[a-z-]+/{deployment['name']}` \|", README, re.MULTILINE), deployment["name"]
    options = found[0]["parameter_openapi_schema"]["definitions"]["RunOptions"]["properties"]
    assert {"catalog", "mapping", "shots", "limit", "max_cost_usd", "plan_only"} <= set(options)


# --- the page, read ------------------------------------------------------------------------------------------------
def test_what_stays_up_is_started_by_a_test() -> None:
    """Server and worker are started by the tests of the flows, ``packshot serve`` by its own and by the one above."""
    commands = [body.strip() for body in blocks("bash", STAYS_UP)]
    assert [command.split(" --")[0] for command in commands] == [
        "packshot sandbox",
        "prefect server start",
        "prefect worker start",
        "packshot serve",
    ]
    assert {block.note for block in BLOCKS} == {"", STAYS_UP}
    assert {block.language for block in BLOCKS} == {"bash", "ini", "yaml", "sql", "python", "text"}


def test_the_settings_table_is_up_to_date() -> None:
    assert with_table(README) == README, "run: python -m packshot.settings_table README.md"


def test_the_settings_table_holds_every_setting() -> None:
    rows = settings_table().splitlines()
    assert len(rows) == 2 + len(Settings.model_fields) + 1
    assert "| `PACKSHOT_CONCURRENCY` | `5` | Calls in flight" in settings_table()
    assert "| `PACKSHOT_S3_ACCESS_KEY_ID` |  | Access key of the bucket; a secret |" in rows
    assert all(row.count("|") - row.count("\\|") == 4 for row in rows)
    with pytest.raises(ValueError, match="markers"):
        with_table("no markers here")


def test_every_variable_on_the_page_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {ENV_FILE}
    assert set(re.findall(rf"{PREFIX}[A-Z0-9_]+", EVERYTHING)) - {f"{PREFIX}S3_"} <= known


def commands() -> dict[str, click.Command]:
    """Every command by its words: "plan", "db upgrade"."""
    found: dict[str, click.Command] = {}
    top: Any = typer.main.get_command(app)
    for name, command in top.commands.items():
        inner = getattr(command, "commands", {})
        found |= {f"{name} {word}": below for word, below in inner.items()}
        if not inner or command.invoke_without_command:
            found[name] = command
    return found


def test_the_page_and_the_command_line_know_the_same_commands() -> None:
    code = "\n".join([*re.findall(r"`([^`\n]+)`", BLOCK.sub("", README)), *blocks("bash"), *blocks("bash", STAYS_UP)])
    mentioned: set[str] = set()
    for line in re.findall(r"(?:^|\s)packshot ([a-z].*)", code.replace("\\\n", " ")):
        words = line.split()
        name = next((n for n in (" ".join(words[:2]), words[0]) if n in commands()), "")
        assert name, f"packshot {line}: no such command"
        options = {option for parameter in commands()[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, f"packshot {line}: no such option"
        mentioned.add(name)
    assert mentioned == set(commands())


def test_the_lists_on_the_page_are_whole() -> None:
    first_cells = set(re.findall(r"^\| `?([\w-]+)`? \|", README, re.MULTILINE))
    assert set(PROFILES) <= first_cells
    assert set(JobState) <= first_cells
    assert set(Kind) <= first_cells
    assert {"0", "1", "2", "3"} <= first_cells
    assert all(f"`{target}`" in README for target in TARGETS)


def test_the_page_on_catalogs_is_whole_and_its_examples_are_read(tmp_path: Path) -> None:
    for name in get_args(FormatName):
        assert name == "auto" or f"`{name}`" in CATALOGS, name
    examples = blocks("yaml", among=blocks_of(CATALOGS))
    assert len(examples) == 2
    for example in examples:
        path = tmp_path / "catalog.yaml"
        path.write_text(example)
        assert load_catalog_file(path).source
    assert all(f"`{part}`" in CATALOGS for part in KEY_PARTS)


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", README + CHANGELOG)
    assert len(links) > 8
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for link in links:
        assert link.startswith("https://") or link in anchors or (ROOT / link).exists(), link
    assert (ROOT / "docs/contact-sheet.jpg").stat().st_size < 200_000


def test_the_layout_is_that_of_the_project() -> None:
    layout = next(block.body for block in BLOCKS if block.body.startswith("flows/"))
    for line in layout.splitlines():
        folder = line.split()[0]
        assert (ROOT / ("packshot" if line.startswith(" ") else "") / folder).is_dir(), line


def test_the_pages_name_no_machine() -> None:
    assert not re.findall(r"(?:/work|/tmp|/home|/root|/Users|/var)/\S*", EVERYTHING)


def test_the_changelog_is_about_this_version() -> None:
    latest = re.search(r"^## \[([\d.]+)\]", CHANGELOG, re.MULTILINE)
    assert latest
    assert latest[1] == packshot.__version__
