"""Which products a run is for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from packshot.catalog.model import Product
from packshot.cli import app
from packshot.errors import Code, ConfigError
from packshot.selection import SHOWN, Selection

MUG = Product("shop", "mug", sku="M-1", category="Home & Garden > Kitchen > Mugs")
VASE = Product("shop", "vase", category="Home & Garden > Decor")
SOAP = Product("shop", "soap", sku="S-1", category="Homeware")
CARD = Product("shop", "card")
ALL = (MUG, VASE, SOAP, CARD)


def chosen(products: list[str], categories: list[str]) -> list[str]:
    selection = Selection(products, categories)
    found = [product.product_key for product in ALL if selection.takes(product)]
    selection.check()
    return found


@pytest.mark.parametrize(
    ("products", "categories", "expected"),
    [
        ([], [], ["mug", "vase", "soap", "card"]),
        (["mug", "S-1"], [], ["mug", "soap"]),
        ([], ["Home & Garden"], ["mug", "vase"]),
        ([], ["home & garden"], ["mug", "vase"]),
        ([], ["Home & Garden > Kitchen"], ["mug"]),
        ([], ["HOME & GARDEN>kitchen > MUGS"], ["mug"]),
        ([], ["Home & Garden/Decor"], ["vase"]),
        ([], ["Homeware", "Home & Garden > Decor"], ["vase", "soap"]),
        (["mug", "soap"], ["Home & Garden"], ["mug"]),
    ],
)
def test_products_are_chosen_by_name_and_by_whole_steps_of_their_category(
    products: list[str], categories: list[str], expected: list[str]
) -> None:
    assert chosen(products, categories) == expected


@pytest.mark.parametrize(
    ("products", "categories", "said"),
    [
        (["mug", "cup"], [], "no product with the key or SKU cup"),
        (["Mug"], [], "no product with the key or SKU Mug"),
        (
            [],
            ["Home"],
            "no product in the category 'Home' (it has: Home & Garden > Decor, Home & Garden > Kitchen > Mugs",
        ),
        ([], ["Homeware", "Kitchen"], "no product in the category 'Kitchen'"),
        ([], ["Home & Garden > Kitchen > Mugs > Large"], "no product in the category"),
        (["soap"], ["Home & Garden"], "none of the products soap is in the category 'Home & Garden'"),
        (["soap"], ["Toys"], "no product in the category 'Toys'"),
    ],
)
def test_what_is_not_there_is_named(products: list[str], categories: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as failure:
        chosen(products, categories)
    assert said in failure.value.message
    assert failure.value.code is Code.CATALOG_INVALID


def test_a_message_names_some_of_many_categories() -> None:
    selection = Selection([], ["Toys"])
    for number in range(SHOWN + 3):
        selection.takes(Product("shop", f"p{number}", category=f"C {number:02d}"))
    with pytest.raises(ConfigError, match=r"\(it has: C 00, .*, C 09, and 3 more\)"):
        selection.check()
    selection = Selection([], ["Toys"])
    selection.takes(CARD)
    with pytest.raises(ConfigError, match="it has: no categories at all"):
        selection.check()


def test_what_is_left_out_is_counted() -> None:
    selection = Selection([], ["Homeware"])
    assert selection.note == ""
    assert [selection.takes(product) for product in ALL] == [False, False, True, False]
    assert (selection.chosen, selection.left_out) == (1, 3)
    assert selection.note == "3 of 4 products read are not_selected: the run is not for them"


def test_the_command_line_takes_categories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no.env").touch()
    monkeypatch.setenv("PACKSHOT_ENV_FILE", str(tmp_path / "no.env"))
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    catalog = tmp_path / "shop.csv"
    catalog.write_text("id,title,category\nmug,Mug,Kitchen > Mugs\nsoap,Soap,Bath\ncar,Car,Toys\n")
    command = ["plan", str(catalog), "--category", "kitchen", "--category", "toys", "--shot", "packshot", "--json"]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 0, answer.output
    plan = json.loads(answer.stdout)
    assert (plan["to_make"], plan["left_out"], plan["counts"]["accepted"]) == (2, 1, 3)
    assert set(plan["by_category"]) == {"Kitchen > Mugs", "Toys"}
    assert "1 of 3 products read are not_selected: the run is not for them" in plan["notes"]
