"""A typeface that has the letters a text needs, with the little typesetting a picture's captions ask for."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from PIL import ImageDraw, ImageFont

# Pillow's own typeface is always there and looks good, but has hardly more than ASCII. The others are found by file
# name where Linux, macOS and Windows keep their fonts.
_FILES = (
    "DejaVuSans.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "arial.ttf",
    "msyh.ttc",
)
_NO_CHARACTER = "\U0010ffff"  # by definition in no font: drawn as the "missing" box


class Face:
    """One typeface in all sizes."""

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._sizes: dict[int, Any] = {}

    def _font(self, size: int) -> Any:
        if size not in self._sizes:
            self._sizes[size] = ImageFont.truetype(self._file, size) if self._file else ImageFont.load_default(size)
        return self._sizes[size]

    def lacks(self, characters: set[str]) -> int:
        """How many of the characters this typeface cannot draw."""
        font = self._font(16)
        box = bytes(font.getmask(_NO_CHARACTER))
        return sum(not c.isspace() and bytes(font.getmask(c)) == box for c in characters)

    def width(self, text: str, size: int) -> int:
        return int(self._font(size).getlength(text)) + 1

    def crop(self, text: str, size: int, room: int) -> str:
        """The text, or as much of its beginning as fits into ``room`` pixels with an ellipsis."""
        text = " ".join(text.split())
        if self.width(text, size) <= room:
            return text
        fits, too_long = 0, len(text)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if self.width(text[:middle].rstrip() + "…", size) <= room:
                fits = middle
            else:
                too_long = middle
        return text[:fits].rstrip() + "…"

    def wrap(self, text: str, size: int, room: int, lines: int) -> list[str]:
        """At most ``lines`` lines; the last one is cropped when there is more."""
        wrapped: list[str] = []
        words = text.split()
        while words and len(wrapped) < lines - 1:
            line = words.pop(0)
            while words and self.width(f"{line} {words[0]}", size) <= room:
                line += f" {words.pop(0)}"
            wrapped.append(self.crop(line, size, room))
        return [*wrapped, self.crop(" ".join(words), size, room)] if words else wrapped

    def write(
        self, draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: str, bold: bool
    ) -> None:
        """Bold is the same typeface with a thin outline, so that one file is enough."""
        draw.text(at, text, font=self._font(size), fill=colour, stroke_width=size * 0.018 if bold else 0)


@lru_cache
def _face(file: str) -> Face | None:
    try:
        face = Face(file)
        face.width("", 16)
    except OSError:  # not on this machine
        return None
    return face


def choose_face(text: str) -> Face:
    """Pillow's own typeface when it has every letter of the text, else the one on this machine that lacks fewest."""
    characters = set(text)
    best = Face(None)
    lacking = best.lacks(characters)
    for file in _FILES:
        if not lacking:
            break
        other = _face(file)
        if other and other.lacks(characters) < lacking:
            best, lacking = other, other.lacks(characters)
    return best
