"""The packshot command as its users run it: exit codes, messages, and what lands on which stream."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from typer.testing import CliRunner

from packshot.cli import app, main
from packshot.db.queries import assets
from packshot.settings import PREFIX
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import ROOT, Shop, write_catalog
from tests.line import Line
from tests.processes import alive, descendants

PACKSHOT = str(Path(sys.executable).parent / "packshot")
Packshot = Callable[..., subprocess.CompletedProcess[str]]
NOWHERE = "http://127.0.0.1:9/api"  # the discard port: nothing listens there


def start(*arguments: object, cwd: Path = ROOT, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PACKSHOT, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def packshot(*arguments: object, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, cwd=cwd, **env)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Packshot:
    """The same command in this process: for the many, because most of a short command is Python starting."""

    def run(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["packshot", *map(str, arguments)])
            for name, value in env.items():
                patch.setenv(name, value)
            capfd.readouterr()
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return subprocess.CompletedProcess([str(a) for a in arguments], code, *capfd.readouterr())

    return run


def said(answer: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    """The JSON document that standard output is, whole."""
    assert answer.returncode == code, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return write_catalog(tmp_path / "spring.csv", 3)


# --- what the user can mend: exit code 2, one line, nothing bought --------------------------------------------
WRONG: dict[str, tuple[list[str], dict[str, str], list[str]]] = {
    # name: (arguments, variables, what the line says)
    "no key": ([], {"APIYI_KEY": ""}, ["PACKSHOT_APIYI_KEY is not set"]),
    "no bucket": ([], {"S3_BUCKET": ""}, ["not set: PACKSHOT_S3_BUCKET"]),
    "bucket that is not there": ([], {"S3_BUCKET": "no-such-bucket"}, ["bucket_missing", "no-such-bucket"]),
    "wrong secret": ([], {"S3_SECRET_ACCESS_KEY": "wrong"}, ["s3_denied", "PACKSHOT_S3_SECRET_ACCESS_KEY"]),
    "store that is away": ([], {"S3_ENDPOINT_URL": "http://127.0.0.1:9"}, ["s3_unreachable", "127.0.0.1:9"]),
    "bad variable": ([], {"CONCURRENCY": "0"}, ["PACKSHOT_CONCURRENCY", "'0'"]),
    "model without a price": ([], {"APIYI_MODEL": "no-model"}, ["no-model", "PACKSHOT_PRICES"]),
    "database we cannot use": ([], {"DATABASE_URL": "mysql://u:p@h/n"}, ["PACKSHOT_DATABASE_URL"]),
    "env file that is not there": ([], {"ENV_FILE": "/no/such.env"}, ["PACKSHOT_ENV_FILE=/no/such.env"]),
    "typo in the shot list": ([], {"SHOTS": "typo.yaml"}, ["shots_invalid", "aspect_ration"]),
    "no such shot": (["--shot", "frnt"], {}, ["frnt", "front"]),
    "limit below zero": (["--limit", "-1"], {}, ["limit", "-1"]),
    "too many calls at once": (["--concurrency", "999"], {}, ["concurrency", "500", "999"]),
    "mapping without a column": (["--map", "title"], {}, ["--map title", "TARGET=COLUMN"]),
    "no such format": (["--format", "xml"], {}, ["xml", "shopify"]),
    "no Prefect": ([], {}, ["prefect_unreachable", NOWHERE, "prefect server start"]),
}
FILES: dict[str, tuple[str | None, list[str]]] = {
    "no such file": (None, ["catalog_invalid", "catalog.csv does not exist"]),
    "empty file": ("", ["catalog_invalid", "catalog.csv", "empty"]),
    "no title column": ("id,colour\n1,red\n", ["catalog_invalid", "catalog.csv", "title"]),
}


def check_refused(shop: Shop, answer: subprocess.CompletedProcess[str], words: list[str]) -> None:
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout == ""
    *progress, line = answer.stderr.splitlines()
    assert set(progress) <= {"planning"}, answer.stderr  # said every five seconds, where reading takes so long
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert [secret for secret in shop.secrets if secret in line] == []
    assert shop.emulator.calls == 0


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_line(shop: Shop, catalog: Path, inside: Packshot, case: str) -> None:
    arguments, variables, words = WRONG[case]
    typo = shop.folder / "typo.yaml"
    typo.write_text(shop.shots.read_text().replace("aspect_ratio", "aspect_ration"))
    shop.set(**{name: value.replace("typo.yaml", str(typo)) for name, value in variables.items()})
    check_refused(shop, inside("run", catalog, *arguments, PREFECT_API_URL=NOWHERE), words)


@pytest.mark.parametrize("case", FILES)
def test_what_is_wrong_with_the_catalog_is_said_in_one_line(shop: Shop, inside: Packshot, case: str) -> None:
    text, words = FILES[case]
    path = shop.folder / "catalog.csv"
    if text is not None:
        path.write_text(text)
    check_refused(shop, inside("run", path, PREFECT_API_URL=NOWHERE), words)


def test_the_command_itself_says_it_in_one_line(shop: Shop, catalog: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        cases = {
            "PACKSHOT_APIYI_KEY is not set": pool.submit(packshot, "run", catalog, PACKSHOT_APIYI_KEY=""),
            "bucket_missing": pool.submit(packshot, "run", catalog, PACKSHOT_S3_BUCKET="no-such-bucket"),
            "no product with the key or SKU p-999": pool.submit(packshot, "run", catalog, "--product", "p-999"),
            "project_missing": pool.submit(packshot, "run", catalog, cwd=tmp_path),
        }
    for words, answer in cases.items():
        check_refused(shop, answer.result(), [words])


def test_an_option_of_the_wrong_kind_is_a_usage_error(shop: Shop, catalog: Path, inside: Packshot) -> None:
    answer = inside("run", catalog, "--limit", "many")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "--limit" in answer.stderr
    assert "Traceback" not in answer.stderr


# --- the good way ---------------------------------------------------------------------------------------------
def test_plan_run_and_look(shop: Shop, prefect: PrefectApi, catalog: Path, inside: Packshot) -> None:
    plan = inside("plan", catalog, PREFECT_API_URL=NOWHERE)
    assert plan.returncode == 0
    assert plan.stdout.splitlines()[0].endswith("3 images wanted, 0 are permanent, 3 to make for $0.27")
    facts = said(inside("plan", catalog, "--json", PREFECT_API_URL=NOWHERE))
    assert (facts["to_make"], facts["cost_usd"], facts["by_shot"]["front"]["images"]) == (3, 0.27, 3)
    assert shop.emulator.calls == 0

    with catalog.open("a") as file:
        file.write(",Nameless,Home\n")
    run = said(packshot("run", catalog, "--json"), 1)
    assert (run["state"], run["archived"], run["rejected"], run["spent_usd"]) == ("completed", 3, 1, 0.27)
    assert [reject["code"] for reject in run["rejects"]] == ["missing_key"]
    assert prefect.flow_run(run["flow_run_id"])["state_name"] == "CompletedWithFailures"

    text = inside("run", catalog)
    assert text.returncode == 1
    assert text.stdout.splitlines() == [
        "3 of 3 images are permanent (0 new); 1 refused in planning; 0 calls, $0.00",
        "products: 0 new, 0 changed, 3 the same, 0 gone",
    ]
    assert shop.emulator.calls == 3

    rows = said(inside("assets", "--json"))
    assert rows == json.loads(json.dumps(assets(shop.engine), default=str))
    assert [row["product_key"] for row in said(inside("assets", "--product", "p-002", "--json"))] == ["p-002"]
    sheet = shop.folder / "sheet.jpg"
    table = packshot("assets", "--contact-sheet", sheet, COLUMNS="40").stdout.splitlines()
    assert [line.split()[-1] for line in table] == ["URL", *(row["url"] for row in rows)]  # whole, in any window
    with Image.open(sheet) as image:
        assert image.format == "JPEG"

    assert [(row["id"], row["products_new"], row["products_same"]) for row in said(inside("runs", "--json"))] == [
        (2, 0, 3), (1, 3, 0),
    ]  # fmt: skip
    figures = [row["figures"] for row in said(inside("runs", "--json"))]
    assert figures[0] is None, "nothing was made"
    assert (figures[1]["images"], figures[1]["steps"]["call"]["times"]) == (3, 3)
    assert figures[1] == said(inside("runs", "1", "--json"))[0]["figures"]
    assert [line.split()[-2:] for line in inside("runs").stdout.splitlines()][:2] == [
        ["images/min", "busy"],
        ["-", "-"],
    ]
    shown = inside("runs", "1").stdout
    assert f"\n{figures[1]['images_a_minute']:.1f} images a minute, call slots busy" in shown
    assert figures[1]["advice"] in shown
    assert "provider (the call)" in shown
    assert inside("runs", "7").stdout == "There is no run 7.\n"
    assert [row["change"] for row in said(inside("diff", "--run", "1", "--json"))] == ["new"] * 3
    assert inside("diff").stdout == "Nothing changed in the catalog.\n"
    assert [row["line"] for row in said(inside("rejects", "--json"))] == [5]


def test_a_stopped_run_ends_with_3(shop: Shop, catalog: Path, inside: Packshot) -> None:
    answer = inside("run", catalog, "--max-cost", "0.1", "--concurrency", "1")
    assert answer.returncode == 3
    first, products, *rest = answer.stdout.splitlines()
    assert products == "products: 3 new, 0 changed, 0 the same, 0 gone"
    assert first.startswith("1 of 3 images are permanent (1 new); 2 held; 1 calls, $0.09. Stopped: ")
    assert len(rest) == 2
    assert all("held: p-00" in line and "budget_reached" in line and "raise the maximum cost" in line for line in rest)
    assert "Traceback" not in answer.stderr
    assert shop.emulator.calls == 1


# --- doctor, database, help -----------------------------------------------------------------------------------
def test_doctor_and_database(shop: Shop, inside: Packshot) -> None:
    upgraded = inside("db", "upgrade")
    assert upgraded.returncode == 0
    assert "packshot.db is at revision " in upgraded.stdout
    findings = said(packshot("doctor", "--json"))
    assert [finding for finding in findings if not finding["ok"] or finding["next_step"]] == []
    names = {finding["name"] for finding in findings}
    assert names >= {"API key", "model nano-banana-pro", "shot list", "database", "storage, write", "storage, public"}
    text = inside("doctor").stdout.splitlines()
    assert len(text) == len(findings)
    assert all(line.startswith("ok ") for line in text)
    assert shop.emulator.calls == 0


@pytest.mark.parametrize(
    ("variables", "mends"),
    [
        (
            {"APIYI_KEY": "sk-wrong", "S3_BUCKET": "no-such-bucket", "SHOTS": "/no/such.yaml"},
            ["PACKSHOT_APIYI_KEY", "correct the shot list", "PACKSHOT_S3_BUCKET", "prefect server start"],
        ),
        (
            {"APIYI_MODEL": "gemini-9", "S3_ENDPOINT_URL": "http://127.0.0.1:9", "PRICES": '{"gemini-9": 1}'},
            ["PACKSHOT_APIYI_MODEL", "PACKSHOT_S3_ENDPOINT_URL", "prefect server start"],
        ),
    ],
    ids=["key", "model"],
)
def test_doctor_says_what_mends_it(shop: Shop, inside: Packshot, variables: dict[str, str], mends: list[str]) -> None:
    shop.set(**variables)
    findings = said(inside("doctor", "--json", PREFECT_API_URL=NOWHERE), 2)
    steps = [finding["next_step"] for finding in findings if not finding["ok"]]
    assert all(steps)
    for mend in mends:
        assert [step for step in steps if mend in step], mend
    assert not [step for step in steps if "packshot doctor" in step]


def test_every_command_has_help() -> None:
    names = [[str(command.name or getattr(command.callback, "__name__", ""))] for command in app.registered_commands]
    for name in [[], *names, ["db"], ["db", "upgrade"]]:
        shown = CliRunner().invoke(app, [*name, "--help"])
        assert shown.exit_code == 0, name
        assert "Usage:" in shown.output, name
    assert len(names) > 8


# --- the sandbox ----------------------------------------------------------------------------------------------
@pytest.fixture
def bare(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings at all but the folder, as on a fresh machine."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PACKSHOT_HOME", str(shop.home))
    return shop.folder


def test_the_sandbox_serves_another_process_until_it_is_told_to_end(bare: Path, inside: Packshot) -> None:
    env_file = bare / "sandbox.env"
    process = start("sandbox", "--env-file", env_file, "--latency", "0", "0", cwd=bare)
    try:
        assert process.stdout
        assert process.stdout.readline() == f"PACKSHOT_ENV_FILE={env_file}\n"
        children = descendants(process.pid)
        assert len(children) >= 2
        assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
        findings = said(packshot("doctor", "--json", cwd=bare, PACKSHOT_ENV_FILE=str(env_file)))
        assert len(findings) >= 8

        second = packshot("sandbox", cwd=bare)
        assert second.returncode == 2
        assert "already runs" in second.stderr
        occupied = inside("sandbox", "--env-file", env_file)
        assert (occupied.returncode, "exists already" in occupied.stderr) == (2, True)

        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert alive(children) == set()


# --- what happens on the way ----------------------------------------------------------------------------------
def test_two_runs_at_once_buy_each_image_once(shop: Shop, tmp_path: Path) -> None:
    shop.emulator.latency = 0.4
    shop.set(CONCURRENCY=2)
    catalog = write_catalog(tmp_path / "c.csv", 16)
    both = [start("run", catalog, "--json") for _ in range(2)]
    answers = [(process, *process.communicate(timeout=90)) for process in both]
    assert all(process.returncode in (0, 1) for process, _, _ in answers)
    runs = [json.loads(out) for _, out, _ in answers]
    assert shop.emulator.calls == sum(run["calls"] for run in runs) == len(assets(shop.engine)) == 16
    for run in runs:
        assert run["planned"] == run["archived"] + run["failed"] + run["held"] == 16
        assert {row["code"] for row in run["unfinished"]} <= {"in_progress"}
    assert "ERROR" not in "".join(err for _, _, err in answers)


def test_a_prefect_server_that_goes_away_does_not_hold_up_the_images(
    shop: Shop, prefect: PrefectApi, tmp_path: Path
) -> None:
    shop.emulator.latency = 0.8
    shop.set(CONCURRENCY=1)
    port = urlsplit(prefect.url).port
    assert port
    with Line(port) as line:
        process = start("run", write_catalog(tmp_path / "c.csv", 8), "--json", PREFECT_API_URL=f"{line.url}/api")
        eventually(lambda: shop.emulator.calls >= 2, 30)
        line.cut()
        eventually(lambda: len(assets(shop.engine)) == 8, 30)
        assert process.poll() is None
        line.mend()
        out, _ = process.communicate(timeout=90)
    assert (process.returncode, json.loads(out)["archived"]) == (0, 8)
