"""Physical lines, whatever the blocks are in which they are read."""

from __future__ import annotations

import io
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.catalog.tables import text as module
from packshot.catalog.tables.encoding import DAMAGED
from packshot.catalog.tables.text import Lines
from packshot.errors import Code

TEXTS = st.text(alphabet=["a", "ø", "\r", "\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\x00", DAMAGED], max_size=40)


@given(text=TEXTS, block=st.integers(1, 7))
def test_lines_end_where_a_file_s_lines_end_and_nowhere_else(text: str, block: int) -> None:
    with patch.object(module, "_BLOCK", block):
        lines = Lines(io.StringIO(text, newline=""))
        found = [(line, lines.take_fault()) for line in lines]
    assert [line for line, _ in found] == io.StringIO(text, newline="").readlines()
    for number, (line, fault) in enumerate(found, start=1):
        assert bool(fault) == ("\x00" in line or DAMAGED in line)
        assert fault is None or f"line {number} " in fault[1]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("beyond", [1, 50, 49_999, 300_000])
def test_an_endless_line_is_cut_and_the_next_one_is_read(end: str, beyond: int) -> None:
    with patch.object(module, "LINE_MAX", 100_000):
        lines = Lines(io.StringIO(f"first{end}{'x' * (100_000 + beyond)}{end}last{end}", newline=""))
        found = [(line, lines.take_fault()) for line in lines]
    assert [line for line, _ in found[::2]] == [f"first{end}", f"last{end}"]
    [(_, fault)] = found[1::2]
    assert fault is None or fault[0] is Code.BAD_FIELD
    assert bool(fault) == (beyond > 50)  # what ends within a block of the limit is taken
