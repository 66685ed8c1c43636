"""The catalog's own photos, from a real web server and from disk."""

from __future__ import annotations

import io
import ipaddress
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from packshot.download import DownloadPolicy
from packshot.errors import ArchiveError, Code
from packshot.references import ReferenceStore
from packshot.shots.model import Reference
from tests.fixtures_store import Web, hashes, page, picture

POLICY = DownloadPolicy((".aliyuncs.com",), (ipaddress.ip_network("127.0.0.0/8"),), 10, 1_000_000)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    folder = tmp_path / "catalog"
    folder.mkdir()
    return folder


def photos(home: Path, policy: DownloadPolicy = POLICY) -> ReferenceStore:
    return ReferenceStore(home, policy, max_pixels=5_000_000)


def refused(home: Path, ref: str, catalog: Path, policy: DownloadPolicy = POLICY) -> ArchiveError:
    with pytest.raises(ArchiveError) as caught:
        photos(home, policy).get(ref, catalog)
    assert caught.value.code is Code.REFERENCE_UNAVAILABLE
    assert list((home / "references").glob("*.*")) == []
    assert list((home / "references").glob("fetch-*")) == []
    return caught.value


def sent(reference: Reference) -> Image.Image:
    """The JPEG that would travel to the API."""
    image = Image.open(reference.path)
    assert image.format == "JPEG"
    assert image.mode == "RGB"
    assert reference.mime == "image/jpeg"
    image.load()
    return image


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_url_from_any_host(web: Web, home: Path, catalog: Path) -> None:
    web.pages["/mug.png"] = page(picture())
    got = photos(home).get(web.url("/mug.png?v=1"), catalog)
    assert got.source == web.url("/mug.png?v=1")
    assert got.sha256 == hashes(picture())[0]
    assert Path(got.path).name == f"{got.sha256}.jpg"
    assert sent(got).size == (64, 48)


def test_file_in_the_catalogs_folder(home: Path, catalog: Path) -> None:
    (catalog / "photos").mkdir()
    (catalog / "photos" / "Tasse grün.jpg").write_bytes(picture(kind="JPEG"))
    got = photos(home).get("photos/Tasse grün.jpg", catalog)
    assert got.sha256 == hashes(picture(kind="JPEG"))[0]
    assert sent(got).size == (64, 48)


@pytest.mark.parametrize("ref", ["../secret.png", "a/../../secret.png", "link.png", "linked/secret.png", "", "photos",
                                 "none.png", "x\0y", "a" * 5000, "loop"])  # fmt: skip
def test_paths_that_lead_elsewhere(home: Path, catalog: Path, ref: str) -> None:
    (catalog.parent / "secret.png").write_bytes(picture())
    (catalog / "link.png").symlink_to(catalog.parent / "secret.png")
    (catalog / "linked").symlink_to(catalog.parent)
    (catalog / "loop").symlink_to(catalog / "loop")
    (catalog / "photos").mkdir()
    refused(home, ref, catalog)


def test_only_plain_relative_paths_even_inside(home: Path, catalog: Path) -> None:
    (catalog / "a.png").write_bytes(picture())
    (catalog / "photos").mkdir()
    assert "outside" in refused(home, str(catalog / "a.png"), catalog).message
    refused(home, "photos/../a.png", catalog)


def test_private_addresses_are_refused(web: Web, home: Path, catalog: Path) -> None:
    web.pages["/a.png"] = page(picture())
    error = refused(home, web.url("/a.png"), catalog, DownloadPolicy(("*",), (), 5, 1_000_000))
    assert "private" in error.message
    assert error.details["cause"] == "download_refused"
    assert web.seen == []


@pytest.mark.parametrize(
    ("body", "mime", "says"),
    [
        (b"<html>", "text/html", "text/html"),
        (picture(640, 480)[:-300], "image/png", "cut or damaged"),
        (b"\0\0\0\0", "image/png", "allowed"),
        (picture(2500, 2001), "image/png", "pixels"),
    ],
)
def test_useless_photos_say_why_and_which(
    web: Web, home: Path, catalog: Path, body: bytes, mime: str, says: str
) -> None:
    web.pages["/a.png"] = page(body, mime=mime)
    error = refused(home, web.url("/a.png?token=secret"), catalog)
    assert says in error.message
    assert error.message.count(web.url("/a.png")) == 1
    assert "secret" not in str(error)
    (catalog / "b.png").write_bytes(body)
    assert "b.png" in refused(home, "b.png", catalog).message


def test_next_run_asks_whether_it_changed(web: Web, home: Path, catalog: Path) -> None:
    versions = [picture(), picture(kind="JPEG")]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        tag = f'"{hashes(versions[0])[0][:8]}"'
        same = handler.headers["If-None-Match"] == tag
        (page(b"", 304, Content_Length="") if same else page(versions[0], ETag=tag))(handler)

    web.pages["/a"] = answer
    first = photos(home).get(web.url("/a"), catalog)
    assert photos(home).get(web.url("/a"), catalog) == first
    assert "if-none-match" in web.seen[1][1]
    Path(first.path).unlink()
    again = photos(home).get(web.url("/a"), catalog)
    assert "if-none-match" not in web.seen[2][1]
    assert Path(again.path).exists()
    versions.pop(0)
    assert photos(home).get(web.url("/a"), catalog).sha256 == hashes(versions[0])[0]


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"sha256": 1}', "\0"])
def test_damaged_note_means_a_new_download(web: Web, home: Path, catalog: Path, note: str) -> None:
    web.pages["/a"] = page(picture(), ETag='"x"')
    first = photos(home).get(web.url("/a"), catalog)
    (path,) = (home / "references" / "urls").iterdir()
    path.write_text(note)
    assert photos(home).get(web.url("/a"), catalog) == first


def test_one_run_sees_one_photo_and_asks_once(web: Web, home: Path, catalog: Path) -> None:
    web.pages["/a"] = page(picture())
    store = photos(home)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: store.get(web.url("/a"), catalog), range(32)))
    assert len(found) == 1
    assert len(web.seen) == 1
    for _ in range(2):
        with pytest.raises(ArchiveError, match="404"):
            store.get(web.url("/none"), catalog)
    assert len(web.seen) == 2


def test_rotation_is_applied_and_place_is_removed(home: Path, catalog: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    exif.get_ifd(0x8825)[1] = "N"
    (catalog / "a.jpg").write_bytes(save(Image.new("RGB", (80, 40)), "JPEG", exif=exif))
    image = sent(photos(home).get("a.jpg", catalog))
    assert image.size == (40, 80)
    assert dict(image.getexif()) == {}


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGBA", (20, 20), (0, 0, 0, 0)),
        Image.new("LA", (20, 20), (0, 0)),
        Image.new("I;16", (20, 20), 65535),
        Image.new("L", (20, 20), 255),
        Image.new("1", (20, 20), 1),
    ],
    ids=lambda i: i.mode,
)
def test_transparent_and_bright_become_white(home: Path, catalog: Path, image: Image.Image) -> None:
    (catalog / "a.png").write_bytes(save(image, "PNG"))
    assert sent(photos(home).get("a.png", catalog)).getpixel((10, 10)) == (255, 255, 255)


def test_transparent_palette_gif(home: Path, catalog: Path) -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    (catalog / "a.gif").write_bytes(save(image, "GIF", transparency=0))
    assert sent(photos(home).get("a.gif", catalog)).getpixel((10, 10)) == (255, 255, 255)


def test_sixteen_bits_of_grey_stay_grey(home: Path, catalog: Path) -> None:
    (catalog / "a.png").write_bytes(save(Image.new("I;16", (20, 20), 0x8000), "PNG"))
    assert sent(photos(home).get("a.png", catalog)).getpixel((10, 10)) == (128, 128, 128)


def test_colours_are_those_that_the_profile_means(home: Path, catalog: Path) -> None:
    """In a profile whose curve is a straight line, the middle value is a light grey."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for name, profile in (
        ("linear", linear_profile()),
        ("none", b""),
        ("of other colours", lab),
        ("damaged", b"x" * 200),
    ):
        (catalog / f"{name}.png").write_bytes(save(Image.new("RGB", (9, 9), (128,) * 3), "PNG", icc_profile=profile))
        image = sent(photos(home).get(f"{name}.png", catalog))
        assert "icc_profile" not in image.info
        assert image.getpixel((4, 4)) == ((188,) * 3 if name == "linear" else (128,) * 3)


def test_print_colours_become_screen_colours(home: Path, catalog: Path) -> None:
    (catalog / "a.jpg").write_bytes(save(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = sent(photos(home).get("a.jpg", catalog)).getpixel((4, 4))  # type: ignore[misc]
    assert red > 245 > 10 > green + blue


def linear_profile() -> bytes:
    """A copy of sRGB with a gamma of 1 in place of its curves: all tags that hold one are 'para' or 'curv'."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(int.from_bytes(profile[128:132], "big")):
        entry = 132 + 12 * number
        place = int.from_bytes(profile[entry + 4 : entry + 8], "big")
        if bytes(profile[entry : entry + 4]) in (b"rTRC", b"gTRC", b"bTRC"):
            assert profile[place : place + 4] == b"para"
            profile[place + 8 : place + 10] = (0).to_bytes(2, "big")  # Y = X ^ gamma
            profile[place + 12 : place + 16] = (1 << 16).to_bytes(4, "big")
    return bytes(profile)


@pytest.mark.parametrize(("size", "result"), [((2300, 1150), (2048, 1024)), ((1000, 2100), (975, 2048))])
def test_large_photos_are_made_smaller(
    home: Path, catalog: Path, size: tuple[int, int], result: tuple[int, int]
) -> None:
    (catalog / "a.png").write_bytes(picture(*size))
    got = photos(home).get("a.png", catalog)
    assert sent(got).size == result
    assert Path(got.path).stat().st_size < 5_000_000
