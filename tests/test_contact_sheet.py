"""The contact sheet: right pictures in the right places, whatever the pictures are."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from packshot import contact_sheet as module
from packshot.contact_sheet import SheetItem, contact_sheet, shrink, write_contact_sheet
from packshot.typeface import choose_face

RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (40, 60, 200)
TILE = (247, 247, 248)


def picture(colour: tuple[int, ...], size: tuple[int, int] = (64, 64), kind: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, kind)
    return file.getvalue()


def places(page: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The box around everything on the page that has nearly this colour."""
    bands = [
        band.point([255 if abs(value - wanted) < 12 else 0 for value in range(256)])
        for band, wanted in zip(page.split(), colour, strict=True)
    ]
    box = Image.merge("RGB", bands).convert("L").point([255 if value > 250 else 0 for value in range(256)]).getbbox()
    assert box, f"{colour} is nowhere on the page"
    return box


def size_of(box: tuple[int, int, int, int]) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


def test_rows_are_products_and_columns_are_shots() -> None:
    page = contact_sheet(
        [
            SheetItem(picture(RED), "Boot", shot="packshot"),
            SheetItem(picture(GREEN), "Mug", shot="lifestyle"),
            SheetItem(picture(BLUE), "Boot", shot="lifestyle"),
        ],
        thumb=64,
    )
    red, green, blue = places(page, RED), places(page, GREEN), places(page, BLUE)
    assert size_of(red) == size_of(green) == size_of(blue) == (62, 62)  # and a hairline around
    assert red[1] == blue[1] < green[1]
    assert red[0] < blue[0] == green[0]
    # Where the mug's packshot would be there is an empty tile.
    assert page.getpixel((red[0] + 32, green[1] + 6)) == TILE


def test_columns_stand_in_the_order_of_the_product_with_most_shots() -> None:
    items = [
        SheetItem(picture(c), p, shot=s) for c, p, s in [(BLUE, "Mug", "b"), (RED, "Boot", "a"), (GREEN, "Boot", "b")]
    ]
    page = contact_sheet(items, thumb=64)
    assert places(page, RED)[0] < places(page, GREEN)[0] == places(page, BLUE)[0]


def test_the_foot_counts_pictures_that_are_elsewhere() -> None:
    items = [SheetItem(picture(RED), "Mug", shot="a")]
    assert contact_sheet(items, thumb=64, more=5).height == contact_sheet(items, thumb=64).height + 40


def test_a_shrunk_picture_is_shown_as_the_picture_itself() -> None:
    small = shrink(picture(RED, (800, 400)), 64)
    assert small
    with Image.open(io.BytesIO(small)) as image:
        assert image.size == (114, 57)
    assert shrink(b"broken", 64) is None
    pages = [contact_sheet([SheetItem(image, "x", shot="s")], thumb=64) for image in (small, picture(RED, (800, 400)))]
    assert places(pages[0], RED) == places(pages[1], RED)


def test_products_of_one_title_have_a_row_each() -> None:
    items = [SheetItem(picture(c), "Mug", product=p, shot="s") for c, p in [(RED, "a"), (GREEN, "b")]]
    page = contact_sheet(items, thumb=64)
    assert places(page, RED)[0] == places(page, GREEN)[0]
    assert places(page, RED)[3] < places(page, GREEN)[1]


def test_a_second_picture_of_a_shot_stands_beside_the_first_before_the_next_shot() -> None:
    items = [SheetItem(picture(c), "Mug", shot=s) for c, s in [(RED, "a"), (BLUE, "b"), (GREEN, "a")]]
    page = contact_sheet(items, thumb=64)
    assert places(page, RED)[0] < places(page, GREEN)[0] < places(page, BLUE)[0]
    assert places(page, RED)[1] == places(page, GREEN)[1] == places(page, BLUE)[1]


def test_without_shots_it_is_a_plain_grid() -> None:
    items = [SheetItem(picture(c), "A picture") for c in (RED, GREEN, BLUE)]
    page = contact_sheet(items, columns=2, thumb=64)
    red, green, blue = places(page, RED), places(page, GREEN), places(page, BLUE)
    assert red[1] == green[1] < blue[1]
    assert red[0] == blue[0] < green[0]


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((400, 500), (80, 100)),
        ((500, 400), (125, 100)),
        ((800, 200), (178, 44)),
        ((100, 500), (20, 100)),
        ((9, 9), (9, 9)),
    ],
)
def test_pictures_are_whole_in_their_shape_and_never_blown_up(size: tuple[int, int], shown: tuple[int, int]) -> None:
    page = contact_sheet([SheetItem(picture(RED, size), "x", shot="s")], thumb=100)
    width, height = size_of(places(page, RED))
    assert abs(width - shown[0]) <= 2
    assert abs(height - shown[1]) <= 2


def test_an_upright_photo_stored_on_its_side_stands_up() -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (500, 400), RED).save(file, "JPEG", exif=exif)
    page = contact_sheet([SheetItem(file.getvalue(), "x", shot="s")], thumb=100)
    assert size_of(places(page, RED))[0] == pytest.approx(80, abs=2)


def test_transparent_is_white_and_other_modes_keep_their_colour() -> None:
    clear = contact_sheet([SheetItem(picture((0, 0, 0, 0), mode="RGBA"), "x", shot="s")], thumb=64)
    assert clear.getpixel((clear.width - 44 - 32, clear.height - 44 - 32)) == (255, 255, 255)
    half = Image.new("RGB", (64, 64), RED).convert("P", palette=Image.Palette.ADAPTIVE)
    for image, kind in [(half, "PNG"), (Image.new("RGB", (64, 64), RED).convert("CMYK"), "JPEG")]:
        file = io.BytesIO()
        image.save(file, kind)
        places(contact_sheet([SheetItem(file.getvalue(), "x", shot="s")], thumb=64), RED)


def test_what_cannot_be_read_gets_a_tile_and_spoils_nothing(tmp_path: Path) -> None:
    whole = picture(RED, (400, 500))
    noise = Image.effect_noise((300, 300), 90)
    file = io.BytesIO()
    noise.save(file, "PNG")
    bad: list[Path | bytes] = [b"", b"broken", file.getvalue()[:2000], tmp_path / "missing.png", tmp_path]
    items = [SheetItem(image, f"bad {n}", shot="s") for n, image in enumerate(bad)]
    page = contact_sheet([*items, SheetItem(whole, "good", shot="s")], thumb=100)
    left, top, _, _ = places(page, RED)
    assert size_of(places(page, RED))[1] == 98
    for row in range(1, len(bad) + 1):
        assert page.getpixel((left + 6, top - row * 120 + 20)) == TILE


def test_a_page_has_an_end_and_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAGE_PIXELS", 300_000)
    few, many = ([SheetItem(picture(RED), f"p{n}", shot="s") for n in range(count)] for count in (3, 500))
    page = contact_sheet(many, thumb=64)
    assert page.width * page.height <= 300_000
    grid = contact_sheet([SheetItem(item.image, item.title) for item in many], thumb=64)
    assert grid.width * grid.height <= 300_000
    # The foot below the last row: ink there, none on a page that shows all.
    below = places(page, RED)[3] + 10
    assert page.crop((0, below, page.width, page.height)).getextrema() != ((255, 255),) * 3
    whole = contact_sheet(few, thumb=64)
    below = places(whole, RED)[3] + 10
    assert whole.crop((0, below, whole.width, whole.height)).getextrema() == ((255, 255),) * 3


def test_no_text_leaves_its_place() -> None:
    endless = "word " * 80 + "x" * 400
    page = contact_sheet([SheetItem(picture(RED), endless, endless, "p", shot=endless)], title=endless, thumb=200)
    margin = page.crop((page.width - 44 + 2, 0, page.width, page.height))
    beside_the_label = page.crop((44 + 230 + 4, 140, 44 + 230 + 18, page.height))
    below = page.crop((0, page.height - 44 + 2, page.width, page.height))
    for empty in (margin, beside_the_label, below):
        assert empty.getextrema() == ((255, 255),) * 3


def test_crop_and_wrap_keep_to_the_room() -> None:
    face = choose_face("abc")
    assert face.crop("short", 16, 400) == "short"
    cut = face.crop("a long caption that does not fit", 16, 100)
    assert cut.endswith("…")
    assert "a long".startswith(cut[:3])
    assert face.width(cut, 16) <= 100 < face.width("a long caption that", 16)
    lines = face.wrap("one two three four five six seven eight nine ten", 16, 80, lines=3)
    assert len(lines) == 3
    assert lines[2].endswith("…")
    assert all(face.width(line, 16) <= 80 for line in lines)
    assert " ".join(face.wrap("one two three", 16, 60, lines=3)) == "one two three"
    assert face.wrap("", 16, 60, lines=3) == []


def test_the_builtin_typeface_is_used_where_it_suffices() -> None:
    assert choose_face("Chelsea boot, 42").lacks(set("Chelsea boot, 42")) == 0
    assert choose_face("Chelsea boot").lacks(set("ẫ")) == 1  # so it is Pillow's own, which has hardly more than ASCII
    assert choose_face("Nhẫn bạc").lacks(set("Nhẫn bạc")) <= choose_face("x").lacks(set("Nhẫn bạc"))


def test_the_file_is_a_moderate_jpeg(tmp_path: Path) -> None:
    noise = io.BytesIO()
    Image.effect_noise((1000, 1000), 40).save(noise, "JPEG")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(noise.getvalue())
    target = tmp_path / "sheet.jpg"
    write_contact_sheet([SheetItem(photo, f"p{n}", shot="s") for n in range(6)], target, title="Run", thumb=240)
    with Image.open(target) as page:
        assert (page.format, page.mode) == ("JPEG", "RGB")
        page.load()
    assert target.stat().st_size < 6 * 60_000


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([])


def test_memory_is_that_of_the_page_and_one_picture(tmp_path: Path) -> None:
    """Eight open pictures would hold 400 MB; one holds 50."""
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc, which only Linux has")
    big = tmp_path / "big.png"
    Image.new("RGB", (4096, 4096), RED).save(big, compress_level=1)
    program = f"""
from pathlib import Path
from packshot.contact_sheet import SheetItem, contact_sheet
def peak():  # kB
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
contact_sheet([SheetItem(b"x", "p", shot="s")])
before = peak()
contact_sheet([SheetItem(Path({str(big)!r}), f"p{{n}}", shot="s") for n in range(8)], thumb=200)
print((peak() - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert 30 < int(done.stdout) < 200
