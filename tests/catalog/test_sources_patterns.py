"""Several files of one folder, named by a pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from packshot.catalog import CatalogOptions, Product, open_catalog
from packshot.catalog.local_files import local_sources
from packshot.errors import ConfigError
from tests.catalog.catalog_files import write


def test_files_come_sorted_by_name_and_are_read_as_one_catalog(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    for name, key in (("b.csv", "2"), ("a.csv", "1"), ("c.txt", "3"), (".d.csv", "4"), ("._a.csv", "5")):
        write(folder, f"sku,title\n{key},Mug\n", name)
    (folder / "e.csv").mkdir()
    reader = open_catalog(folder / "*.csv")
    items = [item for item in reader if isinstance(item, Product)]
    assert [(item.source, item.product_key, item.catalog) for item in items] == [
        ("a.csv", "1", "exports"),
        ("b.csv", "2", "exports"),
    ]
    assert (reader.counts.records, reader.counts.accepted) == (2, 2)
    assert [source.name for source in local_sources(str(folder / "[bc].*"))] == ["b.csv", "c.txt"]
    assert [source.name for source in local_sources(str(folder / "?.csv"))] == ["a.csv", "b.csv"]


def test_the_name_is_the_patterns_whatever_files_there_are(tmp_path: Path) -> None:
    for first in ("2026-11-21.csv.gz", "2026-11-20.csv"):
        write(tmp_path, "sku,title\n1,Mug\n", f"shop_{first}")
        for pattern in ("shop_*.csv*", "shop_????-11-2[0-9].csv*"):
            assert open_catalog(tmp_path / pattern, CatalogOptions(on_duplicate="first")).name.startswith("shop"), (
                pattern
            )
    names = {open_catalog(tmp_path / "shop_*", CatalogOptions(on_duplicate="first")).name}
    assert names == {"shop"}


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("*.tsv", "no file is named like this"),
        ("*/*.csv", "one folder only"),
        ("**", "no file"),
        ("[.csv", "no file"),
    ],
)
def test_patterns_that_name_nothing(tmp_path: Path, pattern: str, says: str) -> None:
    write(tmp_path, "sku,title\n1,Mug\n", "a.csv")
    with pytest.raises(ConfigError, match=says):
        open_catalog(tmp_path / pattern)


def test_a_file_really_called_like_a_pattern(tmp_path: Path) -> None:
    write(tmp_path, "sku,title\n1,Mug\n", "a[1].csv")
    write(tmp_path, "sku,title\n2,Cup\n", "a1.csv")
    assert [item.source for item in open_catalog(tmp_path / "a[1].csv")] == ["a[1].csv"]


@pytest.mark.parametrize("name", ["a\x00b.csv", "x" * 300 + ".csv", "a.csv/b.csv", "a\x00*.csv"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    write(tmp_path, "sku,title\n1,Mug\n", "a.csv")
    with pytest.raises(ConfigError) as caught:
        open_catalog(f"{tmp_path}/{name}")
    str(caught.value).encode()
