"""A JSON list of objects, alone in its file or under a key."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog import CatalogOptions, open_catalog
from packshot.catalog.local_files import local_file
from packshot.catalog.tables.json_array import JsonArray
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import SAMPLES, read, read_all, write
from tests.catalog.test_catalog_properties import survive

A = '{"id": "a", "title": "Mug"}'
B = '{"id": "b", "title": "Cup"}'
C = '{"id": "c", "title": "Jug"}'


def keys(path: Path, **options: Any) -> tuple[list[str], list[tuple[int, int, Code]]]:
    _, products, rejects = read(path, **options)
    return [p.product_key for p in products], [(r.record, r.line, r.code) for r in rejects]


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        open_catalog(path, CatalogOptions(**options))
    return caught.value.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_elements_with_their_lines(tmp_path: Path, end: str, encoding: str) -> None:
    text = f"{end}[{end} {A},{end}{end}{B} ,{end}{C}{end}]{end}"
    reader, products, rejects = read(write(tmp_path, text.encode(encoding), "shop.json"))
    assert (reader.kind, reader.format, rejects) == ("JSON array", "json", [])
    assert [p.product_key for p in products] == ["a", "b", "c"]
    assert [p.line for p in products] == ([3, 5, 6] if end else [1, 1, 1])


def test_numbers_stay_as_written(tmp_path: Path) -> None:
    text = '[{"id": 1.10, "title": "x", "attributes": {"ean": 4006381333931, "w": 1e999, "n": ' + "1" * 5000 + "}}]"
    product = read(write(tmp_path, text))[1][0]
    assert (product.product_key, product.attributes["ean"], product.attributes["w"]) == (
        "1.10",
        "4006381333931",
        "1e999",
    )


BROKEN = [
    '{"id": NaN, "title": "x"}',
    '{"id": "x", "title": "x", "price": -Infinity}',
    '{"id": "x", "title": "x",}',
    '{"id": "x", "title": "x}, {y"; 1}'.replace(";", ","),
    '{"id": "x", "title": "two\nlines"}',
    '{"id": "x", "title": "\\q"}',
    '{id: "x", "title": "x", "images": [{"src": "a.jpg"}]}',
    "tru",
    "[" * 2000 + "]" * 2000,
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_element_costs_one_reject(tmp_path: Path, broken: str) -> None:
    found = keys(write(tmp_path, f"[{A},\n{broken},\n{B},\n{broken}]", "shop.json"))
    more = broken.count("\n")
    assert found == (["a", "b"], [(2, 2, Code.BAD_JSON), (4, 4 + more, Code.BAD_JSON)])


def test_an_element_of_another_kind_is_rejected(tmp_path: Path) -> None:
    found = keys(write(tmp_path, f'[{A}, 1, "x", null, [{B}], {C}]', "shop.json"))
    assert found == (["a", "c"], [(n, 1, Code.BAD_JSON) for n in (2, 3, 4, 5)])


@pytest.mark.parametrize(
    "rest",
    [
        '{"id": "b", "title": "19" monitor", "x": "1"},' + f"\n{C}]",  # an unescaped quote turns all that follows
        '{"id": "b" "title": "x"},' + f"\n{C}]",
        "{'id': 'b', 'title': 'x'}," + f"\n{C}]",
        '{"id": "b", "ti',
        '{"id": "b", "title": "x"',
        '{"id": "b", "title": [1, 2}, ' + f"{C}]",
        f"}} , {C}]",
        f"{B} ? {C}]",
    ],
)
def test_what_cannot_be_followed_ends_in_one_reject_that_says_so(tmp_path: Path, rest: str) -> None:
    _, products, rejects = read(write(tmp_path, f"[{A},\n{rest}", "shop.json"))
    assert {p.product_key for p in products} <= {"a", "b"}
    assert products[0].product_key == "a"
    assert [r.code for r in rejects] == [Code.BAD_JSON]
    assert rejects[0].line == 2
    assert "rest of the file was not read" in rejects[0].message


@pytest.mark.parametrize("tail", ["", ",", "\n", f", {B[:9]}"])
def test_a_list_that_is_cut_off_says_so(tmp_path: Path, tail: str) -> None:
    _, products, rejects = read(write(tmp_path, f"[{A}{tail}", "shop.json"))
    assert [p.product_key for p in products] == ["a"]
    assert "cut off" in rejects[0].message


def test_small_slips_between_elements_lose_nothing(tmp_path: Path) -> None:
    assert keys(write(tmp_path, f"[{A} {B}, {C},]", "shop.json")) == (["a", "b", "c"], [])


def test_what_follows_the_list_is_not_passed_over(tmp_path: Path) -> None:
    assert keys(write(tmp_path, f"[{A}]\n[{B}]", "shop.json")) == (["a"], [(2, 2, Code.BAD_JSON)])


def test_damaged_bytes_cost_one_record(tmp_path: Path) -> None:
    content = f"[{A},".encode() + b'{"id": "b", "title": "\xff"},' + f"{C}]".encode()
    assert keys(write(tmp_path, content, "shop.json"), encoding="utf-8") == (["a", "c"], [(2, 1, Code.BAD_TEXT)])


def test_elements_larger_than_a_block_and_too_large(tmp_path: Path) -> None:
    long = json.dumps({"id": "long", "title": "x", "description": "y" * 1_500_000})
    over = json.dumps({"id": "over", "title": "x", "description": "y" * (8 << 20)})
    found = keys(write(tmp_path, f"[{long},{B},\n{over},{C}]", "shop.json"))
    assert found == (["long", "b", "c"], [(3, 2, Code.BAD_JSON)])


@pytest.mark.parametrize(
    "text",
    [
        f'{{"count": 2, "products": [{A}, {B}], "next": null}}',
        f'{{"products": [\n{A},\n{B}\n]}}',
        f'{{\n "tags": ["x"],\n "meta": {{"rows": [{C}]}},\n "empty": [],\n "products": [\n{A},\n{B}]\n}}\n',
    ],
)
def test_the_one_list_of_an_object(tmp_path: Path, text: str) -> None:
    reader, products, rejects = read(write(tmp_path, text, "shop.json"))
    assert ([p.product_key for p in products], rejects, reader.kind) == (["a", "b"], [], "JSON object")
    assert "the list 'products'" in reader.notes[0]


def test_an_object_with_one_list_whose_end_is_cut_off(tmp_path: Path) -> None:
    found = keys(write(tmp_path, f'{{"products": [\n{A},\n{B[:12]}', "shop.json"))
    assert found == (["a"], [(2, 3, Code.BAD_JSON)])


def test_several_lists_are_named_and_one_is_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, f'{{"products": [{A}], "bundles": [{B}], "products": [{C}]}}', "shop.json")
    assert "products, bundles" in refusal(path)
    assert "`records`" in refusal(path)
    assert keys(path, records="bundles") == (["b"], [])
    assert keys(path, records="products") == (["a", "c"], [])  # a key that comes twice loses nothing
    assert "Found: products, bundles" in refusal(path, records="items")


def test_json_lines_are_still_json_lines(tmp_path: Path) -> None:
    one = '{"id": "a", "title": "Mug", "images": [{"src": "a.jpg"}]}'
    assert read(write(tmp_path, one, "a.jsonl"))[0].kind == "JSON lines"
    assert read(write(tmp_path, f"{one}\n{B}\n", "b.jsonl"))[0].kind == "JSON lines"
    cut = '{"id": "a", "images": [{"src": "a.jpg"}], "title": "Mu'
    reader, products, rejects = read(write(tmp_path, f"{cut}\n{B}\n", "c.jsonl"))
    assert (reader.kind, [p.product_key for p in products], rejects[0].line) == ("JSON lines", ["b"], 1)


@pytest.mark.parametrize("text", ["[]", "[1, 2]", "[", "[{", "[[[", '{"a": ', "{"])
def test_without_an_object_it_is_refused(tmp_path: Path, text: str) -> None:
    assert "no JSON object" in refusal(write(tmp_path, text, "shop.json"), format="json")


def test_a_table_that_begins_with_a_bracket_is_a_table(tmp_path: Path) -> None:
    assert keys(write(tmp_path, "[x],sku,title\n1,a,Mug\n")) == (["a"], [])


def test_memory_holds_a_block_and_not_the_list(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("w") as file:
        file.write("[")
        for number in range(40_000):
            file.write(json.dumps({"id": number, "title": "x", "more": "y" * 400}) + ",\n")
        file.write("{}]")
    table = open_catalog(path).parts[0].table
    tracemalloc.start()
    try:
        count = sum(1 for _ in table.records())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 40_001
    assert path.stat().st_size > 16_000_000
    assert peak < 4_000_000, f"{peak:,} bytes"


LIGHT = settings(max_examples=150, deadline=None)
PIECES = st.sampled_from([A, B, C, *BROKEN[:8], *'{}[],:"\\', "\n", '"x"', "1", "null", '{"products": [', "\ud83d"])


@LIGHT
@given(
    st.lists(PIECES, max_size=14), st.sampled_from(["[", '{"products": [', "", "{"]), st.sampled_from(["", "products"])
)
def test_any_pieces(pieces: list[str], start: str, records: str) -> None:
    survive((start + "".join(pieces)).encode("utf-8", "replace"), records=records)


@LIGHT
@given(st.lists(st.sampled_from([A, B, C, *BROKEN]), max_size=8), st.integers(0, 400))
def test_any_cut(elements: list[str], at: int) -> None:
    survive(("[" + ", ".join(elements) + "]")[:at].encode(), format="json")


OBJECT = st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text(max_size=6), max_size=3)


@LIGHT
@given(st.lists(OBJECT, min_size=1, max_size=6), st.sampled_from([None, 1]), st.booleans())
def test_lists_come_back_as_written(objects: list[dict[str, Any]], indent: int | None, wrapped: bool) -> None:
    text = json.dumps({"n": 1, "list": objects} if wrapped else objects, indent=indent)
    with tempfile.TemporaryDirectory() as folder:
        table = JsonArray(local_file(write(Path(folder), text)), "utf-8", "list" if wrapped else None)
        records = list(table.records())
    assert [json.loads(record.cells[0]) for record in records] == objects


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"samples are not at {SAMPLES}; set PACKSHOT_SAMPLES to their folder")
def test_a_fixture_of_many_models() -> None:
    path = SAMPLES / "catalogs" / "saleor_populatedb.json"
    # By plain json: 721 objects, 32 of them of the model product.product, each with a name and a pk of its own.
    objects = json.loads(path.read_text())
    wanted = [str(thing["pk"]) for thing in objects if thing["model"] == "product.product"]
    reader, products, rejects = read(
        path,
        where={"model": ["product.product"]},
        mapping={"product_key": "pk", "title": "fields.name", "description": "fields.description_plaintext"},
    )
    assert (len(objects), len(wanted)) == (721, 32)
    assert reader.counts.records == 721
    assert [p.product_key for p in products] == wanted
    assert {r.code for r in rejects} == {Code.NOT_SELECTED}
    lines = [n for n, line in enumerate(path.read_text().splitlines(), 1) if line == "  {"]
    assert [item.line for item in read_all(reader)] == lines
