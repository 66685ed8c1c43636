"""Parquet files."""

from __future__ import annotations

import datetime as dt
import json
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog import CatalogOptions, open_catalog
from packshot.catalog.local_files import local_file
from packshot.catalog.records import Record
from packshot.catalog.tables.opening import open_table
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import read, read_all


def save(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def column(path: Path, name: str = "v") -> list[str]:
    table = open_table(local_file(path), CatalogOptions())
    return [record.cells[table.header.index(name)] for record in table.records()]


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        (["001", None, " x "], pa.string(), ["001", "", "x"]),
        (["ü", "b"], pa.large_string(), ["ü", "b"]),
        (["a", "b", "a"], pa.dictionary(pa.int32(), pa.string()), ["a", "b", "a"]),
        ([1, None, 4006381333931], pa.int64(), ["1", "", "4006381333931"]),
        ([1.0, 4006381333931.0, 19.9], pa.float64(), ["1", "4006381333931", "19.9"]),
        ([1e-7, 1e22], pa.float64(), ["0.0000001", "1" + "0" * 22]),
        ([float("nan"), float("inf"), None], pa.float64(), ["", "", ""]),
        ([True, False], pa.bool_(), ["true", "false"]),
        ([Decimal("1.10"), Decimal("0.00")], pa.decimal128(10, 2), ["1.10", "0.00"]),
        ([dt.date(2024, 2, 29)], pa.date32(), ["2024-02-29"]),
        ([dt.datetime(2024, 2, 29)], pa.timestamp("us"), ["2024-02-29"]),
        ([dt.datetime(2024, 2, 29, 1, 2)], pa.timestamp("us"), ["2024-02-29T01:02:00"]),
        ([1709164800000000001, 2**62], pa.timestamp("ns"), ["2024-02-29", "2116-02-20T23:53:38.427387"]),
        ([1709168400], pa.timestamp("s", "Mars/Olympus"), ["2024-02-29T01:00:00+00:00"]),
        ([dt.time(8, 15)], pa.time64("us"), ["08:15:00"]),
        ([["a.jpg", "b.jpg"], [], None], pa.list_(pa.string()), ['["a.jpg", "b.jpg"]', "", ""]),
        ([[Decimal("1.5")]], pa.large_list(pa.decimal128(5, 1)), ['["1.5"]']),
        ([{"a": 1, "b": None}], pa.struct([("a", pa.int8()), ("b", pa.string())]), ['{"a": 1, "b": null}']),
        ([[("k", 1), ("l", 2)]], pa.map_(pa.string(), pa.int8()), ['{"k": 1, "l": 2}']),
        ([{"bytes": b"\xff", "path": "a.jpg"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
         ['{"bytes": null, "path": "a.jpg"}']),
        ([b"text", b"\xc3\xbc"], pa.binary(), ["text", "ü"]),
        ([None, None], pa.null(), ["", ""]),
    ],
)  # fmt: skip
def test_cells_as_text(tmp_path: Path, values: list[Any], kind: Any, texts: list[str]) -> None:
    path = save(tmp_path / "a.parquet", v=pa.array(values, kind))
    assert column(path) == texts


def test_products_in_row_groups(tmp_path: Path) -> None:
    count = 5_000
    table = pa.table(
        {
            "id": [str(n) for n in range(count)],
            "title": ["Mug"] * count,
            "images": [[f"{n}.jpg", f"{n}-2.jpg"] for n in range(count)],
        }
    )
    path = tmp_path / "shop"  # the bytes decide, not the name
    pq.write_table(table, path, row_group_size=700, compression="zstd")
    reader, products, rejects = read(path)
    assert (reader.kind, reader.encoding, rejects) == ("Parquet", "", [])
    assert [(p.product_key, p.record, p.line) for p in products] == [(str(n), n + 1, n + 1) for n in range(count)]
    assert products[-1].image_refs == ("4999.jpg", "4999-2.jpg")


def test_bytes_that_are_no_text_are_counted(tmp_path: Path) -> None:
    path = save(tmp_path / "a", id=["a", "b"], title=["x", "y"], photo=pa.array([b"\xff\xd8", b"\xff\xd8"]))
    reader, products, _ = read(path)
    assert len(products) == 2
    read_all(reader)
    assert reader.notes == ["2 x cell with bytes that are no text, read as empty, in column 'photo'"]


def test_text_that_is_none_costs_its_record(tmp_path: Path) -> None:
    bad = pa.array([b"fine", b"\xff", b"fine"]).view(pa.string())
    _, products, rejects = read(save(tmp_path / "a", id=["a", "b", "c"], title=bad))
    assert [p.product_key for p in products] == ["a", "c"]
    assert [(r.record, r.code) for r in rejects] == [(2, Code.BAD_TEXT)]


def test_a_date_beyond_the_calendar_costs_its_record(tmp_path: Path) -> None:
    dates = pa.array([0, 2**60], pa.timestamp("us"))
    _, products, rejects = read(save(tmp_path / "a", id=["a", "b"], title=["x", "y"], date=dates))
    assert [p.product_key for p in products] == ["a"]
    assert [r.code for r in rejects] == [Code.BAD_TEXT]


def test_a_damaged_page_ends_the_reading_in_one_reject(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    count = 6_000
    table = pa.table({"id": [f"{n:06}" for n in range(count)], "title": [f"Mug {n}" for n in range(count)]})
    pq.write_table(
        table, path, row_group_size=2_000, write_page_checksum=True, use_dictionary=False, compression="none"
    )
    data = bytearray(path.read_bytes())
    at = data.index(b"004500")
    data[at : at + 6] = b"004x00"
    path.write_bytes(data)
    _, products, rejects = read(path)
    assert [p.product_key for p in products] == [f"{n:06}" for n in range(4_000)]
    assert [(r.record, r.code) for r in rejects] == [(4_001, Code.FILE_DAMAGED)]
    assert "row 4,001 of 6,000" in rejects[0].message


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        open_catalog(path, CatalogOptions(**options))
    return caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    good = save(tmp_path / "a", id=["a"], title=["x"]).read_bytes()
    path = tmp_path / "b"
    for cut in range(4, len(good), 13):
        path.write_bytes(good[:cut])
        assert "Parquet file that cannot be read" in refusal(path)
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["id", " id "]), path)
    assert "two columns of the same name" in refusal(path)
    assert "no records" in refusal(save(path, id=pa.array([], pa.string()), title=pa.array([], pa.string())))
    assert "not JSON" in refusal(save(path, id=["a"], title=["x"]), format="json")


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a", id=["a"], title=["x"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert 'pip install --editable ".[parquet]"' in refusal(path)


LIGHT = settings(max_examples=100, deadline=None)


@LIGHT
@given(st.integers(0, 1500), st.binary(min_size=1, max_size=6))
def test_any_damage(at: int, noise: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder) / "a", id=[str(n) for n in range(50)], title=["Mug"] * 50, n=list(range(50)))
        data = path.read_bytes()
        path.write_bytes(data[:at] + noise + data[at + len(noise) :])
        try:
            reader = open_catalog(path)
        except ConfigError as error:
            str(error).encode()
            return
        read_all(reader)


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@LIGHT
@given(st.lists(st.tuples(TEXT, st.none() | st.integers(-(2**63), 2**63 - 1), st.lists(TEXT, max_size=3)), max_size=6))
def test_rows_come_back_as_written(rows: list[tuple[str, int | None, list[str]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = save(
            Path(folder) / "a",
            text=pa.array([row[0] for row in rows], pa.string()),
            number=pa.array([row[1] for row in rows], pa.int64()),
            list=pa.array([row[2] for row in rows], pa.list_(pa.string())),
        )
        records = list(open_table(local_file(path), CatalogOptions()).records())
    assert all(isinstance(record, Record) for record in records)
    assert [record.cells for record in records] == [
        (text.strip(), "" if number is None else str(number), json.dumps(list_, ensure_ascii=False) if list_ else "")
        for text, number, list_ in rows
    ]
