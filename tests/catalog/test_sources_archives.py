"""Catalogs that come compressed: read as they would be unpacked, or refused before the first record."""

from __future__ import annotations

import bz2
import gzip
import io
import random
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog import CatalogOptions, CatalogReader, Product, open_catalog
from packshot.catalog import archives as archives_module
from packshot.catalog.archives import Unpacked, unpacked
from packshot.catalog.local_files import LocalFile, local_sources
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import read, read_all, write

ROWS = b"sku,title,image\n" + b"".join(b"k-%d,Mug %d,mug-%d.jpg\n" % (n, n, n) for n in range(500))


OPEN_FILES = Path("/proc/self/fd")


def zipped(**members: bytes) -> bytes:
    """An archive; double underscores in names stand for dots, ``_in_`` for slashes."""
    return zip_of({name.replace("__", ".").replace("_in_", "/"): body for name, body in members.items()})


def zip_of(members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


def refused(typed: Path | str, *says: str, max_bytes: int = 1 << 30) -> str:
    with pytest.raises(ConfigError) as caught:
        CatalogReader(local_sources(str(typed), max_bytes), CatalogOptions())
    assert caught.value.code is Code.CATALOG_INVALID
    for words in says:
        assert words in caught.value.message
    return caught.value.message


def keys(products: list[Product]) -> list[str]:
    return [product.product_key for product in products]


# --- what can be read -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(ROWS),
        gzip.compress(ROWS[:4000]) + gzip.compress(ROWS[4000:]),  # as pigz and log tools write them
        gzip.compress(ROWS) + b"\0" * 512,
        zipped(products__csv=ROWS),
        zip_of({"products.csv": ROWS}, zipfile.ZIP_STORED),
        zip_of({"products.csv": ROWS}, zipfile.ZIP_BZIP2),
        zip_of({"products.csv": ROWS}, zipfile.ZIP_LZMA),
        zip_of({"export/2026/products.csv": ROWS, "export/": b""}),
        zip_of({"a.csv": ROWS, "__MACOSX/._a.csv": b"\0", ".DS_Store": b"x", "x/.hidden/b.csv": b"x"}),
        zip_of({"a.csv": ROWS, "files/mug-1.JPG": b"\xff\xd8\xff", "files/mug-2.png": b"\x89PNG"}),
    ],
    ids=["gzip", "members", "padded", "deflate", "stored", "bzip2", "lzma", "folder", "macos", "photos"],
)
def test_reads_as_if_it_were_unpacked(tmp_path: Path, content: bytes) -> None:
    _, plain, _ = read(write(tmp_path, ROWS, "plain.csv"))
    # The ending says nothing: the first bytes do.
    reader, products, rejects = read(write(tmp_path, content, "shop.csv.gz"))
    assert not rejects
    assert [p._replace(catalog="", source="") for p in products] == [p._replace(catalog="", source="") for p in plain]
    assert (reader.name, products[0].source, reader.kind) == ("shop", "shop.csv.gz", "CSV")
    assert keys([item for item in read_all(reader) if isinstance(item, Product)]) == keys(plain), "a second pass"


def test_encodings_and_kinds_inside(tmp_path: Path) -> None:
    text = "sku;title\n1;Kännchen\n"
    reader, products, _ = read(write(tmp_path, gzip.compress(text.encode("utf-16")), "a.gz"))
    assert (products[0].title, reader.encoding, reader.delimiter) == ("Kännchen", "utf-16", ";")
    reader, products, _ = read(write(tmp_path, zipped(a__jsonl=b'{"id": "001", "title": "Mug"}\n'), "a.zip"))
    assert (products[0].product_key, reader.kind, reader.name) == ("001", "JSON lines", "a")


def test_a_member_by_name_and_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, zip_of({"x/products.csv": ROWS, "x/models.csv": b"sku,title\n1,Model\n"}), "shop.zip")
    typed = f"{tmp_path / 'shop.zip'}#x/products.csv"
    reader = open_catalog(typed)
    first = next(iter(reader))
    assert (reader.name, first.source) == ("products", "shop.zip#x/products.csv")
    source = local_sources(typed)[0]
    with source.beside("models.csv").open() as file:
        assert file.read() == b"sku,title\n1,Model\n"
    write(tmp_path, gzip.compress(b"sku,title\n1,Other\n"), "others.csv.gz")
    with source.beside("others.csv.gz").open() as file:  # not in the archive, so beside it
        assert file.read() == b"sku,title\n1,Other\n"
    with LocalFile(tmp_path / "plain.csv").beside("others.csv.gz").open() as file:
        assert file.read() == b"sku,title\n1,Other\n"
    refused(f"{tmp_path / 'shop.zip'}#nothing.csv", "holds no 'nothing.csv'", "x/products.csv, x/models.csv")
    refused(f"{write(tmp_path, ROWS, 'no.zip')}#a.csv", "is no ZIP archive")


def test_a_file_really_called_so_is_that_file(tmp_path: Path) -> None:
    assert open_catalog(write(tmp_path, ROWS, "shop.zip#a.csv")).kind == "CSV"


def test_workbooks_are_left_alone(tmp_path: Path) -> None:
    book = write(tmp_path, zip_of({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}), "shop.xlsx")
    source = LocalFile(book)
    assert unpacked(source) is source


@pytest.mark.parametrize("packed", [gzip.compress(ROWS), zipped(a__csv=ROWS)], ids=["gzip", "zip"])
def test_any_place_can_be_sought(tmp_path: Path, packed: bytes) -> None:
    source = unpacked(LocalFile(write(tmp_path, packed)))
    assert isinstance(source, Unpacked)
    rng = random.Random(7)
    with source.open() as file:
        assert file.seekable()
        for _ in range(40):
            place, length = rng.randrange(len(ROWS)), rng.randrange(3000)
            assert file.seek(place) == place
            assert file.read(length) == ROWS[place : place + length]
        assert file.seek(0, io.SEEK_END) == len(ROWS)
        assert file.seek(-10, io.SEEK_END) == len(ROWS) - 10
        assert file.read() == ROWS[-10:]


def test_files_are_closed(tmp_path: Path) -> None:
    sources = [
        unpacked(LocalFile(write(tmp_path, body, f"{n}")))
        for n, body in enumerate([gzip.compress(ROWS), zipped(a__csv=ROWS)])
    ]
    before = len([*OPEN_FILES.iterdir()]) if OPEN_FILES.exists() else 0
    for _ in range(50):
        for source in sources:
            with source.open() as file:
                file.read(10)
    if before:
        assert len([*OPEN_FILES.iterdir()]) <= before


# --- what is refused ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("packed", [gzip.compress(ROWS), zipped(a__csv=ROWS)], ids=["gzip", "zip"])
def test_cut_off_at_any_place(tmp_path: Path, packed: bytes) -> None:
    for end in [*range(5, 40), *range(40, len(packed), 97), len(packed) - 1]:
        message = refused(write(tmp_path, packed[:end], "cut.bin"), "damaged or cut off", str(tmp_path / "cut.bin"))
        message.encode()


def test_altered_bytes_are_noticed(tmp_path: Path) -> None:
    for packed, place in ((gzip.compress(ROWS), -6), (zipped(a__csv=ROWS), 60)):
        damaged = bytearray(packed)
        damaged[place] ^= 0xFF
        refused(write(tmp_path, bytes(damaged), "x"), "damaged or cut off")


def test_garbage_behind_a_gzip(tmp_path: Path) -> None:
    refused(write(tmp_path, gzip.compress(ROWS) + b"garbage", "x.gz"), "damaged or cut off")


def test_several_catalogs_none_and_nested(tmp_path: Path) -> None:
    message = refused(
        write(tmp_path, zipped(a__csv=ROWS, x_in_b__csv=ROWS), "two.zip"), "holds 2 files", "a.csv, x/b.csv"
    )
    assert "two.zip#a.csv" in message
    many = {f"{n}.csv": b"x" for n in range(40)}
    refused(write(tmp_path, zip_of(many), "many.zip"), "holds 40 files", "9.csv and 30 more")
    refused(write(tmp_path, zip_of({}), "none.zip"), "without a catalog")
    refused(write(tmp_path, zipped(a__jpg=b"x"), "pictures.zip"), "without a catalog")
    refused(write(tmp_path, gzip.compress(gzip.compress(ROWS)), "twice.gz"), "compressed once more")
    refused(write(tmp_path, zipped(a__gz=gzip.compress(ROWS)), "nested.zip"), "compressed once more")
    refused(write(tmp_path, gzip.compress(b""), "empty.gz"), "is empty")
    refused(write(tmp_path, gzip.compress(b"<!doctype html><p>"), "page.gz"), "web page")


def test_encrypted(tmp_path: Path) -> None:
    # Bit 0 of the flags, in the local header and in the list of files, says that a password is needed.
    packed = bytearray(zipped(a__csv=ROWS))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    refused(write(tmp_path, bytes(packed), "secret.zip"), "encrypted with a password", "'a.csv'")


def test_unknown_method(tmp_path: Path) -> None:
    packed = bytearray(zipped(a__csv=ROWS))
    struct.pack_into("<H", packed, 8, 99)
    struct.pack_into("<H", packed, packed.index(b"PK\x01\x02") + 10, 99)
    refused(write(tmp_path, bytes(packed), "odd.zip"), "damaged or cut off", "compression")


# --- bombs ----------------------------------------------------------------------------------------------------
def bombs(size: int) -> list[bytes]:
    return [gzip.compress(b"sku,title\n" + b"\n" * size), zipped(a__csv=b"sku,title\n" + b"\n" * size)]


def test_larger_than_allowed(tmp_path: Path) -> None:
    for packed in bombs(2_000_000):
        refused(write(tmp_path, packed, "bomb"), "larger than 1,000,000 bytes when it is unpacked", max_bytes=1_000_000)


def test_what_shrinks_like_no_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives_module, "RATIO_FROM", 1 << 20)
    for packed in bombs(3_000_000):
        assert len(packed) < 10_000
        refused(write(tmp_path, packed, "bomb"), "no catalog shrinks like this")
    # Little of it is nobody's harm: a sheet whose tail is blank shrinks like that, too.
    monkeypatch.setattr(archives_module, "RATIO_FROM", 64 << 20)
    _, products, _ = read(write(tmp_path, gzip.compress(ROWS + b",,\n" * 500_000), "dull.gz"))
    assert len(products) == 500


def test_a_list_of_files_made_to_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives_module, "DIRECTORY_MAX", 10_000)
    refused(write(tmp_path, zip_of({f"{n}.csv": b"" for n in range(500)}), "many.zip"), "list of files is too long")


def test_overstated_and_understated_sizes(tmp_path: Path) -> None:
    packed = bytearray(zipped(a__csv=ROWS))
    size_at = packed.index(b"PK\x01\x02") + 24
    struct.pack_into("<I", packed, size_at, 10)
    refused(write(tmp_path, bytes(packed), "liar.zip"), "damaged or cut off")
    struct.pack_into("<I", packed, size_at, 0xFFFF_0000)
    _, products, _ = read(write(tmp_path, bytes(packed), "boaster.zip"))  # what counts is what is there, and its CRC
    assert len(products) == 500


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (gzip.compress(ROWS), gzip.compress(ROWS + ROWS)),
        (gzip.compress(ROWS), gzip.compress(ROWS)[:200]),
        (gzip.compress(ROWS), b"not compressed any more"),
        (zipped(a__csv=ROWS), zipped(a__csv=ROWS + ROWS)),
        (zipped(a__csv=ROWS), zipped(b__csv=ROWS)),
    ],
)
def test_a_file_that_changes_between_two_passes(tmp_path: Path, first: bytes, second: bytes) -> None:
    path = write(tmp_path, first, "x")
    source = unpacked(LocalFile(path))
    path.write_bytes(second)
    with pytest.raises(ConfigError, match="was changed while it was read"), source.open() as file:
        file.read()


# --- whatever the bytes ---------------------------------------------------------------------------------------
SEEDS: list[Callable[[], bytes]] = [
    lambda: gzip.compress(ROWS[:300]),
    lambda: zipped(a__csv=ROWS[:300]),
    lambda: zip_of({"a.csv": ROWS[:300]}, zipfile.ZIP_BZIP2),
    lambda: zip_of({"a.csv": ROWS[:300]}, zipfile.ZIP_LZMA),
    lambda: b"PK\x03\x04" + bz2.compress(b"x"),
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=6), st.data())
def test_no_archive_crashes_the_reader(
    seed: Callable[[], bytes], changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    packed = bytearray(seed())
    for place, value in changes:
        packed[place % len(packed)] = value
    end = data.draw(st.integers(len(packed) // 2, len(packed)))
    with tempfile.TemporaryDirectory() as folder:
        try:
            reader = open_catalog(write(Path(folder), bytes(packed[:end])))
        except ConfigError as error:
            str(error).encode()
            return
        for item in read_all(reader):
            repr(item).encode()
