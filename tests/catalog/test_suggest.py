"""Which columns of an unknown catalog are proposed, and in which words."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog import CatalogOptions, open_catalog
from packshot.catalog.columns import UnmappedColumns
from packshot.catalog.suggest import mapping_flags, mapping_yaml, shell_word, suggest
from packshot.errors import PackshotError
from tests.catalog.catalog_files import read, write

GERMAN = """\
Lfd;Artikelkennung;Kurztext;Langtext;VK-Preis;Bestand;Bild1;Bild2;Warengruppe
1;K-1001;Kaffeebecher Nordlicht 350 ml;Ein Becher aus Steinzeug.;12,90;4;https://s.example/k1.jpg;https://s.example/k2.jpg;Küche
2;K-1002;Müslischale Nordlicht 500 ml;Eine Schale aus Steinzeug.;14,90;4;https://s.example/k3.jpg;;Küche
3;L-2001;Tischleuchte Eiche klein;Leuchte mit Leinenschirm.;89,00;2;https://s.example/l1.jpg;;Wohnen
4;L-2002;Stehleuchte Eiche groß;Leuchte mit Leinenschirm.;189,00;1;https://s.example/l2.jpg;;Wohnen
"""


def table(text: str, delimiter: str = ";") -> tuple[list[str], list[list[str]]]:
    header, *rows = [line.split(delimiter) for line in text.strip().split("\n")]
    return header, rows


def test_a_german_export_with_names_of_its_own() -> None:
    assert suggest(*table(GERMAN)) == {
        "product_key": ["Artikelkennung"],  # not the running number, though it is unique and comes first
        "title": ["Kurztext"],  # not the long text, which repeats itself and says so in its name
        "image_refs": ["Bild1", "Bild2"],
    }


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # Wide characters: seven of them are a title, as fourteen Latin letters are.
        ("货号;说明名;图\nA-1;陶瓷马克杯蓝色;a/1.jpg\nA-2;陶瓷马克杯红色;a/2.jpg", ("货号", "说明名", ["图"])),
        ("Kod;Opis krótki\nX1;Kubek z kamionki\nX2;Miska z kamionki", ("Kod", "Opis krótki", None)),
        # No number at all: the name is what tells products apart.
        ("Ware;Farbe\nBecher aus Ton;blau\nSchale aus Ton;blau", ("Ware", "Ware", None)),
        # Two of five records share a number, one has none: a column that is called a number is still the best.
        ("Nummer;Was\nn1;Ein Becher\nn2;Zwei Becher\nn3;Drei Becher\nn4;Vier Becher\nn4;Vier Becher\n;x y",
         ("Nummer", "Was", None)),
        # Prices and dates are unique as well, and so are addresses of people.
        ("Preis;Am;Wer;Teil;Was\n1,5;2024-01-02;a@b.cd;7001;Becher aus Ton\n2,5;2024-01-03;c@b.cd;7002;Napf aus Ton",
         ("Teil", "Was", None)),
        # Photos without an ending, in a column that says that they are some.
        ("nr;was;foto\na1;Becher aus Ton;https://cdn.example/i/1\na2;Napf aus Ton;https://cdn.example/i/2",
         ("nr", "was", ["foto"])),
    ],
)  # fmt: skip
def test_what_cells_look_like_decides(text: str, wanted: tuple[str, str, list[str] | None]) -> None:
    found = suggest(*table(text))
    assert (found.get("product_key"), found.get("title"), found.get("image_refs")) == (
        [wanted[0]], [wanted[1]], wanted[2],
    )  # fmt: skip


def test_what_is_known_is_not_proposed_again() -> None:
    header, rows = table(GERMAN)
    assert suggest(header, rows, known=["product_key", "image_refs"]) == {"title": ["Kurztext"]}
    assert suggest(header, []) == {}
    assert suggest(["a", "b"], [["", ""], []]) == {}


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n"), max_size=12)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT, max_size=5, unique=True), st.lists(st.lists(TEXT, max_size=6), max_size=6))
def test_any_cells(header: list[str], rows: list[list[str]]) -> None:
    for names in suggest(header, rows).values():
        assert set(names) <= set(header)
        assert all(names)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20))
def test_a_column_s_name_survives_the_shell_and_yaml(name: str) -> None:
    assert shlex.split(shell_word(name)) == [name]
    assert shlex.split(mapping_flags({"title": [name]})) == ["--map", f"title={name}"]


@pytest.mark.parametrize(
    "name", ['Größe "L"', "a\\b", "C:D", "- x", "#no", "it's", "$HOME", "yes", "名 前", "a, b", "[x]"]
)
def test_yaml_brings_the_name_back(name: str) -> None:
    assert yaml.safe_load(mapping_yaml({"title": [name], "image_refs": [name, "b"]})) == {
        "mapping": {"title": name, "image_refs": [name, "b"]}
    }


def test_the_refusal_says_what_to_add_and_that_works(tmp_path: Path) -> None:
    path = write(tmp_path, GERMAN)
    with pytest.raises(UnmappedColumns) as caught:
        open_catalog(path)
    assert "no column known to hold the product's key and title" in caught.value.message
    flags = "--map product_key=Artikelkennung --map title=Kurztext --map image_refs=Bild1 --map image_refs=Bild2"
    assert flags in caught.value.message
    suggested = caught.value.details["suggested"]
    assert mapping_yaml(suggested) in caught.value.message
    _, products, rejects = read(path, mapping=suggested)
    assert [p.product_key for p in products] == ["K-1001", "K-1002", "L-2001", "L-2002"]
    assert products[0].image_refs == ("https://s.example/k1.jpg", "https://s.example/k2.jpg")
    assert not rejects


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UnmappedColumns) as caught:
        open_catalog(write(tmp_path, "sku,colour\n1,red\n"))
    assert caught.value.message.endswith("Map what holds it: --map title=COLUMN")
    assert caught.value.details["suggested"] == {}


def test_what_no_column_looks_like_is_asked_for_beside_what_one_does(tmp_path: Path) -> None:
    text = "Artikelnummer;Farbe;Bild\nA-1;rot;https://s.example/a.jpg\nA-2;blau;https://s.example/b.jpg\n"
    with pytest.raises(UnmappedColumns) as caught:
        open_catalog(write(tmp_path, text))
    assert caught.value.details["suggested"] == {"product_key": ["Artikelnummer"], "image_refs": ["Bild"]}
    assert caught.value.message.endswith("}). Map what holds the rest: --map title=COLUMN")


def test_json_has_its_suggestion_too(tmp_path: Path) -> None:
    path = write(tmp_path, '{"nummer": "a1", "was": "Becher aus Ton", "pics": ["x/1.jpg"], "n": 3}\n', "shop.jsonl")
    with pytest.raises(PackshotError, match="--map product_key=nummer --map title=was --map image_refs=pics") as caught:
        open_catalog(path)
    assert open_catalog(path, CatalogOptions(mapping=caught.value.details["suggested"]))


def test_a_title_above_the_header_does_not_hide_it(tmp_path: Path) -> None:
    path = write(tmp_path, "Preisliste;;\n\nKennung;Kurztext;Bild\nK1;Becher aus Ton;a.jpg\nK2;Napf aus Ton;b.jpg\n")
    with pytest.raises(UnmappedColumns) as caught:
        open_catalog(path)
    suggested = caught.value.details["suggested"]
    assert suggested == {"product_key": ["Kennung"], "title": ["Kurztext"], "image_refs": ["Bild"]}
    reader, products, _ = read(path, mapping=suggested)
    assert [product.line for product in products] == [4, 5]
    assert any("the header was found on line 3" in note for note in reader.notes)
