"""Who may import whom. The rules of the design, checked against the syntax trees."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "packshot").rglob("*.py"))
ABOVE = sorted([*(ROOT / "flows").glob("*.py"), *(ROOT / "tasks").glob("*.py")])

SHARED = {"packshot.catalog.model", "packshot.shots.model", "packshot.apiyi.model", "packshot.errors"}
"""Small data types that the parts hand to each other."""
PARTS = {
    # what each may know beside itself, SHARED and packshot.settings
    "catalog": {"packshot.did_you_mean", "packshot.yaml_file"},
    "shots": {"packshot.did_you_mean", "packshot.yaml_file"},
    "apiyi": {"packshot"},  # the version, for User-Agent
    "storage": {"packshot.image_check"},  # which image types there are
    "db": {"packshot.policy", "packshot.worker"},
}


def imports(path: Path) -> Iterator[str]:
    """Every module a file names in an import statement, also inside functions and under TYPE_CHECKING."""
    tree = ast.parse(path.read_text("utf-8"), str(path))
    constants = {
        ast.unparse(node.targets[0]): node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            named = node.args[0]
            yield str(named.value if isinstance(named, ast.Constant) else constants[ast.unparse(named)])


def top(name: str) -> str:
    return name.partition(".")[0]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_files_are_found() -> None:
    assert len(PACKAGE) > 50
    assert {path.name for path in ABOVE} >= {"catalog_imaging.py", "make_image.py"}


@pytest.mark.parametrize("path", PACKAGE, ids=relative)
def test_the_package_imports_neither_prefect_nor_what_stands_on_it(path: Path) -> None:
    # The command line starts the flow: the one place where the package reaches up, at the moment of the run.
    starter = relative(path) == "packshot/flow_runner.py"
    forbidden = {"prefect", "tasks", "tests", "benchmarks"} | (set() if starter else {"flows"})
    assert not {name for name in imports(path) if top(name) in forbidden}


def test_importing_the_whole_package_loads_no_prefect() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE
        if path.name != "__main__.py" and "migrations" not in path.parts
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n    importlib.import_module(name)\n"
        "found = [name for name in sys.modules if name.partition('.')[0] in ('prefect', 'flows', 'tasks')]\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ABOVE, ids=relative)
def test_flows_and_tasks_leave_the_work_to_the_package(path: Path) -> None:
    forbidden = {
        "sqlalchemy",
        "sqlmodel",
        "alembic",
        "requests",
        "httpx",
        "urllib",
        "boto3",
        "botocore",
        "jinja2",
        "PIL",
    }
    assert not {name for name in imports(path) if top(name) in forbidden}


@pytest.mark.parametrize("path", sorted((ROOT / "tasks").glob("*.py")), ids=relative)
def test_tasks_know_no_flow(path: Path) -> None:
    assert not {name for name in imports(path) if top(name) == "flows"}


@pytest.mark.parametrize("part", list(PARTS))
def test_the_parts_know_nothing_of_each_other(part: str) -> None:
    allowed = SHARED | PARTS[part] | {"packshot.settings"}
    files = [path for path in PACKAGE if path.relative_to(ROOT / "packshot").parts[0] == part]
    assert files
    wrong = {
        f"{relative(path)}: {name}"
        for path in files
        for name in imports(path)
        if top(name) == "packshot" and not name.startswith(f"packshot.{part}") and name not in allowed
    }
    assert not wrong


@pytest.mark.parametrize("ground", ["settings", "errors"])
def test_the_ground_stands_on_nothing(ground: str) -> None:
    found = {name for name in imports(ROOT / "packshot" / f"{ground}.py") if top(name) == "packshot"}
    assert found <= {"packshot.errors"} - {f"packshot.{ground}"}


def test_a_flow_file_shares_its_name_with_no_module() -> None:
    """Prefect puts a flow's folder on the path: flows/requests.py would hide the library."""
    names = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    assert not names & set(sys.stdlib_module_names)
    assert not {name for path in PACKAGE + ABOVE for name in map(top, imports(path))} & names
