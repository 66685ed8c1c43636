"""`packshot inspect` as its users run it: a newcomer's way from an unknown file to a plan, and the rejects file."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.catalog.rejects_file import neutral, restored
from packshot.cli import main
from packshot.shots.product_text import ProductText
from tests.catalog.catalog_files import read, write
from tests.fixtures_shop import ROOT

PACKSHOT = str(Path(sys.executable).parent / "packshot")
Inspect = Callable[..., subprocess.CompletedProcess[str]]

# Names that no list knows; a running number, cells of several kinds, one record without a key, one twice.
GERMAN = """\
Lfd;Artikelkennung;Kurztext;Langtext;VK-Preis;Bild
1;K-1001;Kaffeebecher Nordlicht;Ein Becher aus Steinzeug.;12,90;fotos/k1.jpg
2;K-1002;Müslischale Nordlicht;Eine Schale aus Steinzeug.;14,90;fotos/k2.jpg
3;L-2001;Tischleuchte Eiche;Leuchte mit Leinenschirm.;auf Anfrage;fotos/l1.jpg
4;L-2002;Stehleuchte Eiche;;189,00;
4;L-2002;Stehleuchte Eiche;;189,00;
5;L-2002;Stehleuchte Buche;;199,00;
6;;Hocker Buche;Drei Beine.;49,00;fotos/h.jpg
7;M-1;Zu wenig
"""


def clean(folder: Path) -> dict[str, str]:
    """An environment without any setting: no key, no store, no database."""
    (folder / "no.env").touch()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PACKSHOT_")}
    return kept | {"PACKSHOT_ENV_FILE": str(folder / "no.env"), "COLUMNS": "80"}


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Inspect:
    """The command in this process, in a folder of its own and without any setting."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PACKSHOT_")]:
        monkeypatch.delenv(name)
    for name, value in clean(tmp_path).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["packshot", *map(str, arguments)])
            capfd.readouterr()
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return subprocess.CompletedProcess([str(a) for a in arguments], code, *capfd.readouterr())

    return run


def commands(text: str) -> list[list[str]]:
    """What the output offers to type next."""
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("  packshot ")]


def facts(answer: subprocess.CompletedProcess[str], code: int) -> Any:
    assert answer.returncode == code, answer.stderr
    return json.loads(answer.stdout)


# --- the newcomer's way ----------------------------------------------------------------------------------------------
def test_a_newcomer_needs_no_manual(tmp_path: Path) -> None:
    """In a shell, each step typed as the one before printed it."""
    write(tmp_path, GERMAN, "waren.csv")
    env = clean(tmp_path)

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        environment = env | {"PATH": f"{Path(PACKSHOT).parent}:{env['PATH']}"}
        return subprocess.run(
            ["sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    first = shell("packshot inspect waren.csv")
    assert first.returncode == 2
    assert "no column known to hold the product's key and title" in first.stderr
    [suggestion] = [line.strip() for line in first.stdout.splitlines() if line.startswith("  packshot")]
    assert suggestion == (
        "packshot inspect waren.csv --map product_key=Artikelkennung --map title=Kurztext --map image_refs=Bild"
    )
    second = shell(suggestion)
    assert second.returncode == 1, second.stderr
    assert "8 records = 4 accepted + 4 rejected + 0 blank + 0 continuation" in second.stdout
    assert "Title: Kaffeebecher Nordlicht" in second.stdout
    plan = [line.strip() for line in second.stdout.splitlines() if line.startswith("  packshot")][-1]
    assert plan.startswith("packshot plan waren.csv --map product_key=Artikelkennung")
    planned = shell(f"{plan} --shot packshot --json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["jobs"] == 4
    assert {path.name for path in tmp_path.iterdir()} <= {"waren.csv", "no.env", ".packshot"}


def test_inspecting_leaves_nothing_behind(inside: Inspect, tmp_path: Path) -> None:
    write(tmp_path, "sku,title\n1,Mug\n")
    assert inside("inspect", "shop.csv").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"shop.csv", "no.env"}


def test_the_suggestion_can_be_kept_in_a_file(inside: Inspect, tmp_path: Path) -> None:
    write(tmp_path, GERMAN, "waren.csv")
    answer = inside("inspect", "waren.csv", "--write-catalog-file")
    assert answer.returncode == 2
    text = (tmp_path / "catalog.yaml").read_text()
    for typed in ("waren.csv", "catalog.yaml"):
        found = facts(inside("inspect", typed, "--json"), 1)
        assert found["files"][0]["mapping"]["product_key"] == ["Artikelkennung"]
        assert found["counts"]["accepted"] == 4
    again = inside("inspect", "waren.csv", "--write-catalog-file")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    assert (tmp_path / "catalog.yaml").read_text() == text


def test_flags_that_plan_lacks_go_into_the_file(inside: Inspect, tmp_path: Path) -> None:
    write(tmp_path, "sku,name-de_DE,name-en_US,live\n1,Becher,Mug,yes\n2,Napf,Bowl,no\n")
    flags = ["--locale", "en_US", "--where", "live=yes"]
    answer = inside("inspect", "shop.csv", *flags)
    write_it, plan = commands(answer.stdout)
    assert write_it == ["inspect", "shop.csv", "--where", "live=yes", "--locale", "en_US", "--write-catalog-file"]
    inside(*write_it)
    planned = facts(inside(*plan, "--shot", "packshot", "--json"), 0)
    assert planned["counts"] == {"records": 2, "accepted": 1, "rejected": 1, "blank": 0, "continuation": 0}
    assert "catalog.yaml says how to read it" in planned["notes"]
    assert facts(inside("inspect", "shop.csv", "--json"), 1)["first"][0]["facts"].count("Title: Mug") == 1


# --- what it shows ---------------------------------------------------------------------------------------------------
def test_everything_about_a_file(inside: Inspect, tmp_path: Path) -> None:
    path = write(tmp_path, GERMAN.encode("cp1252"), "waren.csv")
    mapping = {"product_key": "Artikelkennung", "title": "Kurztext", "description": "Langtext", "price": "VK-Preis"}
    flags = [part for target, column in mapping.items() for part in ("--map", f"{target}={column}")]
    found = facts(inside("inspect", path, *flags, "--json"), 1)
    [file] = found["files"]
    assert (file["kind"], file["format"], file["encoding"], file["delimiter"]) == ("CSV", "csv", "cp1252", ";")
    assert file["header_line"] == 1
    assert file["mapping"] == {target: [column] for target, column in mapping.items()}
    assert file["unused"] == ["Lfd", "Bild"]
    assert found["suggested"] == {"image_refs": ["Bild"]}
    assert found["counts"] == {"records": 8, "accepted": 4, "rejected": 4, "blank": 0, "continuation": 0}
    assert found["equation"] == "8 records = 4 accepted + 4 rejected + 0 blank + 0 continuation"
    _, products, _ = read(path, mapping=mapping)
    assert [shown["facts"] for shown in found["first"]] == [ProductText(product).facts("") for product in products[:3]]
    told = "\n".join(found["warnings"])
    assert "4 x no photo, product: K-1001, K-1002, L-2001, ..." in told
    assert "1 x no description, product: L-2002" in told
    assert "1 x the same record again, line: 6 (L-2002)" in told
    assert "1 x a key used again, by a record that differs, line: 7 (L-2002)" in told
    assert "1 x price that is no amount left out, product: L-2001" in told
    assert "not UTF-8: read as cp1252" in told
    groups = {group["code"]: group for group in found["rejects"]}
    assert {code: group["count"] for code, group in groups.items()} == {
        "duplicate_key": 2, "missing_key": 1, "bad_width": 1,
    }  # fmt: skip
    assert [reject["line"] for reject in groups["duplicate_key"]["first"]] == [6, 7]


def test_the_page_for_people(inside: Inspect, tmp_path: Path) -> None:
    write(tmp_path, "sku,title,description,image,stock\n1,陶瓷马克杯 350毫升,好,a.jpg,4\n,Bowl,B,b.jpg,1\n")
    answer = inside("inspect", "shop.csv")
    assert answer.returncode == 1
    lines = answer.stdout.splitlines()
    assert lines[0] == "shop.csv: CSV, format csv, utf-8, separated by commas, header on line 1"
    assert lines[1] == "2 records = 1 accepted + 1 rejected + 0 blank + 0 continuation"
    assert "  title        title" in lines
    assert "columns not used: stock" in lines
    assert "  1, line 2, 1 photo: a.jpg" in lines
    assert "    Title: 陶瓷马克杯 350毫升" in lines
    assert "rejected, missing_key: 1. Next: fill the key column, or map another one." in lines
    assert any(line.startswith("  line 3: the record has no product key") for line in lines)
    assert commands(answer.stdout) == [["plan", "shop.csv"]]


def test_many_rejects_are_counted_and_few_are_shown(inside: Inspect, tmp_path: Path) -> None:
    write(tmp_path, "sku,title\n1,Mug\n" + "2,\n" * 500)
    found = facts(inside("inspect", "shop.csv", "--json"), 1)
    assert [(group["count"], len(group["first"])) for group in found["rejects"]] == [(500, 3)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv"], ["nowhere.csv does not exist"]),
        (["shop.csv", "--map", "title"], ["--map title", "TARGET=COLUMN"]),
        (["shop.csv", "--where", "live"], ["--where live", "COLUMN=VALUE"]),
        (["shop.csv", "--format", "shopfy"], ["format", "'shopify'"]),
        (["shop.csv", "--on-duplicate", "lst"], ["on_duplicate", "'last'"]),
        (["shop.csv", "--map", "titel=title"], ["'titel'", "did you mean 'title'"]),
        (["shop.csv", "--header-row", "-3"], ["header_row"]),
        (["shop.csv", "--rejects", "shop.csv"], ["shop.csv exists already", "--force"]),
        (["shop.csv", "--rejects", "no/such/folder/r.csv"], ["--rejects no/such/folder/r.csv"]),
        (["catalog.yml", "--write-catalog-file"], ["catalog.yml"]),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    inside: Inspect, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    write(tmp_path, "sku,title\n1,Mug\n2,\n")
    answer = inside("inspect", *arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    [line] = answer.stderr.splitlines()
    for word in words:
        assert word in line


# --- the rejects file ------------------------------------------------------------------------------------------------
NASTY = """\
sku,title,image,note
1,Mug,a.jpg,ok
,=HYPERLINK("http://evil.example"),b.jpg,+49 30
,-20% Bowl,c.jpg,@home
,'=kept,d.jpg,'plain
,"Vase, ""tall""
in two lines",e.jpg,-
"""


def test_refused_records_are_kept_mended_and_read_again(inside: Inspect, tmp_path: Path) -> None:
    path = write(tmp_path, NASTY)
    answer = inside("inspect", "shop.csv", "--rejects", "out.csv")
    assert answer.returncode == 1
    assert "4 refused records are in out.csv" in answer.stderr
    raw = (tmp_path / "out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf"), "spreadsheets take the file for UTF-8 by its mark"
    header, *rows = csv.reader(raw.decode("utf-8-sig").splitlines(keepends=True))
    assert header == ["reject_line", "reject_code", "reject_reason", "sku", "title", "image", "note"]
    assert [row[0] for row in rows] == ["3", "4", "5", "6"]
    assert {row[1] for row in rows} == {"missing_key"}
    assert all("no product key" in row[2] for row in rows)
    assert not [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert rows[1][3:] == ["", "'-20% Bowl", "c.jpg", "'@home"]
    # A person fills the keys, and the file is a catalog.
    mended = [header, *([*row[:3], f"n{row[0]}", *row[4:]] for row in rows)]
    with (tmp_path / "out.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(mended)
    again = facts(inside("inspect", "out.csv", "--json"), 0)
    assert again["counts"]["accepted"] == 4
    _, products, _ = read(tmp_path / "out.csv", mapping={"attributes.note": "note"})
    whole = write(tmp_path, NASTY.replace("\n,", "\nn,"), "whole.csv")
    _, first, duplicates = read(whole, mapping={"attributes.note": "note", "product_key": "title", "sku": "sku"})
    assert not duplicates
    assert [(p.title, p.attributes, p.image_refs) for p in products] == [
        (p.title, p.attributes, p.image_refs) for p in first[1:]
    ], "not a letter was changed by the detour"
    assert read(path)[0].counts.rejected == 4


def test_a_rejects_file_may_have_rejects(inside: Inspect, tmp_path: Path) -> None:
    write(tmp_path, NASTY)
    inside("inspect", "shop.csv", "--rejects", "one.csv")
    assert inside("inspect", "one.csv", "--rejects", "two.csv").returncode == 1
    one, two = ((tmp_path / name).read_text("utf-8-sig").splitlines() for name in ("one.csv", "two.csv"))
    assert one[0] == two[0]
    assert [line.partition("'")[2] for line in one[1:3]] == [line.partition("'")[2] for line in two[1:3]]


def test_records_of_a_wrong_width_stay_wrong(inside: Inspect, tmp_path: Path) -> None:
    write(tmp_path, "sku;title;image\n1;Mug;a.jpg\n2;Bowl\n3;Vase;c.jpg;=1;x\n")
    inside("inspect", "shop.csv", "--rejects", "out.csv")
    lines = (tmp_path / "out.csv").read_text("utf-8-sig").splitlines()
    assert lines[0] == "reject_line;reject_code;reject_reason;sku;title;image"
    rows = [*csv.reader(lines[1:], delimiter=";")]
    assert [row[3:] for row in rows] == [["2", "Bowl"], ["3", "Vase", "c.jpg", "'=1", "x"]]
    found = facts(inside("inspect", "out.csv", "--json"), 1)
    assert {group["code"]: group["count"] for group in found["rejects"]} == {"bad_width": 2}


def test_all_formats_keep_their_own_columns(inside: Inspect, tmp_path: Path) -> None:
    write(
        tmp_path, "Handle,Title,Option1 Value,Image Src,Status\na,A,x,i.jpg,active\nb,B,,,draft\n,,Red,,\nc,,,,active\n"
    )
    found = facts(inside("inspect", "shop.csv", "--json", "--rejects", "out.csv"), 1)
    rows = [*csv.reader((tmp_path / "out.csv").read_text("utf-8-sig").splitlines())]
    assert rows[0][3:] == ["Handle", "Title", "Option1 Value", "Image Src", "Status"]
    assert len(rows) - 1 == found["counts"]["rejected"] > 1
    assert {row[1] for row in rows[1:]} == {group["code"] for group in found["rejects"]}


def test_json_records_are_kept_as_their_text(inside: Inspect, tmp_path: Path) -> None:
    write(tmp_path, '{"sku": "1", "title": "Mug"}\n{"sku": "2"}\n{"sku": NaN}\n', "shop.jsonl")
    inside("inspect", "shop.jsonl", "--rejects", "out.csv")
    rows = [*csv.reader((tmp_path / "out.csv").read_text("utf-8-sig").splitlines())]
    assert rows[0] == ["reject_line", "reject_code", "reject_reason", "record"]
    assert [(row[0], row[3]) for row in rows[1:]] == [("2", '{"sku": "2"}'), ("3", '{"sku": NaN}')]


def test_several_files_share_one_rejects_file(inside: Inspect, tmp_path: Path) -> None:
    write(tmp_path, "sku,title\n1,Mug\n,Bowl\n", "a.csv")
    write(tmp_path, "title,sku,stock\nVase,2,9\nJug,,8\n", "b.csv")
    found = facts(inside("inspect", "*.csv", "--json", "--rejects", "out.txt"), 1)
    assert [Path(file["label"]).name for file in found["files"]] == ["a.csv", "b.csv"]
    rows = [*csv.reader((tmp_path / "out.txt").read_text("utf-8-sig").splitlines())]
    assert [row[3:] for row in rows] == [["sku", "title", "stock"], ["", "Bowl", ""], ["", "Jug", "8"]]


def test_no_rejects_no_file_and_none_written_over(inside: Inspect, tmp_path: Path) -> None:
    write(tmp_path, "sku,title\n1,Mug\n", "good.csv")
    write(tmp_path, "sku,title\n1,Mug\n,Bowl\n", "bad.csv")
    assert inside("inspect", "good.csv", "--rejects", "out.csv").returncode == 0
    assert not (tmp_path / "out.csv").exists()
    (tmp_path / "out.csv").write_text("precious")
    assert inside("inspect", "bad.csv", "--rejects", "out.csv").returncode == 2
    assert (tmp_path / "out.csv").read_text() == "precious"
    assert inside("inspect", "bad.csv", "--rejects", "out.csv", "--force").returncode == 1
    assert "Bowl" in (tmp_path / "out.csv").read_text("utf-8-sig")
    assert inside("inspect", "bad.csv", "--rejects", "bad.csv", "--force").returncode == 2
    assert (tmp_path / "bad.csv").read_text() == "sku,title\n1,Mug\n,Bowl\n"


@given(st.text(st.sampled_from("'=+-@\t\r\na 1"), max_size=6))
def test_no_cell_is_a_formula_and_every_cell_comes_back(cell: str) -> None:
    assert neutral(cell)[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert restored(neutral(cell)) == cell


def test_the_example_shows_its_draft(inside: Inspect) -> None:
    answer = inside("inspect", ROOT / "examples/catalog/products.csv")
    assert answer.returncode == 1
    assert "20 records = 9 accepted + 1 rejected + 0 blank + 10 continuation" in answer.stdout
    assert "the status is 'draft'" in answer.stdout
    accepting = inside("inspect", ROOT / "examples/catalog/products.csv", "--status", "active", "--status", "draft")
    assert accepting.returncode == 0, accepting.stdout
    assert commands(accepting.stdout)[-1][2:] == ["--status", "active", "--status", "draft"]
