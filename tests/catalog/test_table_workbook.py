"""Excel workbooks."""

from __future__ import annotations

import datetime as dt
import random
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont

from packshot.catalog import CatalogOptions, open_catalog
from packshot.catalog.local_files import local_file
from packshot.catalog.tables.opening import open_table
from packshot.catalog.tables.workbook_cells import NumberFormat, digit_mask, number_text
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import SAMPLES, read, read_all

EPOCH = dt.datetime(1899, 12, 30)


def book(path: Path, *rows: Sequence[Any], formats: dict[str, str] | None = None) -> Path:
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    for row in rows:
        sheet.append(list(row))
    for cell, code in (formats or {}).items():
        sheet[cell].number_format = code
    workbook.save(path)
    return path


def rewrite(path: Path, member: str, change: Any) -> Path:
    """The workbook with one of its parts changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[member] = change(parts[member])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def sheet_xml(path: Path, rows: str) -> Path:
    xml = f'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{rows}</sheetData></worksheet>'
    return rewrite(path, "xl/worksheets/sheet1.xml", lambda _: xml.encode())


def cells(path: Path, **options: Any) -> list[tuple[str, ...]]:
    reader = open_catalog(path, CatalogOptions(**options))
    return [record.cells for record in reader.parts[0].table.records()]


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        open_catalog(path, CatalogOptions(**options))
    return caught.value.message


HEADER = ("sku", "title", "value")


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (1, "000", "001"),
        (1234, "000", "1234"),
        (42, '"SKU-"0000', "SKU-0042"),
        (1234567, "000\\-0000", "123-4567"),
        (12345678, "000\\-0000", "1234-5678"),
        (1, "0", "1"),
        (4006381333931, "General", "4006381333931"),
        (4.006381333931e12, "0.00E+00", "4006381333931"),
        (12.0, "General", "12"),
        (19.9, "General", "19.9"),
        (0.1 + 0.2, "General", "0.3"),
        (-0.5, "0.00", "-0.5"),
        (0.25, "0%", "0.25"),
        (1234.5, '#,##0.00 "€"', "1234.5"),
        (1234.5, "[$$-409]#,##0.00", "1234.5"),
        (5, '0" pcs"', "5"),
        (1e-7, "General", "0.0000001"),
        (True, "General", "true"),
        (False, "General", "false"),
        (dt.date(2024, 2, 29), "yyyy-mm-dd", "2024-02-29"),
        (dt.datetime(2024, 2, 29, 12, 30), "dd.mm.yyyy hh:mm", "2024-02-29T12:30:00"),
        (dt.datetime(2024, 2, 29), "d/m/yy", "2024-02-29"),
        (dt.time(8, 15), "hh:mm", "08:15:00"),
        (dt.timedelta(hours=30, minutes=5), "[h]:mm:ss", "30:05:00"),
        (-1, "yyyy-mm-dd", "-1"),
        (99999999, "yyyy-mm-dd", "99999999"),
        ("001", "General", "001"),
        ("  padded\t", "General", "padded"),
        ("=1+1", "@", ""),
        ("#N/A", "General", ""),
        ("line_x000D_\nbreak", "General", "line\r\nbreak"),
        (CellRichText("plain ", TextBlock(InlineFont(b=True), "bold")), "General", "plain bold"),
        (None, "General", ""),
    ],
)
def test_cells_as_a_person_sees_them(tmp_path: Path, value: Any, code: str, text: str) -> None:
    path = book(tmp_path / "a.xlsx", HEADER, ("a", "Mug", value), formats={"C2": code})
    assert cells(path) == [("a", "Mug", text)]


def test_numbers_as_writers_leave_them() -> None:
    def shown(value: str, **style: Any) -> str:
        return number_text(value, NumberFormat(**style), EPOCH)

    assert shown("19.899999999999999") == "19.9"
    assert shown("4.006381333931E+12") == "4006381333931"
    assert shown("12345678901234567890") == "12345678901234567890"
    assert shown("0099") == "0099"
    assert shown("1.0") == "1"
    assert shown("59", dates=True) == "1900-02-28"
    assert shown("61", dates=True) == "1900-03-01"
    assert shown("45351.999999999", dates=True) == "2024-03-01"
    assert shown("0.5", dates=True) == "12:00:00"
    assert digit_mask("000;[Red]-000") == "\0\0\0"
    assert digit_mask("0.00") == digit_mask("#,##0") == digit_mask("@") == digit_mask("0") == ""
    for wrong in ("x", "NaN", "1e999999", "Infinity", "1 2"):
        with pytest.raises(ValueError, match="no number"):
            shown(wrong)


def test_errors_and_formulas_without_a_result_are_counted(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", HEADER, ("a", "Mug", "=A1"), ("b", "Cup", "=A1"), ("c", "Jug", "#REF!"))
    reader, products, _ = read(path)
    assert len(products) == 3
    assert any(note.startswith("1 x cell that holds an error") for note in reader.notes)
    assert any(note.startswith("2 x cell with a formula") for note in reader.notes)
    read_all(reader)
    assert sum("formula" in note for note in reader.notes) == 1  # counted anew, not once more
    kept = '<row r="1"><c r="A1" t="str"><v>sku</v></c><c r="B1" t="str"><v>title</v></c></row><row r="2">'
    kept += '<c r="A2"><f>1+1</f><v>2</v></c><c r="B2" t="str"><f>"x"</f><v>x</v></c>'
    kept += '<c r="C2" t="str"><f>""</f><v></v></c></row>'
    reader, products, _ = read(sheet_xml(path, kept))
    assert [(p.product_key, p.title) for p in products] == [("2", "x")]
    assert reader.notes == []


def test_title_rows_gaps_and_what_stands_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    book(
        path,
        ("Our catalog",),
        (),
        ("", "SKU", "Name", "", ""),
        ("", 1, "Mug", "", "", "a note"),
        (),
        (),
        ("", 2, "Cup"),
    )
    reader, products, rejects = read(path)
    assert rejects == []
    assert [(p.product_key, p.record, p.line) for p in products] == [("1", 1, 4), ("2", 4, 7)]
    assert reader.counts.blank == 2
    assert any("found on line 3" in note for note in reader.notes)
    assert any(note.startswith("1 x cell to the right") for note in reader.notes)
    assert [p.line for p in read(path, header_row=3)[1]] == [4, 7]
    assert "line 4" not in refusal(path, header_row=2)


def test_a_million_formatted_rows_and_columns_are_no_records(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", HEADER)
    wide = "".join('<c s="0"/>' for _ in range(16_380))
    rows = '<row r="1"><c t="str"><v>sku</v></c><c t="str"><v>title</v></c></row>'
    rows += f'<row r="2"><c t="str"><v>a</v></c><c t="str"><v>Mug</v></c>{wide}</row>'
    rows += "".join(f'<row r="{n}" ht="15"><c r="A{n}" s="0"/></row>' for n in range(3, 30_000))
    rows += '<row r="1048576"><c s="0"/></row>'
    reader, products, _ = read(sheet_xml(path, rows))
    assert (len(products), reader.counts.records, reader.counts.blank) == (1, 1, 0)


def test_sheets(tmp_path: Path) -> None:
    workbook = Workbook()
    first = workbook.active
    assert first is not None
    first.title = "Read me"
    first.append(["Fill in the sheet Products"])
    for title, key in (("Old", "old"), ("Products", "new"), ("More", "more")):
        sheet = workbook.create_sheet(title)
        sheet.append(["sku", "title"])
        sheet.append([key, "Mug"])
    workbook["Old"].sheet_state = "hidden"
    path = tmp_path / "a.xlsx"
    workbook.save(path)
    reader, products, _ = read(path)
    assert [p.product_key for p in products] == ["new"]
    assert "'Products' was read" in reader.notes[0]
    assert [p.product_key for p in read(path, sheet="more")[1]] == ["more"]
    assert [p.product_key for p in read(path, sheet="Old")[1]] == ["old"]
    message = refusal(path, sheet="Prducts")
    assert "Found: Read me, Products, More" in message
    for sheet in workbook.worksheets[1:]:
        sheet.sheet_state = "veryHidden"
    workbook.save(path)
    assert "Found: Fill in the sheet" in refusal(path)


def test_merged_cells_hold_their_value_once(tmp_path: Path) -> None:
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    for row in (("Spring", None), ("sku", "title"), ("a", "Mug"), ("b", None)):
        sheet.append(row)
    sheet.merge_cells("A1:B1")
    sheet.merge_cells("B3:B4")
    workbook.save(tmp_path / "a.xlsx")
    _, products, rejects = read(tmp_path / "a.xlsx")
    assert [p.title for p in products] == ["Mug"]
    assert [(r.line, r.code) for r in rejects] == [(4, Code.MISSING_TITLE)]


def test_rows_that_lie_about_themselves(tmp_path: Path) -> None:
    def row(number: str, key: str) -> str:
        return (
            f'<row{number}><c t="inlineStr"><is><t>{key}</t><rPh><t>no</t></rPh></is></c><c t="str"><v>T</v></c></row>'
        )

    head = '<row r="1"><c t="str"><v>sku</v></c><c t="str"><v>title</v></c></row>'
    rows = head + row(' r="5"', "a") + row(' r="3"', "b") + row("", "c") + row(' r="5"', "d")
    path = book(tmp_path / "a.xlsx", HEADER)
    _, products, rejects = read(sheet_xml(path, f"<x/>{rows}"))
    assert [(p.product_key, p.line) for p in products] == [("a", 5), ("b", 3), ("c", 4), ("d", 5)]
    assert rejects == []


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ('<c t="s"><v>99</v></c>', Code.BAD_FIELD),
        ('<c t="s"><v>-1</v></c>', Code.BAD_FIELD),
        ('<c s="99"><v>1</v></c>', Code.BAD_FIELD),
        ("<c><v>abc</v></c>", Code.BAD_FIELD),
        ('<c t="str"><v>a\x07</v></c>', Code.BAD_TEXT),
    ],
)
def test_a_bad_cell_costs_its_row(tmp_path: Path, cell: str, code: Code) -> None:
    rows = '<row r="1"><c t="str"><v>sku</v></c><c t="str"><v>title</v></c></row>'
    rows += f'<row r="2">{cell}<c t="str"><v>Mug</v></c></row><row r="3"><c><v>2</v></c><c t="str"><v>Cup</v></c></row>'
    _, products, rejects = read(sheet_xml(book(tmp_path / "a.xlsx", HEADER), rows))
    assert [p.product_key for p in products] == ["2"]
    assert [(r.record, r.line, r.code) for r in rejects] == [(1, 2, code)]


@pytest.mark.parametrize("end", ["<row", '<row r="9999999">', '<row><c r="ZZZZ1"/>', '<row><c r="XFE1"/>', "</sheet>"])
def test_a_sheet_that_breaks_off(tmp_path: Path, end: str) -> None:
    rows = '<row r="1"><c t="str"><v>sku</v></c><c t="str"><v>title</v></c></row>'
    rows += f'<row r="2"><c t="str"><v>a</v></c><c t="str"><v>Mug</v></c></row>{end}'
    _, products, rejects = read(sheet_xml(book(tmp_path / "a.xlsx", HEADER), rows))
    assert [p.product_key for p in products] == ["a"]
    assert [(r.record, r.line, r.code) for r in rejects] == [(2, 3, Code.FILE_DAMAGED)]
    assert "rest of the sheet was not read" in rejects[0].message


def test_bombs_and_damage_are_refused(tmp_path: Path) -> None:
    good = book(tmp_path / "a.xlsx", HEADER, ("a", "Mug", 1)).read_bytes()
    path = tmp_path / "b.xlsx"

    def again(member: str, change: Any) -> Path:
        path.write_bytes(good)
        return rewrite(path, member, change)

    assert "times its size" in refusal(again("xl/worksheets/sheet1.xml", lambda _: b" " * (17 << 20)))
    noise = random.Random(1).randbytes(1 << 20)
    assert "allowed" in refusal(again("xl/styles.xml", lambda _: noise * 65))
    dtd = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    for member in ("xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml"):
        message = refusal(again(member, lambda data: dtd + re.sub(rb"<\?xml[^>]*>", b"", data)))
        assert "DTD" in message, member
        assert "cannot be read" in refusal(again(member, lambda data: data[:150])), member
    for cut in range(0, len(good), 97):
        path.write_bytes(good[:cut])
        refusal(path)
    path.write_bytes(b"\xd0\xcf\x11\xe0" + b"E\0n\0c\0r\0y\0p\0t\0e\0d\0" * 50)
    assert "with a password" in refusal(path)


def test_other_zip_files_say_what_they_are(tmp_path: Path) -> None:
    def names(*members: str) -> str:
        with zipfile.ZipFile(tmp_path / "x.xlsx", "w") as archive:
            for member in members:
                archive.writestr(member, "<x/>")
        with pytest.raises(ConfigError) as caught:
            open_table(local_file(tmp_path / "x.xlsx"), CatalogOptions())
        return caught.value.message

    assert ".xlsb" in names("[Content_Types].xml", "xl/workbook.bin")
    assert "OpenDocument" in names("mimetype", "content.xml", "META-INF/manifest.xml")
    assert "no workbook" in names("a.txt")
    assert "cannot be read" in names("[Content_Types].xml", "word/document.xml")


def test_without_openpyxl_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path / "a.xlsx", HEADER)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert 'pip install --editable ".[excel]"' in refusal(path)


LIGHT = settings(max_examples=40, deadline=None)
VALUE = (
    st.none() | st.integers(-(10**14), 10**14) | st.booleans() | st.sampled_from(["", "a", "b", "#N/A", "=A1", "draft"])
)


@LIGHT
@given(st.lists(st.lists(VALUE, max_size=4), max_size=6), st.integers(0, 2))
def test_any_rows_are_accounted_for(rows: list[list[Any]], above: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = book(Path(folder) / "a.xlsx", *([["x"]] * above), HEADER, *rows)
        _settle(path)


@LIGHT
@given(st.integers(0, 5000), st.binary(min_size=1, max_size=8), st.booleans())
def test_any_damage(at: int, noise: bytes, inside: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = book(Path(folder) / "a.xlsx", HEADER, *([f"k{n}", "Mug", n] for n in range(30)))
        if inside:
            rewrite(path, "xl/worksheets/sheet1.xml", lambda data: data[:at] + noise + data[at + len(noise) :])
        else:
            data = path.read_bytes()
            path.write_bytes(data[:at] + noise + data[at + len(noise) :])
        _settle(path)


def _settle(path: Path) -> None:
    try:
        reader = open_catalog(path)
    except ConfigError as error:
        str(error).encode()
        return
    read_all(reader)
    "".join(reader.notes).encode()


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)


@LIGHT
@given(st.lists(st.tuples(WORDS, st.integers(0, 10**15 - 1), st.floats(-1e9, 1e9, width=32)), min_size=1, max_size=5))
def test_rows_come_back_as_written(rows: Iterable[tuple[str, int, float]]) -> None:
    written = [(f"'{word}", whole, number) for word, whole, number in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = book(Path(folder) / "a.xlsx", HEADER, *written)
        found = cells(path)
    assert [(word, int(whole)) for word, whole, _ in found] == [(word, whole) for word, whole, _ in written]
    assert [float(n) for _, _, n in found] == pytest.approx([n for _, _, n in written], rel=1e-14)


# From the unzipped xl/worksheets/sheet1.xml and xl/sharedStrings.xml, by eye; day 42370 is 2016-01-01.
REAL: dict[str, list[tuple[str, ...]]] = {
    "akeneo_products_with_floats": [("rangers001", "number_family", "0.87"), ("rangers002", "number_family", "1.49")],
    "akeneo_products_with_integers": [("rangers001", "number_family", "27"), ("rangers002", "number_family", "84")],
    "akeneo_products_with_timestamp_dates": [
        ("rangers001", "date_family", "2016-06-24"),
        ("rangers002", "date_family", "2016-07-01"),
    ],
    "akeneo_product_with_carriage_return": [
        ("SKU-001", "boots", "CROSS", "winter_boots", "Donec", "dictum magna.\n\nLorem ispum\nEst")
    ],
}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"samples are not at {SAMPLES}; set PACKSHOT_SAMPLES to their folder")
@pytest.mark.parametrize("name", list(REAL))
def test_real_workbooks(name: str) -> None:
    title = "name-en_US" if "carriage" in name else "family"
    path = SAMPLES / "catalogs" / f"{name}.xlsx"
    mapping = {"product_key": "sku", "title": title}
    assert cells(path, mapping=mapping, format="csv") == REAL[name]
    assert [p.product_key for p in read(path, mapping=mapping, format="csv")[1]] == [row[0] for row in REAL[name]]
