"""catalog.yaml: what it may say, what is refused in which words, and whose word counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from packshot.catalog import CatalogOptions, CatalogReader
from packshot.errors import Code, ConfigError
from packshot.inputs.catalog_file import CatalogFile, catalog_yaml, choose_catalog, combined, load_catalog_file
from packshot.inputs.sources import sources_of
from packshot.options import RunOptions
from packshot.plan import catalog_of
from packshot.settings import Settings

GOOD = """\
source: products.csv
delimiter: ";"
header_row: 2
mapping:
  product_key: Artikel
  image_refs: [Bild1, Bild2]
where: {Aktiv: ["1", ja]}
statuses: [aktiv]
locale: de
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text("Artikel,Bezeichnung\nA1,Ein Becher\n")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    (folder / "catalog.yaml").write_text(text)
    return folder / "catalog.yaml"


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_catalog_file(written(folder, text))
    assert caught.value.code is Code.CATALOG_INVALID
    return caught.value.message


def test_its_fields_arrive(shop: Path) -> None:
    chosen = choose_catalog(str(written(shop, GOOD)), {})
    assert chosen.source == str(shop / "products.csv")
    assert chosen.folder == shop
    assert chosen.options == CatalogOptions(
        delimiter=";",
        header_row=2,
        mapping={"product_key": "Artikel", "image_refs": ["Bild1", "Bild2"]},
        where={"Aktiv": ["1", "ja"]},
        statuses=["aktiv"],
        locale="de",
    )


def test_every_reading_option_is_a_field() -> None:
    assert set(CatalogFile.model_fields) == {*CatalogOptions.model_fields, "source"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("delimiter:", "delimeter:"), ["catalog.yaml:2: delimeter is not a field", "mean 'delimiter'?", "allowed: "]),
        (('";"', '";;"'), [":2: delimiter", "';;'"]),
        (("header_row: 2", "header_row: two"), [":3: header_row must be a whole number (found 'two')"]),
        (("header_row: 2", "header_row: -1"), [":3: header_row must be 0 or more (found '-1')"]),
        (("product_key:", "product_kye:"), [":5: mapping", "'product_kye'", "did you mean 'product_key'", "allowed: "]),
        (("[Bild1, Bild2]", "{a: b}"), [":6: mapping.image_refs must be"]),
        (("[aktiv]", "aktiv"), [":8: statuses must be a list, like [a, b] (found 'aktiv')"]),
        (("locale: de", "locale: german!"), [":9: locale"]),
        (("locale: de", "format: shopfy"), [":9: format found 'shopfy'", "mean 'shopify'", "allowed: auto"]),
        (("locale: de", "on_duplicate: lst"), ["on_duplicate found 'lst'", "allowed: reject, first, last"]),
        (("locale: de", "split: {image: x}"), ["split.image found 'image'", "allowed: image_refs, category"]),
        (("locale: de", "password: s3cret"), ["password is not a field"]),
        (("source: products.csv\n", ""), ["source is missing"]),
        (("products.csv", "other.yaml"), ["source", "names another YAML file"]),
        (("products.csv", "https://x.example/a.csv?token=s3cret"), ["source", "secrets do not belong"]),
        (("products.csv", "https://u:s3cret@x.example/a.csv"), ["source", "secrets do not belong"]),
        (("products.csv", "https://x.example/a.csv?X-Amz-Signature=s3cret&n=1"), ["secrets do not belong"]),
        (("locale: de", "locale: de\nlocale: fr"), [":10: 'locale' is given twice"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_place_and_cure(tmp_path: Path, change: tuple[str, str], words: list[str]) -> None:
    assert change[0] in GOOD
    message = refusal(tmp_path, GOOD.replace(*change, 1))
    for word in words:
        assert word in message, message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "is empty; it needs `source:`"), ("- a\n", "the file must hold fields"), ("source: [", "not YAML")],
)
def test_what_is_no_catalog_file(tmp_path: Path, text: str, word: str) -> None:
    assert word in refusal(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml, a catalog file, cannot be read"):
        choose_catalog(str(tmp_path / "nowhere.yaml"), {})


# --- found beside the data ------------------------------------------------------------------------------------------
def test_the_data_s_path_finds_it(shop: Path) -> None:
    path = written(shop, "source: ./products.csv\nlocale: de\n")
    chosen = choose_catalog(str(shop / "products.csv"), {})
    assert chosen.options.locale == "de"
    assert chosen.notes == [f"{path} says how to read it"]


def test_it_is_found_from_within_the_folder_as_well(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(shop, "source: products.csv\nlocale: de\n")
    monkeypatch.chdir(shop)
    assert choose_catalog("products.csv", {}).options.locale == "de"
    assert choose_catalog("catalog.yaml", {}).folder == shop


def test_a_pattern_is_found_by_the_same_pattern_only(shop: Path) -> None:
    written(shop, 'source: "*.csv"\nlocale: de\n')
    assert choose_catalog(str(shop / "*.csv"), {}).options.locale == "de"
    assert choose_catalog(str(shop / "products.csv"), {}).options.locale == ""


@pytest.mark.parametrize(
    ("text", "notes"),
    [("source: others.csv\ndelimeter: x\n", 0), ("sorce: products.csv\n", 1), ("- of another program\n", 1)],
)
def test_one_that_is_not_for_this_data_does_nothing(shop: Path, text: str, notes: int) -> None:
    written(shop, text)
    chosen = choose_catalog(str(shop / "products.csv"), {})
    assert chosen.options == CatalogOptions()
    assert len(chosen.notes) == notes
    assert all("names no source" in note for note in chosen.notes)


@pytest.mark.parametrize("text", ["source: products.csv\nlocal: de\n", "source: [products.csv\n"])
def test_one_that_is_for_it_and_wrong_stops_everything(shop: Path, text: str) -> None:
    written(shop, text)
    with pytest.raises(ConfigError, match=r"catalog\.yaml:"):
        choose_catalog(str(shop / "products.csv"), {})


def test_photos_start_in_the_data_s_folder(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    path = written(tmp_path / "config", f"source: {shop / 'products.csv'}\n")
    assert choose_catalog(str(path), {}).folder == shop
    remote = written(tmp_path / "config", "source: https://shop.example/feed.xml\n")
    assert choose_catalog(str(remote), {}).folder == tmp_path / "config"
    assert choose_catalog("https://shop.example/feed.xml", {}).folder is None


# --- whose word counts ----------------------------------------------------------------------------------------------
STATED = CatalogFile(
    source="a.csv",
    format="shopify",
    locale="de",
    group_by="G",
    mapping={"title": "T", "brand": "B"},
    where={"x": ["1"]},
)


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {}),
        ({"locale": "fr"}, {"locale": "fr"}),
        ({"encoding": "cp1252"}, {"encoding": "cp1252"}),
        ({"mapping": {"title": "Name"}}, {"mapping": {"title": "Name", "brand": "B"}}),
        ({"mapping": {"product_key": "K"}}, {"mapping": STATED.mapping | {"product_key": "K"}, "group_by": ...}),
        ({"where": {"y": ["2"]}}, {"where": {"x": ["1"], "y": ["2"]}}),
        ({"statuses": ["draft"]}, {"statuses": ["draft"]}),
    ],
)  # fmt: skip
def test_what_the_run_says_counts_more(given: dict[str, Any], changed: dict[str, Any]) -> None:
    wanted = STATED.model_dump(exclude_unset=True, exclude={"source"}) | changed
    assert combined(STATED, given) == {name: value for name, value in wanted.items() if value is not ...}
    assert combined(None, given) == given


def test_the_form_sends_every_field_and_means_those_it_changed(shop: Path) -> None:
    written(shop, "source: products.csv\nformat: csv\nmapping: {title: Bezeichnung}\nsplit: {image_refs: '|'}\n")
    form = RunOptions(catalog=str(shop / "products.csv"), mapping={"product_key": "Artikel"})
    sent = RunOptions.model_validate(form.model_dump())
    chosen = catalog_of(sent)
    assert chosen.options.format == "csv"
    assert chosen.options.mapping == {"title": "Bezeichnung", "product_key": "Artikel"}
    assert chosen.options.split == {"image_refs": "|"}
    assert catalog_of(sent.model_copy(update={"image_separator": ";"})).options.split == {"image_refs": ";"}


def test_a_wrong_option_of_the_run_is_named(shop: Path) -> None:
    with pytest.raises(ConfigError, match=r"how to read .*products\.csv: delimiter"):
        choose_catalog(str(shop / "products.csv"), {"delimiter": "::"})


# --- written by the machine -----------------------------------------------------------------------------------------
def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    fields = {"mapping": {"title": "4:5", "image_refs": ["no", "Größe: L"]}, "header_row": 3, "locale": "", "split": {}}
    loaded = load_catalog_file(written(tmp_path, catalog_yaml("a b.csv", fields)))
    assert loaded == CatalogFile(source="a b.csv", mapping=fields["mapping"], header_row=3)
    assert "locale" not in yaml.safe_load((tmp_path / "catalog.yaml").read_text())


def test_a_catalog_is_the_same_by_either_name(shop: Path) -> None:
    path = written(shop, "source: products.csv\nmapping: {product_key: Artikel}\n")
    names = []
    for typed in (path, shop / "products.csv"):
        chosen = choose_catalog(str(typed), {})
        reader = CatalogReader(sources_of(chosen.source, Settings()), chosen.options)
        names.append((reader.name, [item.line for item in reader]))
    assert names == [("products", [2])] * 2
