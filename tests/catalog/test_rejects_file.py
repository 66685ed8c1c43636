"""The rejects file: every reject of every format has its record in it, the very one."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from packshot.catalog import CatalogReader, Reject, open_catalog
from packshot.catalog.rejects_file import RefusedCells, RejectsWriter
from packshot.errors import ConfigError
from tests.catalog.catalog_files import SAMPLES, write

CATALOGS = SAMPLES / "catalogs"


def kept(reader: CatalogReader) -> tuple[list[Reject], list[list[str]]]:
    """The rejects, and the rows of the file that keeps them."""
    tables = [part.table for part in reader.parts]
    out = io.StringIO(newline="")
    writer, cells = RejectsWriter(out, tables, ","), RefusedCells(tables)
    rejects = [item for item in reader if isinstance(item, Reject)]
    for reject in rejects:
        writer.write(reject, *cells.of(reject))
    csv.field_size_limit(1 << 22)
    return rejects, [*csv.reader(io.StringIO(out.getvalue(), newline=""))]


SHOPIFY = """\
Handle,Title,Option1 Name,Option1 Value,Variant SKU,Image Src,Status
,,,Red,S0,,
mug,Mug,Color,Red,S1,m.jpg,active
mug,,,Blue,S2,,
bowl,Bowl,Color,Red,S3,b.jpg,draft
bowl,,,Blue,S4,,
vase,,Color,Red,S5,,active
mug,Mug,Color,Green,S6,,active
too,short
"""
VARIANTS = "id,item_group_id,title,image_link\nv1,g,Shirt,a.jpg\nv1,g,Shirt,a.jpg\nv2,g,,\nv3,,,\nv3,,,b\n"
ROWS = "sku,title,status\n1,A,active\n\n2,,active\n3,C,draft\n4,D\n1,A,active\n1,B,active\n5,E,active,\n"


@pytest.mark.parametrize("text", [SHOPIFY, VARIANTS, ROWS])
def test_each_reject_stands_with_its_own_record(tmp_path: Path, text: str) -> None:
    rejects, (header, *rows) = kept(open_catalog(write(tmp_path, text)))
    lines = text.split("\n")
    assert header[3:] == lines[0].split(",")
    assert len(rejects) >= 2
    for reject, row in zip(rejects, rows, strict=True):
        assert row[:3] == [str(reject.line), str(reject.code), reject.message]
        assert ",".join(row[3:]) == lines[reject.line - 1]


def test_a_catalog_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    reader = open_catalog(path)
    cells = RefusedCells([part.table for part in reader.parts])
    rejects = [item for item in reader if isinstance(item, Reject)]
    path.write_text("sku,title,status\n1,A,active\n")
    with pytest.raises(ConfigError, match=f"shop.csv was changed while it was read: record {rejects[-1].record}"):
        cells.of(rejects[-1])


@pytest.mark.skipif(not CATALOGS.is_dir(), reason=f"the sample catalogs are not at {CATALOGS}")
def test_the_samples_keep_as_many_records_as_they_refuse() -> None:
    read = 0
    for path in sorted(CATALOGS.iterdir()):
        try:
            reader = open_catalog(path)
        except ConfigError:
            continue
        rejects, rows = kept(reader)
        assert len(rows) - 1 == len(rejects) == reader.counts.rejected, path.name
        assert [int(row[0]) for row in rows[1:]] == [reject.line for reject in rejects]
        read += 1
    assert read > 15
