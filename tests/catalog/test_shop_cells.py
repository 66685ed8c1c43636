"""Flags and category paths, as several shop systems write them."""

from __future__ import annotations

import pytest

from packshot.catalog.formats.shop_cells import categories, status_word


@pytest.mark.parametrize(
    ("cell", "step", "between", "said"),
    [
        ("", ">", ",", ""),
        (" , > ,", ">", ",", ""),
        ("Shoes", ">", ",", "Shoes"),
        ("New, Shoes > Boots > Ankle, Shoes > Boots, Shoes", ">", ",", "Shoes > Boots > Ankle; New"),
        ("Sale, Sale", ">", ",", "Sale"),
        ("Salt\\, pepper, Spices", ">", ",", "Salt, pepper; Spices"),
        ("Home &amp; Garden;Shop", "/", ";", "Home & Garden; Shop"),
        ("A/B,C", "", ",", "A/B; C"),
    ],
)
def test_categories(cell: str, step: str, between: str, said: str) -> None:
    assert categories(cell, step, between) == said


@pytest.mark.parametrize(
    "cell", [",".join(map(str, range(200_000))), "a>" * 500_000, "&amp;" * 200_000, "\\" * 900_000]
)
def test_a_cell_of_any_length_takes_no_time(cell: str) -> None:
    assert len(categories(cell, ">")) <= len(cell)


def test_the_trees_root_says_nothing() -> None:
    roots = ("Default Category",)
    assert categories("Default Category/Men,Default Category/Men/Tops", "/", roots=roots) == "Men > Tops"
    assert categories("Default Category", "/", roots=roots) == ""


@pytest.mark.parametrize(
    ("flag", "word"),
    [("1", "active"), (" Yes ", "active"), ("TRUE", "active"), ("0", "draft"), ("2", "draft"), ("N", "draft"),
     ("", ""), ("archived", "archived")],
)  # fmt: skip
def test_flags(flag: str, word: str) -> None:
    assert status_word(flag) == word
