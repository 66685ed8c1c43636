"""Product photos of every kind: what is prepared, what is refused, and what the API's limits make of it."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from PIL import Image, features

from packshot.download import DownloadPolicy
from packshot.errors import ArchiveError, Code
from packshot.photo import LONG_EDGE
from packshot.references import ReferenceStore
from tests.fixtures_store import picture

SAMPLES = Path(__file__).resolve().parents[2] / "shared/samples/photos"
API_MOST, API_ADVISED = 7_000_000, 5_000_000  # bytes of one photo; docs.apiyi.com
MANY_PIXELS = 60_000_000


def store(folder: Path, max_pixels: int = MANY_PIXELS) -> ReferenceStore:
    return ReferenceStore(folder / "home", DownloadPolicy((), (), 5, 64_000_000), max_pixels)


def sent(folder: Path, name: str) -> Image.Image:
    got = store(folder).get(name, folder)
    image = Image.open(got.path)
    image.load()
    assert (image.format, image.mode, got.mime) == ("JPEG", "RGB", "image/jpeg")
    assert max(image.size) <= LONG_EDGE
    assert Path(got.path).stat().st_size < API_ADVISED
    return image


def refused(folder: Path, name: str, max_pixels: int = MANY_PIXELS) -> str:
    with pytest.raises(ArchiveError) as caught:
        store(folder, max_pixels).get(name, folder)
    assert caught.value.code is Code.REFERENCE_UNAVAILABLE
    assert name in caught.value.message
    return str(caught.value.details["cause"])


def save(path: Path, image: Image.Image, kind: str, **options: object) -> None:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    path.write_bytes(buffer.getvalue())


def colour(image: Image.Image) -> str:
    red, green, blue = image.resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    return {0: "red", 1: "green", 2: "blue"}[max(range(3), key=(red, green, blue).__getitem__)]


# --- what is prepared -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_is_sent(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (40, 40), name) for name in ("red", "lime", "blue")]
    save(tmp_path / "a.gif", frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert colour(sent(tmp_path, "a.gif")) == "red"


def test_a_phones_jpeg_with_several_pictures(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", Image.new("RGB", (40, 30), "red"), "MPO", save_all=True,
         append_images=[Image.new("RGB", (20, 15), "blue")])  # fmt: skip
    image = sent(tmp_path, "a.jpg")
    assert (image.size, colour(image)) == ((40, 30), "red")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "JPEG"])
def test_the_name_does_not_matter(tmp_path: Path, kind: str) -> None:
    for name in ("a.jpg", "a.png", "a", "a.php"):
        save(tmp_path / name, Image.new("RGB", (30, 20), "blue"), kind)
        assert colour(sent(tmp_path, name)) == "blue"


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif(tmp_path: Path) -> None:
    save(tmp_path / "a.avif", Image.new("RGB", (64, 48), "red"), "AVIF")
    assert colour(sent(tmp_path, "a.avif")) == "red"


def test_sixteen_bits_of_colour(tmp_path: Path) -> None:
    """A PNG of three 16-bit channels, made by hand: Pillow writes none."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = b"\0" + struct.pack(">HHH", 0x8000, 0x1000, 0xF000) * 8
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(row * 8))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    red, green, blue = sent(tmp_path, "a.png").getpixel((4, 4))  # type: ignore[misc]
    assert (abs(red - 0x80), abs(green - 0x10), abs(blue - 0xF0)) < (8, 8, 8)


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_rotation_and_mirroring_is_undone(tmp_path: Path, turn: int) -> None:
    """The top left quarter of the upright picture is red, its top right one blue."""
    upright = Image.new("RGB", (80, 40), "white")
    upright.paste("red", (0, 0, 40, 20))
    upright.paste("blue", (40, 0, 80, 20))
    way_back = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180], 4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    lying = upright
    for step in way_back.get(turn, []):
        lying = lying.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = turn
    save(tmp_path / "a.jpg", lying, "JPEG", exif=exif, quality=95)
    image = sent(tmp_path, "a.jpg")
    assert image.size == (80, 40)
    assert (colour(image.crop((5, 5, 35, 15))), colour(image.crop((45, 5, 75, 15)))) == ("red", "blue")
    assert not image.getexif()


def test_the_worst_photo_stays_below_the_apis_limits(tmp_path: Path) -> None:
    noise = Image.frombytes("RGB", (2100, 2100), random.Random(1).randbytes(2100 * 2100 * 3))
    save(tmp_path / "a.png", noise, "PNG", compress_level=0)
    assert sent(tmp_path, "a.png").size == (LONG_EDGE, LONG_EDGE)
    [prepared] = (tmp_path / "home/references").glob("*.jpg")
    assert prepared.stat().st_size < API_ADVISED < API_MOST


# --- what is refused ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"This is a text file, whatever its name says.\n", "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (b"%PDF-1.7\n", "not_an_image"),
        (b"", "not_an_image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "not_an_image"),  # HEIC, which Pillow does not read
        (picture(200, 150, "JPEG")[:-900], "image_truncated"),
        (picture(200, 150, "JPEG")[:40], "image_truncated"),
        (picture(200, 150, "WEBP")[:-300], "image_truncated"),
    ],
)
def test_what_is_no_whole_image_is_refused(tmp_path: Path, body: bytes, cause: str) -> None:
    (tmp_path / "a.jpg").write_bytes(body)
    assert refused(tmp_path, "a.jpg") == cause


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """20,000 x 20,000 pixels of one bit each are a small file, and 1.2 GB as colours."""
    save(tmp_path / "a.png", Image.new("1", (20_000, 20_000)), "PNG")
    assert (tmp_path / "a.png").stat().st_size < 100_000
    assert refused(tmp_path, "a.png") == "too_large"


# --- real photos ----------------------------------------------------------------------------------------------
samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the sample photos are not at {SAMPLES}")


@samples
def test_real_photos(tmp_path: Path) -> None:
    photos = sorted([*SAMPLES.glob("saleor/*.png"), *SAMPLES.glob("vendure/*.jpg")])
    assert len(photos) == 14
    got = {photo.name: store(tmp_path).get(photo.name, photo.parent) for photo in photos}
    assert len({reference.sha256 for reference in got.values()}) == 14
    for photo in photos:
        with Image.open(photo) as original, Image.open(got[photo.name].path) as image:
            scale = min(1, LONG_EDGE / max(original.size))
            assert image.size == pytest.approx([side * scale for side in original.size], abs=1)


@samples
def test_a_real_transparent_photo_stands_on_white(tmp_path: Path) -> None:
    folder = SAMPLES / "saleor"
    with Image.open(folder / "saleor-apple-drink.png") as original:
        assert original.convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]
    got = store(tmp_path).get("saleor-apple-drink.png", folder)
    with Image.open(got.path) as image:
        assert min(image.getpixel((2, 2))) > 250  # type: ignore[arg-type]


@samples
def test_a_real_text_file_called_jpg(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes((SAMPLES / "bad/vendure-bad-image.jpg").read_bytes())
    assert refused(tmp_path, "a.jpg") == "not_an_image"
