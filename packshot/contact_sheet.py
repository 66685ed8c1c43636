"""All pictures of a run on one page, to look them over at a glance: one row a product, one column a shot.

Pictures are opened one at a time and only their thumbnails are kept on the page, so a sheet of hundreds of 4K images
needs the memory of the page and one image.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from packshot.typeface import Face, choose_face

MAX_PAGE_PIXELS = 12_000_000
"""A longer page is cut after the last row that fits, and its foot says how much was left out. In memory a pixel takes
four bytes, and the page is the largest thing that a run makes. 120 pictures fit in a plain grid, 78 in three columns of
16:9."""
MAX_PAGE_HEIGHT = 30_000  # JPEG ends at 65,535, browsers show less
NARROWEST, WIDEST = 1 / 2, 16 / 9
"""Shapes of tiles, width by height; other pictures are shown whole, with room around."""

PAPER, INK, GREY, TILE, EDGE = "#ffffff", "#18181b", "#71717a", "#f7f7f8", "#e4e4e7"
MARGIN, GAP, LABEL_WIDTH, RADIUS = 44, 20, 230, 12
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises on broken files


Source = Path | bytes


@dataclass(frozen=True, slots=True)
class SheetItem:
    """One picture. ``image`` is a file, an image file's bytes, or what :func:`shrink` made of one.

    When every item has a ``shot``, rows are products (told apart by ``product``, else by ``title``) and columns are
    shots; title and subtitle then label the row. Otherwise they are the picture's own caption in a plain grid.
    """

    image: Source
    title: str
    subtitle: str = ""
    product: str = ""
    shot: str = ""


_Column = tuple[str, int]  # a shot, and which of its pictures


@dataclass(frozen=True, slots=True)
class _Row:
    title: str
    subtitle: str
    cells: dict[_Column, SheetItem]


def contact_sheet(
    items: Sequence[SheetItem], *, title: str = "", columns: int = 4, thumb: int = 320, more: int = 0
) -> Image.Image:
    """Draw the page. ``thumb`` is the pictures' height in pixels; ``columns`` counts only in a plain grid; ``more`` is
    the number of pictures that are not among the items, for the foot.

    A picture that cannot be read gets a tile that says so. Raises ValueError when there are no items.
    """
    if not items:
        raise ValueError("a contact sheet needs at least one picture")
    face = choose_face(f"{title}{''.join(item.title + item.subtitle + item.shot for item in items)}")
    if all(item.shot for item in items):
        return _draw_table(_rows(items), title, thumb, more, face)
    return _draw_grid(items, title, columns, thumb, more, face)


def write_contact_sheet(
    items: Sequence[SheetItem], path: Path, *, title: str = "", columns: int = 4, thumb: int = 320, more: int = 0
) -> None:
    """Write the page as a JPEG file, about 10 to 30 kB a picture."""
    page = contact_sheet(items, title=title, columns=columns, thumb=thumb, more=more)
    page.save(path, format="JPEG", quality=86)


def shrink(image: Source, thumb: int) -> bytes | None:
    """All that a page needs of a picture; so the picture itself can be let go before the page is drawn. None when it
    cannot be read."""
    small = _thumbnail(image, (round(thumb * WIDEST), thumb))
    if small is None:
        return None
    packed = io.BytesIO()  # a tenth of what its pixels take
    small.save(packed, format="JPEG", quality=95, subsampling=0)
    return packed.getvalue()


def _rows(items: Sequence[SheetItem]) -> list[_Row]:
    """One row a product, in order of first appearance; a second picture of the same shot gets a column of its own."""
    rows: dict[str, _Row] = {}
    for item in items:
        row = rows.setdefault(item.product or item.title, _Row(item.title, item.subtitle, {}))
        number = sum(shot == item.shot for shot, _ in row.cells) + 1
        row.cells[item.shot, number] = item
    return list(rows.values())


def _draw_table(rows: list[_Row], title: str, thumb: int, more: int, face: Face) -> Image.Image:
    heading, widths = 40, _column_widths(rows, thumb)
    width = 2 * MARGIN + LABEL_WIDTH + sum(widths.values()) + GAP * len(widths)
    pictures = sum(len(row.cells) for row in rows)
    top = _head_height(title) + heading
    shown = rows[: _rows_that_fit(width, top, thumb + GAP)]
    left_out = sum(len(row.cells) for row in rows[len(shown) :]) + more
    pen = _Pen.new_page(width, top + len(shown) * (thumb + GAP), left_out, face)
    pen.head(title, f"{_count(len(rows), 'product')}, {_count(pictures, 'picture')}")
    lefts, left = {}, MARGIN + LABEL_WIDTH + GAP
    for column, column_width in widths.items():
        lefts[column] = left
        shot, number = column
        pen.text((left, top - heading), f"{shot} {number}" if number > 1 else shot, 17, GREY, column_width)
        left += column_width + GAP
    for index, row in enumerate(shown):
        y = top + index * (thumb + GAP)
        pen.label(y, row.title, row.subtitle, thumb)
        for column, x in lefts.items():
            pen.tile((x, y), (widths[column], thumb), row.cells.get(column))
    pen.foot(left_out)
    return pen.page


def _draw_grid(items: Sequence[SheetItem], title: str, columns: int, thumb: int, more: int, face: Face) -> Image.Image:
    columns, caption = min(columns, len(items)), 74
    width = max(2 * MARGIN + columns * thumb + (columns - 1) * GAP, 480)
    top = _head_height(title)
    shown = items[: columns * _rows_that_fit(width, top, thumb + caption)]
    height = top + -(-len(shown) // columns) * (thumb + caption)
    left_out = len(items) - len(shown) + more
    pen = _Pen.new_page(width, height, left_out, face)
    pen.head(title, _count(len(items), "picture"))
    for index, item in enumerate(shown):
        x = MARGIN + index % columns * (thumb + GAP)
        y = top + index // columns * (thumb + caption)
        pen.tile((x, y), (thumb, thumb), item)
        pen.text((x, y + thumb + 8), item.title, 17, INK, thumb, bold=True)
        pen.text((x, y + thumb + 30), item.subtitle, 15, GREY, thumb)
    pen.foot(left_out)
    return pen.page


def _head_height(title: str) -> int:
    return MARGIN + (48 if title else 0) + 48


def _rows_that_fit(width: int, top: int, row_height: int) -> int:
    height = min(MAX_PAGE_PIXELS // width, MAX_PAGE_HEIGHT)
    return max(1, (height - top - 2 * MARGIN) // row_height)


def _column_widths(rows: list[_Row], thumb: int) -> dict[_Column, int]:
    """As wide as the shot's widest picture at full height. Shots stand in the order of the product that has most."""
    widths: dict[_Column, int] = {}
    for row in rows:
        for column, item in row.cells.items():
            shape = _shape(item.image)
            wide = round(thumb * min(max(shape, NARROWEST), WIDEST)) if shape else 0
            widths[column] = max(widths.get(column, 0), wide)
    shots = list(dict.fromkeys(shot for row in sorted(rows, key=lambda row: -len(row.cells)) for shot, _ in row.cells))
    return {column: widths[column] or thumb for column in sorted(widths, key=lambda c: (shots.index(c[0]), c[1]))}


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _open(image: Source) -> Image.Image:
    return Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)


def _lies_on_its_side(image: Image.Image) -> bool:
    return image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # EXIF orientation


def _shape(source: Source) -> float | None:
    """Width by height as the file's header has it; None when it cannot be read."""
    try:
        with _open(source) as image:
            width, height = image.size
            return height / width if _lies_on_its_side(image) else width / height
    except _UNREADABLE:
        return None


def _thumbnail(source: Source, box: tuple[int, int]) -> Image.Image | None:
    """The picture, upright, on white, no larger than ``box``; None when it cannot be read."""
    try:
        with _open(source) as image:
            if image.mode == "P":
                image = image.convert("RGBA")  # shrinking palette numbers would mix colours at random
            width, height = box[::-1] if _lies_on_its_side(image) else box
            # No wider and no higher than it will be: a JPEG is decoded at the smallest scale that is enough for that.
            width, height = (
                min(width, ceil(height * image.width / image.height)),
                min(height, ceil(width * image.height / image.width)),
            )
            image.thumbnail((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
            small = ImageOps.exif_transpose(image)
            if not small.has_transparency_data:
                return small.convert("RGB")
            small = small.convert("RGBA")
            paper = Image.new("RGBA", small.size, PAPER)
            return Image.alpha_composite(paper, small).convert("RGB")
    except _UNREADABLE:
        return None


@lru_cache(maxsize=32)
def _outline(size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """A tile's inside and its edge, as masks; drawn at four times the size, for smooth corners."""
    large = (size[0] * 4, size[1] * 4)
    mask = Image.new("L", large, 0)
    corners = (0, 0, large[0] - 1, large[1] - 1)
    ImageDraw.Draw(mask).rounded_rectangle(corners, RADIUS * 4, fill=255)
    inside = mask.resize(size, Image.Resampling.BOX)
    ImageDraw.Draw(mask).rounded_rectangle(corners, RADIUS * 4, fill=0, outline=255, width=4)
    return inside, mask.resize(size, Image.Resampling.BOX)


@dataclass(frozen=True, slots=True)
class _Pen:
    """Draws on one page."""

    page: Image.Image
    draw: ImageDraw.ImageDraw
    face: Face

    @classmethod
    def new_page(cls, width: int, body: int, left_out: int, face: Face) -> _Pen:
        page = Image.new("RGB", (width, body + MARGIN - GAP + (40 if left_out else 0)), PAPER)
        return cls(page, ImageDraw.Draw(page), face)

    def head(self, title: str, summary: str) -> None:
        room = self.page.width - 2 * MARGIN
        if title:
            self.text((MARGIN, MARGIN - 6), title, 34, INK, room, bold=True)
        self.text((MARGIN, MARGIN + (44 if title else 0)), summary, 18, GREY, room)

    def foot(self, left_out: int) -> None:
        if left_out:
            words = f"{_count(left_out, 'more picture')} not on this page"
            self.text((MARGIN, self.page.height - MARGIN - 14), words, 17, GREY, self.page.width - 2 * MARGIN)

    def text(self, at: tuple[int, int], text: str, size: int, colour: str, room: int, bold: bool = False) -> None:
        """One line, cropped with an ellipsis to ``room`` pixels."""
        self.face.write(self.draw, at, self.face.crop(text, size, room), size, colour, bold)

    def label(self, y: int, title: str, subtitle: str, height: int) -> None:
        """A row's name: up to three lines, then up to two of the subtitle, in the middle of the row's height."""
        titles = self.face.wrap(title, 20, LABEL_WIDTH, lines=min(max((height - 46) // 27, 1), 3))
        subtitles = self.face.wrap(subtitle, 16, LABEL_WIDTH, lines=2)
        y += (height - 27 * len(titles) - 23 * len(subtitles)) // 2
        for line in titles:
            self.face.write(self.draw, (MARGIN, y), line, 20, INK, bold=True)
            y += 27
        for line in subtitles:
            self.face.write(self.draw, (MARGIN, y + 3), line, 16, GREY, bold=False)
            y += 23

    def tile(self, at: tuple[int, int], size: tuple[int, int], item: SheetItem | None) -> None:
        """The picture with round corners and a hairline, centred; or a tile that says why there is none."""
        tile = Image.new("RGB", size, TILE)
        small = _thumbnail(item.image, size) if item else None
        if small:
            tile.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
        inside, edge = _outline(size)
        self.page.paste(tile, at, inside)
        self.page.paste(Image.new("RGB", size, EDGE), at, edge)
        if not small:
            words = "cannot be read" if item else "no picture"
            x = at[0] + (size[0] - self.face.width(words, 16)) // 2
            self.text((x, at[1] + size[1] // 2 - 10), words, 16, GREY, size[0])
