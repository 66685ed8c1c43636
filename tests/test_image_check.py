"""What counts as a whole image."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from packshot.errors import ArchiveError, Code
from packshot.image_check import ImageFacts, check_image
from tests.fixtures_store import picture


def code_of(path: Path, body: bytes, max_pixels: int = 1_000_000) -> Code:
    path.write_bytes(body)
    with pytest.raises(ArchiveError) as caught:
        check_image(path, max_pixels)
    return caught.value.code


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("PNG", ImageFacts("image/png", 64, 48, "png")),
        ("JPEG", ImageFacts("image/jpeg", 64, 48, "jpg")),
        ("WEBP", ImageFacts("image/webp", 64, 48, "webp")),
        ("MPO", ImageFacts("image/jpeg", 64, 48, "jpg")),
    ],
)
def test_whole_images_whatever_their_name(tmp_path: Path, kind: str, facts: ImageFacts) -> None:
    path = tmp_path / "image.txt"
    path.write_bytes(picture(kind=kind) if kind != "MPO" else multi_picture())
    assert check_image(path, 64 * 48) == facts


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_cut_images(tmp_path: Path, kind: str, part: float) -> None:
    body = picture(640, 480, kind)
    assert code_of(tmp_path / "x", body[: int(len(body) * part)]) is Code.IMAGE_TRUNCATED


def test_damaged_png(tmp_path: Path) -> None:
    body = bytearray(picture(640, 480))
    body[len(body) // 2] ^= 0xFF
    assert code_of(tmp_path / "x", bytes(body)) is Code.IMAGE_TRUNCATED


@pytest.mark.parametrize(
    "body", [b"", b"<html></html>", b"\0" * 100, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7"]
)
def test_other_files(tmp_path: Path, body: bytes) -> None:
    assert code_of(tmp_path / "x", body) is Code.NOT_AN_IMAGE


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_formats_that_the_api_never_sends(tmp_path: Path, kind: str) -> None:
    assert code_of(tmp_path / "x", picture(kind=kind)) is Code.NOT_AN_IMAGE


def test_too_many_pixels(tmp_path: Path) -> None:
    assert code_of(tmp_path / "x", picture(100, 100), max_pixels=9_999) is Code.TOO_LARGE


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 13_000, 100_000])
def test_bombs_are_refused_before_decoding(tmp_path: Path, side: int) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    body = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    # Its data are far too few: a TRUNCATED would show that decoding had begun.
    assert code_of(tmp_path / "x", body, max_pixels=60_000_000) is Code.TOO_LARGE


def test_missing_file_is_no_image_problem(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_image(tmp_path / "none", 1)


def multi_picture() -> bytes:
    """A JPEG with a second picture behind the first, as some phones make."""
    first, second = Image.open(io.BytesIO(picture())), Image.open(io.BytesIO(picture()))
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    return buffer.getvalue()
