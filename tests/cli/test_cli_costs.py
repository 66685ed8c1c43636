"""``packshot costs`` as its users run it, after a real run with real failures."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from packshot.cli import app, main
from tests.fixtures_shop import OpenShop, Shop

Packshot = Callable[..., subprocess.CompletedProcess[str]]
RECENTLY = ["--since", (datetime.now(UTC) - timedelta(hours=1)).isoformat()]


@pytest.fixture
def packshot(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Packshot:
    """The command in this process."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["packshot", *arguments])
            capfd.readouterr()
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


def said(answer: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    """The JSON document that standard output is, whole."""
    assert answer.returncode == code, answer.stderr
    return json.loads(answer.stdout)


def table(answer: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    assert answer.returncode == 0, answer.stderr
    return list(csv.DictReader(io.StringIO(answer.stdout)))


@pytest.fixture
def run_shop(open_shop: OpenShop) -> Callable[..., Shop]:
    """A shop after a run over three products, whose first calls ended in these ways."""

    def run(*faults: str) -> Shop:
        shop = open_shop()
        shop.set(ON_NO_IMAGE="hold", CONCURRENCY=1, MAX_TRIES=3)
        catalog = shop.folder / "spring.csv"
        catalog.write_text('id,title\n=1+1,"A mug"\n+2,"A bowl"\np-3,"A vase"\n')
        for fault in faults:
            shop.emulator.queue(fault)
        shop.run(catalog)
        return shop

    return run


def test_the_costs_of_a_run_by_everything(run_shop: Callable[..., Shop], packshot: Packshot) -> None:
    run_shop("none", "empty_data", "rate_limited")
    [row] = said(packshot("costs", "--json"))
    assert row == row | {
        "run": 1, "calls": 4, "images": 2, "not_billed": 1, "billed_without_image": 1, "unknown": 0,
        "in_the_air": 0, "archived": 2, "lost": 0, "spent_usd": 0.27, "usd_per_archived": 0.135,
    }  # fmt: skip
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    for by, key in (("day", today), ("shot", "front"), ("model", "nano-banana-pro")):
        [line] = table(packshot("costs", "--by", by, "--csv"))
        assert (line[by], line["calls"], line["spent_usd"]) == (key, "4", "0.27")
    assert said(packshot("costs", "--json", "--run", "2")) == []
    assert said(packshot("costs", "--json", "--until", "2026-01-01")) == []

    text = packshot("costs").stdout.splitlines()
    assert text[0].split("  ")[0] == "run"
    assert len(text) == 2, "one run, so no sum"
    empty = packshot("costs", "--since", "2030-01-01")
    assert (empty.returncode, empty.stdout) == (0, "No calls.\n")


def test_the_sum_stands_below_the_lines(run_shop: Callable[..., Shop], packshot: Packshot) -> None:
    shop = run_shop("bad_request")
    shop.run(shop.folder / "spring.csv")  # what failed is tried again
    lines = [line.split() for line in packshot("costs").stdout.splitlines()]
    assert [line[0] for line in lines] == ["run", "1", "2", "total"]
    assert [line[1] for line in lines[1:]] == ["3", "1", "4"]


def test_refunds_are_ready_for_a_spreadsheet(run_shop: Callable[..., Shop], packshot: Packshot) -> None:
    """...and whatever the catalog calls a product, the spreadsheet runs nothing of it."""
    shop = run_shop("empty_data", "empty_data", "empty_data")
    listed = table(packshot("costs", "refunds", "--csv"))
    assert {row["product_key"] for row in listed} == {"'=1+1", "'+2", "p-3"}
    assert [row["request_id"] for row in listed] == [row.request_id for row in shop.emulator.bill]
    assert {(row["code"], row["cost_usd"], row["model"]) for row in listed} == {("no_image", "0.09", "nano-banana-pro")}
    assert {row["product_key"] for row in said(packshot("costs", "refunds", "--json"))} == {"=1+1", "+2", "p-3"}
    assert "no_image" in packshot("costs", "refunds").stdout
    none = packshot("costs", "refunds", "--since", "2030-01-01")
    assert (none.returncode, none.stdout) == (0, "No call was billed without an image.\n")


def test_the_ledger_is_compared_and_corrected(run_shop: Callable[..., Shop], packshot: Packshot) -> None:
    shop = run_shop("group_failover", "disconnect")
    seen = packshot("costs", "reconcile", *RECENTLY)
    assert seen.returncode == 1
    assert "price_differs" in seen.stdout
    assert "unknown_billed" in seen.stdout
    assert "Ledger $0.36, log $0.40" in seen.stdout
    assert "2 differences, 0 of them corrected in the ledger, 2 left" in seen.stdout
    assert "--apply" in seen.stderr
    facts = said(packshot("costs", "reconcile", *RECENTLY, "--json"), 1)
    assert (facts["ledger_usd"], facts["log_usd"], facts["difference_left_usd"]) == (0.36, 0.396, -0.036)
    applied = said(packshot("costs", "reconcile", *RECENTLY, "--apply", "--json"))
    assert (applied["applied"], applied["left"], applied["difference_left_usd"]) == (2, 0, 0)
    again = packshot("costs", "reconcile", *RECENTLY)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("No differences.\nLedger $0.40, log $0.40")
    assert said(packshot("costs", "--json"))[0]["spent_usd"] == shop.emulator.billed_micro / 1e6
    assert said(packshot("runs", "--json"))[0]["spent_usd"] == shop.emulator.billed_micro / 1e6


def test_differences_that_are_left_end_with_one(run_shop: Callable[..., Shop], packshot: Packshot) -> None:
    run_shop("server_error")
    facts = said(packshot("costs", "reconcile", *RECENTLY, "--apply", "--json"), 1)
    assert [(row["kind"], row["applied"]) for row in facts["differences"]] == [("too_early", False)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "week"], "allowed are run, day, shot, model"),
        (["--since", "yesterday"], "--since yesterday"),
        (["--until", "2026-13-01"], "--until 2026-13-01"),
        (["--json", "--csv"], "--json and --csv"),
        (["refunds", "--json", "--csv"], "--json and --csv"),
        (["--by", "day", "refunds"], "packshot costs refunds"),
        (["reconcile", "--since", "2020-01-01"], "the earliest is"),
        (["reconcile", "--since", "2030-01-01"], "there is no time between"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(shop: Shop, packshot: Packshot, arguments: list[str], words: str) -> None:
    answer = packshot("costs", *arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    [line] = answer.stderr.splitlines()
    assert words in line
    assert [secret for secret in shop.secrets if secret in line] == []


@pytest.mark.parametrize("token", ["", "wrong"])
def test_without_the_right_token_nothing_is_compared(shop: Shop, packshot: Packshot, token: str) -> None:
    shop.set(APIYI_SYSTEM_TOKEN=token)
    answer = packshot("costs", "reconcile", "--apply")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "PACKSHOT_APIYI_SYSTEM_TOKEN" in answer.stderr


def test_an_until_that_is_a_day_includes_it(run_shop: Callable[..., Shop], packshot: Packshot) -> None:
    run_shop()
    today, now = datetime.now(UTC).date(), datetime.now(UTC)
    assert said(packshot("costs", "--json", "--until", f"{today}"))[0]["calls"] == 3
    assert said(packshot("costs", "--json", "--since", f"{now + timedelta(minutes=1):%Y-%m-%dT%H:%M}")) == []


def test_the_doctor_shows_the_balance(open_shop: OpenShop, packshot: Packshot) -> None:
    shop = open_shop(balance_usd=12.5)

    def balance() -> list[dict[str, Any]]:
        findings = json.loads(packshot("doctor", "--json").stdout)
        return [finding for finding in findings if finding["name"] == "balance"]

    [found] = balance()
    assert (found["ok"], found["message"]) == (True, "$12.50 left, $0.00 used so far")
    shop.set(APIYI_SYSTEM_TOKEN="wrong")
    [found] = balance()
    assert (found["ok"], "PACKSHOT_APIYI_SYSTEM_TOKEN" in found["message"]) == (False, True)
    shop.unset("APIYI_SYSTEM_TOKEN")
    assert balance() == []
    open_shop(balance_usd=0)
    shop.set(APIYI_SYSTEM_TOKEN=shop.secrets[1])
    [found] = balance()
    assert (found["ok"], found["next_step"]) == (False, "top up the account at APIYI, then run again")


@pytest.mark.parametrize("words", [[], ["reconcile"], ["refunds"]])
def test_every_command_has_help(words: list[str]) -> None:
    shown = CliRunner().invoke(app, ["costs", *words, "--help"])
    assert shown.exit_code == 0
    assert "--since" in shown.output
