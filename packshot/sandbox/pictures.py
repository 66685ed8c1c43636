"""The emulator's images: real PNG and JPEG files of the exact size, drawn as product cards a person can tell apart.

Cheap by design (flat fills, fast compression): a 1024 x 1024 card takes a few hundredths of a second.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

from packshot.sandbox.silhouettes import Shape, choose_shape, draw_silhouette

Colour = tuple[int, int, int]

COLOURS = {
    "red": "#c8372d", "crimson": "#b0203c", "burgundy": "#7b1e3a", "orange": "#e8822c", "coral": "#f0705a",
    "yellow": "#e6b92e", "mustard": "#c9982a", "gold": "#c9a13b", "green": "#3f8f55", "olive": "#7c7f3c",
    "mint": "#7cc4a4", "teal": "#1f8a8a", "turquoise": "#35b5b0", "blue": "#3a74c4", "navy": "#24365f",
    "indigo": "#4450a0", "purple": "#7a4fa3", "violet": "#8a63c9", "lavender": "#a794d6", "pink": "#e08aa8",
    "magenta": "#b93a83", "brown": "#86593a", "tan": "#c19a6b", "beige": "#cdb896", "cream": "#d8c9a3",
    "khaki": "#a89f6f", "white": "#e9e9e6", "ivory": "#e4dfcd", "silver": "#aeb4ba", "grey": "#868b91",
    "gray": "#868b91", "charcoal": "#454b52", "black": "#2b2d31",
}  # fmt: skip
_COLOUR_WORD = re.compile(rf"\b({'|'.join(COLOURS)})\b", re.IGNORECASE)
_FACT = r"^\W*{name}\W*:\s*(.+?)\s*$"
_RENDER_SIZE_LIMIT = 2048
_SPOTS = 60


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image and its true type and pixels."""

    data: bytes
    mime: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Card:
    """What the card says. ``subject`` holds the words that decide the shape; ``serial`` counts generations."""

    title: str
    shot: str
    colour: Colour
    subject: str
    serial: int
    note: str = ""


def read_prompt(prompt: str, serial: int, note: str = "") -> Card:
    """Find ``Title:`` and ``Shot:`` lines, else use the first words; the colour is named there, or a hash."""
    lines = [line.strip() for line in prompt.splitlines() if line.strip()]
    first = lines[0] if lines else "Image"
    title = _fact(prompt, "title")
    shot = _fact(prompt, "shot") or first
    # Prompts speak of grey backdrops and soft light: where there are product facts, nothing else describes the product.
    described = f"{_fact(prompt, 'colou?r')} {title} {_fact(prompt, 'description')}" if title else prompt
    title = title or " ".join(first.split()[:7])
    return Card(title, shot, _colour(described, title), f"{title} {_fact(prompt, 'category')}", serial, note)


def _fact(prompt: str, name: str) -> str:
    found = re.search(_FACT.format(name=name), prompt, re.IGNORECASE | re.MULTILINE)
    return found.group(1) if found else ""


def _colour(described: str, title: str) -> Colour:
    found = _COLOUR_WORD.search(described)
    if found:
        return _rgb(COLOURS[found.group(1).lower()])
    hue = int.from_bytes(hashlib.sha256(title.encode()).digest()[:2]) % 360
    return _rgb(f"hsl({hue}, 45%, 52%)")


def _rgb(text: str) -> Colour:
    red, green, blue = ImageColor.getrgb(text)[:3]
    return red, green, blue


def _mix(colour: Colour, other: Colour, share: float) -> Colour:
    """``colour`` with ``share`` of ``other`` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=max(size, 6))


def render(
    card: Card, width: int, height: int, *, mime: str, photo: bytes | None = None, artefacts: bool = False
) -> Picture:
    """Draw the card at exactly ``width`` x ``height`` pixels; the customer's photo, if any, is the product."""
    shrink = max(1.0, max(width, height) / _RENDER_SIZE_LIMIT)
    image = _draw(card, round(width / shrink), round(height / shrink), photo, artefacts)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.NEAREST)
    return Picture(_encode(image, mime), mime, width, height)


def _draw(card: Card, width: int, height: int, photo: bytes | None, artefacts: bool) -> Image.Image:
    white, ink = (255, 255, 255), (38, 41, 48)
    tint = white if artefacts else _mix(card.colour, white, 0.82)
    image = Image.new("RGB", (width, height), tint)
    draw = ImageDraw.Draw(image)
    margin = round(min(width, height) * 0.06)
    wide = width > 1.5 * height
    if wide:
        stage = (margin, margin, margin + min(height - 2 * margin, width // 2), height - margin)
        text = (stage[2] + margin, margin, width - margin, height - margin)
    else:
        foot = round(min(height * 0.26, width * 0.34))
        stage = (margin, margin, width - margin, height - foot - margin)
        text = (margin, height - foot, width - margin, height - margin)
    stage_image = _stage(card, (stage[2] - stage[0], stage[3] - stage[1]), white if artefacts else tint, photo)
    image.paste(stage_image, stage[:2], _rounded(stage_image.size, 0 if artefacts else margin // 2))
    _write(draw, card, text, ink)
    if artefacts:
        _spoil(draw, width, height, card.serial)
    return image


Box = tuple[int, int, int, int]


@lru_cache(maxsize=8)
def _rounded(size: tuple[int, int], radius: int) -> Image.Image:
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius=radius, fill=255)
    return mask


def _stage(card: Card, size: tuple[int, int], tint: Colour, photo: bytes | None) -> Image.Image:
    """The picture within the card; the shot's name sets the scene: a table by a window, a close-up, or a studio."""
    white = (255, 255, 255)
    width, height = size
    shot = card.shot.lower()
    ground = _mix(tint, white, 0.66)
    image = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(image)
    centre_y, zoom = height // 2, 0.74
    if "lifestyle" in shot or "scene" in shot:
        table = round(height * 0.68)
        sun = [(width * 0.08, 0), (width * 0.3, 0), (width * 0.62, table), (width * 0.4, table)]
        draw.polygon(sun, fill=_mix(tint, white, 0.9))
        ground = (222, 203, 178)
        draw.rectangle((0, table, width, height), fill=ground)
        draw.rectangle((0, table, width, table + max(2, height // 90)), fill=(201, 178, 148))
        zoom = 0.6
        centre_y = table + height // 10 - round(min(size) * zoom) // 2
    elif "detail" in shot or "close" in shot or "macro" in shot:
        zoom = 1.5
    room = (round(width * zoom * 1.13), round(height * zoom * 1.13))
    side = round(min(size) * zoom)
    picture = _open_photo(photo, room) if photo else None
    if picture:
        product, mask = picture, picture if picture.mode == "RGBA" else None
    else:
        product, mask = _silhouette(choose_shape(card.subject), side, card.colour)
    left, top = (width - product.width) // 2, centre_y - product.height // 2
    if picture is None:
        half, base = round(side * 0.36), top + round(product.height * 0.96)
        shadow = _mix(ground, (70, 60, 60), 0.16)
        draw.ellipse((width // 2 - half, base - side // 40, width // 2 + half, base + side // 22), fill=shadow)
    image.paste(product, (left, top), mask)
    return image


@lru_cache(maxsize=8)
def _silhouette(shape: Shape, side: int, colour: Colour) -> tuple[Image.Image, Image.Image]:
    """A drawn product and its outline. Kept, because a catalog's shots show the same few things again and again."""
    drawn = draw_silhouette(shape, side, colour)
    return drawn.convert("RGB"), drawn.getchannel("A")


def _open_photo(photo: bytes, room: tuple[int, int]) -> Image.Image | None:
    """The customer's photo, upright and fitted into ``room``; None for a format we cannot open."""
    try:
        with Image.open(io.BytesIO(photo)) as opened:
            opened.draft("RGB", room)
            upright = ImageOps.exif_transpose(opened)
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
            return ImageOps.contain(upright, room, Image.Resampling.BILINEAR)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _write(draw: ImageDraw.ImageDraw, card: Card, area: Box, ink: Colour) -> None:
    left, top, right, bottom = area
    unit = max(8, min((bottom - top) // 6, (right - left) // 18))
    soft = _mix(ink, (255, 255, 255), 0.4)
    y = top + (unit // 2 if bottom - top < 12 * unit else (bottom - top) // 3)
    chip = f"#{card.serial}"
    font = _font(unit)
    chip_width = round(draw.textlength(chip, font=font)) + unit
    draw.rounded_rectangle(
        (right - chip_width, y, right, y + round(unit * 1.6)), radius=unit // 2, fill=_mix(card.colour, ink, 0.15)
    )
    bright = sum(card.colour) > 480
    draw.text((right - chip_width / 2, y + unit * 0.8), chip, ink if bright else (255, 255, 255), font, anchor="mm")
    room = right - left - chip_width - unit
    fonts = [_font(round(unit * scale)) for scale in (1.35, 1.15, 0.95)]
    title_font = next((f for f in fonts if draw.textlength(card.title, font=f) <= room), fonts[-1])
    draw.text((left, y), _fit(draw, card.title, title_font, room), ink, title_font)
    small = _font(round(unit * 0.85))
    full = right - left
    draw.text((left, y + unit * 2.1), _fit(draw, card.shot, small, full), soft, small)
    line = f"{card.note} · packshot sandbox" if card.note else "packshot sandbox"
    draw.text((left, y + unit * 3.4), _fit(draw, line, small, full), _mix(soft, (255, 255, 255), 0.3), small)


def _fit(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: float) -> str:
    """``text`` cut with an ellipsis so that it is at most ``room`` pixels wide."""
    text = " ".join(text.split())[:120]
    if draw.textlength(text, font=font) <= room:
        return text
    while text and draw.textlength(text + "…", font=font) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def _spoil(draw: ImageDraw.ImageDraw, width: int, height: int, seed: int) -> None:
    """Black spots and dirty patches, as the models sometimes leave them on a white background."""
    chance = Random(seed)  # noqa: S311 - reproducible dirt
    unit = min(width, height)
    for number in range(_SPOTS):
        x, y = chance.randrange(width), chance.randrange(height)
        dirty = number % 3 == 0
        radius = chance.randint(unit // 60, unit // 25) if dirty else chance.randint(1, max(2, unit // 150))
        shade = chance.randint(222, 240) if dirty else chance.randint(0, 30)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius // 2), fill=(shade, shade, shade))


def _encode(image: Image.Image, mime: str) -> bytes:
    buffer = io.BytesIO()
    if mime == "image/png":
        image.save(buffer, "PNG", compress_level=1)
    else:
        image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def pad(picture: Picture, size: int) -> Picture:
    """The same picture in a file of at least ``size`` bytes: noise in a place that every reader skips."""
    missing = size - len(picture.data)
    if missing <= 0:
        return picture
    noise = Random(size).randbytes(missing)  # noqa: S311 - filler
    if picture.mime == "image/png":
        data = _with_chunk(picture.data, b"paDd", noise)  # ancillary, private, safe to copy
    else:
        step = 65_000
        comments = b"".join(
            b"\xff\xfe" + struct.pack(">H", len(noise[i : i + step]) + 2) + noise[i : i + step]
            for i in range(0, missing, step)
        )
        data = picture.data[:2] + comments + picture.data[2:]
    return Picture(data, picture.mime, picture.width, picture.height)


def read_png(path: Path) -> Picture:
    """A PNG file as it is.

    Raises:
        OSError: it is not there, or no PNG.
    """
    data = path.read_bytes()
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return Picture(data, "image/png", image.width, image.height)


def numbered(picture: Picture, card: Card) -> Picture:
    """The same PNG in a file of its own: a text chunk says which one it is."""
    data = _with_chunk(picture.data, b"tEXt", f"Comment\0packshot sandbox #{card.serial} {card.note}".encode())
    return Picture(data, picture.mime, picture.width, picture.height)


def _with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    end = png.rindex(b"IEND") - 4
    checksum = struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
    return b"".join([png[:end], struct.pack(">I", len(content)), kind, content, checksum, png[end:]])
