"""The emulator's images: exact, readable, telling apart, cheap."""

from __future__ import annotations

import io
import time

import pytest
from PIL import Image

from packshot.sandbox import sizes
from packshot.sandbox.pictures import COLOURS, Picture, pad, read_prompt, render
from packshot.sandbox.silhouettes import choose_shape, draw_silhouette

PROMPT = """Photograph the product.
<product_facts>
Title: {title}
Shot: {shot}
Category: Kitchen > Mugs
</product_facts>
The backdrop is a very light, neutral grey with red ribbons."""


def opened(picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(picture.data))
    image.load()
    return image


def drawn(title: str = "Navy mug", shot: str = "packshot", serial: int = 1, mime: str = "image/png") -> Image.Image:
    return opened(render(read_prompt(PROMPT.format(title=title, shot=shot), serial), 400, 400, mime=mime))


@pytest.mark.parametrize("mime", ["image/png", "image/jpeg"])
@pytest.mark.parametrize("ratio", sizes.PIXELS_1K)
def test_every_ratio_has_exactly_its_pixels(ratio: str, mime: str) -> None:
    width, height = sizes.pixels(ratio, "512")
    image = opened(render(read_prompt("A mug", 1), width, height, mime=mime))
    assert image.size == (width, height)
    assert Image.MIME[image.format or ""] == mime


def test_4k_has_exactly_its_pixels_and_takes_less_than_two_seconds() -> None:
    began = time.process_time()
    image = opened(render(read_prompt("A mug", 1), 3392, 5056, mime="image/png"))
    assert image.size == (3392, 5056)
    assert time.process_time() - began < 2


def test_title_shot_and_category_come_from_the_product_facts() -> None:
    card = read_prompt(PROMPT.format(title="Steel Thermos", shot="hero"), 7)
    assert (card.title, card.shot, card.serial) == ("Steel Thermos", "hero", 7)
    assert "Mugs" in card.subject


def test_without_facts_the_first_words_are_used() -> None:
    card = read_prompt("A cosy photo of a red wool scarf on a wooden table\nSecond line", 1)
    assert card.title == "A cosy photo of a red wool"
    assert card.colour == (200, 55, 45)
    assert read_prompt("", 1).title == "Image"


def test_the_colour_is_the_products_and_not_the_backdrops() -> None:
    navy = read_prompt(PROMPT.format(title="Navy mug", shot="x"), 1).colour
    assert navy == (36, 54, 95)
    plain = [read_prompt(PROMPT.format(title=title, shot="x"), 1).colour for title in ("Mug", "Kettle")]
    assert plain[0] != plain[1]
    grey = read_prompt(PROMPT.format(title="Grey mug", shot="x"), 1).colour
    assert grey not in plain
    stated = PROMPT.format(title="Navy mug\nColour: teal", shot="x")
    assert read_prompt(stated, 1).colour == (31, 138, 138)


def test_colour_words_are_whole_words() -> None:
    assert read_prompt("A covered, tanned thing", 1).colour == read_prompt("A covered, tanned thing", 2).colour
    assert read_prompt("A covered thing", 1).colour not in [(200, 55, 45)]
    assert len(COLOURS) > 20


@pytest.mark.parametrize("other", [{"serial": 2}, {"title": "Navy cup"}, {"shot": "detail"}, {"shot": "lifestyle"}])
def test_images_can_be_told_apart(other: dict[str, object]) -> None:
    assert drawn().tobytes() == drawn().tobytes()
    assert drawn().tobytes() != drawn(**other).tobytes()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "title", ["x" * 500, "杯子 кружка كوب", "A\tB\x00C", "…", "Mug 🫖", "-" * 3]
)  # fmt: skip
def test_any_text_can_be_written(title: str) -> None:
    assert drawn(title).size == (400, 400)


@pytest.mark.parametrize("size", [(192, 1536), (1536, 192), (792, 168)])
def test_extreme_formats_can_be_drawn_with_a_photo(size: tuple[int, int]) -> None:
    for photo_size in ((3000, 10), (10, 3000), (1, 1)):
        buffer = io.BytesIO()
        Image.new("RGBA", photo_size, (255, 0, 0, 128)).save(buffer, "PNG")
        card = read_prompt("A mug", 1)
        assert opened(render(card, *size, mime="image/png", photo=buffer.getvalue())).size == size


def test_a_photo_nobody_can_open_gives_a_silhouette() -> None:
    card = read_prompt("A mug", 1)
    with_broken = render(card, 300, 300, mime="image/png", photo=b"not a photo")
    assert with_broken == render(card, 300, 300, mime="image/png")


def test_a_photo_lies_upright() -> None:
    photo = Image.new("RGB", (100, 100), "blue")
    photo.paste("red", (0, 0, 100, 50))
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", exif=exif)
    image = opened(render(read_prompt("A mug", 1), 400, 400, mime="image/png", photo=buffer.getvalue())).convert("RGB")
    top, bottom = image.getpixel((200, 60)), image.getpixel((200, 230))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[2] > 200 > top[0], "blue is above"
    assert bottom[0] > 200 > bottom[2]


@pytest.mark.parametrize("mime", ["image/png", "image/jpeg"])
def test_padding_keeps_the_picture(mime: str) -> None:
    small = render(read_prompt("A mug", 1), 300, 300, mime=mime)
    large = pad(small, 1_000_000)
    assert len(large.data) >= 1_000_000
    assert opened(large).tobytes() == opened(small).tobytes()
    assert pad(large, 10) is large


@pytest.mark.parametrize(
    ("one", "other"),
    [("Red Shirts", "a hoodie"), ("wrist watches", "clock"), ("Wine", "juice"), ("gizmo", "unknown thing")],
)
def test_shapes_follow_the_words(one: str, other: str) -> None:
    assert choose_shape(one) is choose_shape(other)


def test_shapes_differ_and_leave_room_around() -> None:
    words = ("shirt", "bottle", "mug", "bag", "watch", "shoe", "chair", "lamp", "ring", "box")
    shapes = [draw_silhouette(choose_shape(word), 120, (200, 60, 50)) for word in words]
    assert len({shape.tobytes() for shape in shapes}) == len(words)
    for shape in shapes:
        assert shape.size == (120, 120)
        assert shape.getchannel("A").getpixel((0, 0)) == 0
