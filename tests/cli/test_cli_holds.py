"""``packshot holds`` as its users run it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from packshot.cli import app, main
from packshot.db.engine import open_engine, upgrade
from packshot.db.holds import Answer, find, resolve
from packshot.db.tables import ImageJob
from packshot.errors import Code, ProviderError
from packshot.policy import Decision, Verdict
from packshot.settings import load_settings
from tests.db.ledger_cases import PRICE, Book, received, stored

Packshot = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def packshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Packshot:
    """The command in this process; ``typed`` is what its user types."""
    (tmp_path / "none.env").touch()
    monkeypatch.setenv("PACKSHOT_ENV_FILE", str(tmp_path / "none.env"))
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))

    def run(*arguments: str, typed: Any = "") -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["packshot", "holds", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(typed) if isinstance(typed, str) else typed)
            capfd.readouterr()
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


@pytest.fixture
def book(packshot: Packshot) -> Iterator[Book]:
    """p0 and p1 wait because of a time-out, p2 because of its size; p3 is planned."""
    engine = open_engine(load_settings().db_url)
    upgrade(engine)
    book = Book(engine, jobs=4)
    for job_id in book.jobs[:3]:
        claim = book.ledger.claim(job_id)
        assert claim
        attempt = book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
        if job_id == book.jobs[2]:
            claim = book.ledger.received(claim, attempt, received())
            book.ledger.archived(claim, stored(), hold_for=Code.WRONG_SIZE, message="ordered 2048x2048, got 1024x1024")
        else:
            late = ProviderError(Code.TIMEOUT, "no answer in 300 s")
            book.ledger.not_received(claim, attempt, late, lambda past: Decision(Verdict.HOLD))
    yield book
    engine.dispose()


def said(answer: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert answer.returncode == code, answer.stderr
    return json.loads(answer.stdout)


def keys(book: Book) -> list[str]:
    return [row["key"] for row in book.rows(ImageJob)]


def states(book: Book) -> list[str]:
    return [row["state"] for row in book.rows(ImageJob)]


def test_nothing_waits_in_an_empty_database(packshot: Packshot) -> None:
    assert packshot().stdout == "Nothing waits for you.\n"
    assert said(packshot("--json")) == []
    assert packshot("resolve", "--code", "timeout", "--retry").stdout == "Nothing waits with the code timeout.\n"
    assert said(packshot("resolve", "--code", "timeout", "--retry", "--json")) == []


def test_the_list_is_for_people_and_for_programs(book: Book, packshot: Packshot) -> None:
    head, *lines = packshot().stdout.splitlines()
    assert head.split()[:3] == ["key", "product", "variant"]
    assert [line.split()[:2] for line in lines] == [[key[:8], f"p{n}"] for n, key in enumerate(keys(book)[:3])]
    assert "0.09  2026-03-01 12:00  no answer in 300 s" in lines[0]
    assert "https://cdn.example/shop/pub/shop/p1/packshot/abc.png" in lines[2]
    assert lines[2].endswith("another model or size may do better")
    rows = said(packshot("--json"))
    assert [row["job_key"] for row in rows] == keys(book)[:3]
    assert rows[0]["since"] == "2026-03-01T12:00:00+00:00"
    assert [row["product_key"] for row in said(packshot("--code", "wrong_size", "--json"))] == ["p2"]
    assert said(packshot("--catalog", "winter", "--json")) == []


def test_several_keys_are_decided_at_once(book: Book, packshot: Packshot) -> None:
    one, two, *_ = keys(book)
    answer = packshot("resolve", one, two[:7], "--retry")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == "2 images to be bought by the next run, for $0.18\n"
    assert states(book) == ["planned", "planned", "held", "planned"]


def test_each_decision_says_what_became_of_it(book: Book, packshot: Packshot) -> None:
    one, _, three, _ = keys(book)
    assert packshot("resolve", one, "--skip").stdout == "1 image skipped\n"
    assert packshot("resolve", three, "--accept").stdout == "1 image accepted\n"
    assert states(book) == ["failed", "held", "archived", "planned"]
    [row] = said(packshot("resolve", one, "--retry", "--json"))
    assert (row["job_key"], row["was"], row["state"], row["cost_usd"]) == (one, "skipped", "planned", 0.09)
    assert row["resolved"] is True
    assert states(book)[0] == "planned"


def test_all_of_a_kind_are_decided_after_a_question(book: Book, packshot: Packshot) -> None:
    no = packshot("resolve", "--code", "timeout", "--retry", typed="n\n")
    assert (no.returncode, no.stdout) == (0, "")
    assert "retry 2 images (timeout), which may cost $0.18 in the next run? [y/N] " in no.stderr
    assert "nothing was changed" in no.stderr
    silent = packshot("resolve", "--code", "timeout", "--retry")
    assert (silent.returncode, "nobody answered: add --yes" in silent.stderr) == (2, True)
    assert states(book) == ["held", "held", "held", "planned"]

    yes = packshot("resolve", "--code", "timeout", "--catalog", "shop", "--skip", "--json", typed="y\n")
    assert [row["state"] for row in said(yes)] == ["failed", "failed"]
    assert "skip 2 images (timeout)? [y/N] " in yes.stderr
    assert said(packshot("resolve", "--code", "skipped", "--catalog", "winter", "--retry", "--json")) == []
    back = packshot("resolve", "--code", "skipped", "--retry", "--yes")
    assert back.stdout == "2 images to be bought by the next run, for $0.18\n"
    assert states(book) == ["planned", "planned", "held", "planned"]


def test_what_changes_while_the_person_thinks_is_reported_and_not_forced(book: Book, packshot: Packshot) -> None:
    class Slow:
        def readline(self) -> str:
            [first] = find(book.engine, [keys(book)[0]])
            assert resolve(book.ledger, first, Answer.RETRY)
            assert book.ledger.claim(book.jobs[0])
            return "y\n"

    answer = packshot("resolve", "--code", "timeout", "--skip", typed=Slow())
    assert (answer.returncode, answer.stdout) == (1, "1 image skipped\n")
    assert f"not touched: p0 packshot ({keys(book)[0][:8]}) has changed meanwhile" in answer.stderr
    assert states(book) == ["claimed", "failed", "held", "planned"]


WRONG: dict[str, tuple[list[str], str]] = {
    "no decision": (["KEY0"], "say what to do, one of --retry, --rebuy, --skip, --accept"),
    "two decisions": (["KEY0", "--retry", "--skip"], "one of --retry"),
    "no job": (["--retry"], "name the images by their keys, or all of a kind with --code"),
    "keys and a kind": (["KEY0", "--code", "timeout", "--retry"], "one of the two"),
    "catalog without a kind": (["KEY0", "--catalog", "shop", "--retry"], "--catalog goes with --code"),
    "no such code": (["--code", "tiemout", "--retry"], "there is no code 'tiemout'"),
    "unknown key": (["KEY0", "ffffffffff", "--retry"], "no image has a key that begins with 'ffffffffff'"),
    "short key": (["abc", "--retry"], "too short"),
    "not held": (["KEY0", "KEY3", "--skip"], "p3 packshot"),
    "nothing to accept": (["KEY2", "KEY0", "--accept"], "Allowed: --retry or --skip"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_line_before_anything_changes(book: Book, packshot: Packshot, case: str) -> None:
    arguments, words = WRONG[case]
    named = {f"KEY{number}": key for number, key in enumerate(keys(book))}
    answer = packshot("resolve", *(named.get(argument, argument) for argument in arguments))
    assert (answer.returncode, answer.stdout) == (2, "")
    [line] = answer.stderr.splitlines()
    assert line.startswith("error: hold_invalid: ")
    assert words in line
    assert line.endswith("Next: `packshot holds` lists what waits for you, with its keys.")
    assert states(book) == ["held", "held", "held", "planned"]


def test_a_model_that_lost_its_price_is_not_planned(book: Book, packshot: Packshot) -> None:
    with book.ledger.write() as session:
        for job_id in book.jobs:
            job = session.get_one(ImageJob, job_id)
            job.model = "bygone"
            session.add(job)
    answer = packshot("resolve", keys(book)[0], "--retry")
    assert (answer.returncode, "no price is known for model 'bygone'" in answer.stderr) == (2, True)
    assert states(book)[0] == "held"
    assert packshot("resolve", keys(book)[0], "--skip").returncode == 0


def test_help() -> None:
    for arguments in (["holds"], ["holds", "resolve"]):
        shown = CliRunner().invoke(app, [*arguments, "--help"])
        assert (shown.exit_code, "Usage:" in shown.output) == (0, True)
