"""Simple product shapes for cards that have no customer photo; the word in the prompt decides which."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Pen = ImageDraw.ImageDraw
Scale = Callable[..., list[tuple[float, float]]]

_GRID = 100
"""Shapes are drawn on a grid of 100 x 100 and scaled."""
_SMOOTH_LIMIT = 800
"""Larger shapes (pixels) look smooth enough without the four times larger drawing."""


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (max(0, min(255, round(channel * factor))) for channel in colour)
    return red, green, blue


def _shirt(pen: Pen, at: Scale, colour: Colour) -> None:
    pen.polygon(
        at((34, 12), (8, 28), (18, 48), (28, 42), (28, 90), (72, 90), (72, 42), (82, 48), (92, 28), (66, 12)), colour
    )
    pen.polygon(at((28, 42), (28, 52), (23, 45)), _shade(colour, 0.8))
    pen.polygon(at((72, 42), (72, 52), (77, 45)), _shade(colour, 0.8))
    pen.ellipse(at((37, 4), (63, 24)), _shade(colour, 0.7))
    pen.rectangle(at((28, 86), (72, 90)), _shade(colour, 0.88))


def _bottle(pen: Pen, at: Scale, colour: Colour) -> None:
    pen.rectangle(at((43, 5), (57, 16)), _shade(colour, 0.55))
    pen.polygon(at((44, 16), (56, 16), (58, 28), (67, 40), (33, 40), (42, 28)), _shade(colour, 0.9))
    pen.rectangle(at((33, 40), (67, 94)), colour)
    pen.rectangle(at((33, 54), (67, 80)), (250, 248, 242))
    pen.rectangle(at((38, 60), (62, 63)), _shade(colour, 0.8))
    pen.rectangle(at((38, 68), (55, 70)), _shade(colour, 1.15))


def _mug(pen: Pen, at: Scale, colour: Colour) -> None:
    pen.ellipse(at((58, 32), (92, 72)), _shade(colour, 0.85))
    pen.ellipse(at((67, 41), (83, 63)), (0, 0, 0, 0))
    pen.rectangle(at((16, 24), (72, 80)), colour)
    pen.ellipse(at((16, 72), (72, 90)), colour)
    pen.ellipse(at((16, 15), (72, 33)), _shade(colour, 1.2))
    pen.ellipse(at((21, 18), (67, 31)), _shade(colour, 0.45))


def _bag(pen: Pen, at: Scale, colour: Colour) -> None:
    pen.ellipse(at((32, 4), (68, 52)), _shade(colour, 0.6))
    pen.ellipse(at((38, 11), (62, 46)), (0, 0, 0, 0))
    pen.rounded_rectangle(at((14, 30), (86, 92)), at((0, 0), (9, 9))[1][0], colour)
    pen.rounded_rectangle(at((26, 58), (74, 84)), at((0, 0), (5, 5))[1][0], _shade(colour, 0.86))
    pen.rectangle(at((14, 42), (86, 45)), _shade(colour, 0.72))
    pen.rectangle(at((46, 40), (54, 49)), (222, 196, 120))


def _watch(pen: Pen, at: Scale, colour: Colour) -> None:
    pen.polygon(at((38, 4), (62, 4), (66, 40), (34, 40)), _shade(colour, 0.75))
    pen.polygon(at((34, 60), (66, 60), (62, 96), (38, 96)), _shade(colour, 0.75))
    pen.ellipse(at((24, 24), (76, 76)), colour)
    pen.ellipse(at((30, 30), (70, 70)), (250, 250, 248))
    pen.polygon(at((49, 36), (51, 36), (51, 52), (49, 52)), (45, 48, 55))
    pen.polygon(at((49, 49), (63, 56), (62, 58), (49, 52)), (45, 48, 55))
    pen.rectangle(at((76, 47), (80, 53)), _shade(colour, 0.7))


def _shoe(pen: Pen, at: Scale, colour: Colour) -> None:
    pen.polygon(at((10, 34), (30, 30), (38, 40), (62, 54), (86, 60), (94, 72), (8, 72)), colour)
    pen.polygon(at((10, 34), (30, 30), (33, 34), (12, 40)), _shade(colour, 0.7))
    pen.rounded_rectangle(at((6, 71), (95, 81)), at((0, 0), (4, 4))[1][0], (244, 242, 236))
    pen.rectangle(at((6, 77), (95, 81)), _shade(colour, 0.6))
    for step in range(4):
        x, y = 40 + step * 6, 42 + step * 3.4
        pen.polygon(at((x, y), (x + 3, y + 1.5), (x - 3, y + 11), (x - 6, y + 9)), (250, 248, 242))


def _chair(pen: Pen, at: Scale, colour: Colour) -> None:
    dark = _shade(colour, 0.6)
    pen.rounded_rectangle(at((28, 8), (72, 52)), at((0, 0), (8, 8))[1][0], colour)
    pen.rounded_rectangle(at((20, 52), (80, 66)), at((0, 0), (6, 6))[1][0], _shade(colour, 0.85))
    pen.polygon(at((26, 66), (31, 66), (25, 95), (21, 95)), dark)
    pen.polygon(at((69, 66), (74, 66), (79, 95), (75, 95)), dark)


def _lamp(pen: Pen, at: Scale, colour: Colour) -> None:
    pen.rectangle(at((48, 40), (52, 88)), _shade(colour, 0.55))
    pen.polygon(at((34, 8), (66, 8), (82, 48), (18, 48)), colour)
    pen.polygon(at((34, 8), (42, 8), (32, 48), (18, 48)), _shade(colour, 1.18))
    pen.ellipse(at((30, 84), (70, 95)), _shade(colour, 0.55))


def _ring(pen: Pen, at: Scale, colour: Colour) -> None:
    pen.ellipse(at((20, 30), (80, 92)), (214, 178, 94))
    pen.ellipse(at((28, 38), (72, 84)), (0, 0, 0, 0))
    pen.polygon(at((36, 12), (64, 12), (74, 22), (50, 42), (26, 22)), colour)
    pen.polygon(at((36, 12), (64, 12), (58, 22), (42, 22)), _shade(colour, 1.3))
    pen.polygon(at((42, 22), (58, 22), (50, 42)), _shade(colour, 0.8))


def _box(pen: Pen, at: Scale, colour: Colour) -> None:
    pen.polygon(at((50, 10), (88, 28), (50, 46), (12, 28)), _shade(colour, 1.15))
    pen.polygon(at((12, 28), (50, 46), (50, 92), (12, 74)), colour)
    pen.polygon(at((88, 28), (50, 46), (50, 92), (88, 74)), _shade(colour, 0.78))
    pen.polygon(at((28, 20.5), (36, 16.6), (74, 34.6), (66, 38.5)), (250, 246, 236))


Shape = Callable[[Pen, Scale, Colour], None]

_SHAPES: tuple[tuple[tuple[str, ...], Shape], ...] = (
    (("shirt", "tee", "sweater", "hoodie", "jacket", "dress", "blouse", "top", "tank", "polo", "coat"), _shirt),
    (("bottle", "drink", "juice", "wine", "lotion", "shampoo", "oil", "perfume"), _bottle),
    (("mug", "cup", "pot", "vase", "candle"), _mug),
    (("bag", "backpack", "tote", "duffle", "purse", "satchel", "luggage", "pack"), _bag),
    (("watch", "clock"), _watch),
    (("shoe", "shoes", "sneaker", "sneakers", "plimsolls", "boot", "boots", "sandal", "trainers"), _shoe),
    (("chair", "sofa", "stool", "armchair", "seat"), _chair),
    (("lamp", "lantern", "chandelier"), _lamp),
    (("ring", "necklace", "bracelet", "earring", "earrings", "pendant", "jewelry", "jewellery"), _ring),
)  # fmt: skip


def choose_shape(subject: str) -> Shape:
    """The shape whose word comes first in the text; a box when there is none."""
    for word in "".join(c if c.isalpha() else " " for c in subject.lower()).split():
        for words, shape in _SHAPES:
            if {word, word.removesuffix("s"), word.removesuffix("es")} & set(words):
                return shape
    return _box


def draw_silhouette(shape: Shape, side: int, colour: Colour) -> Image.Image:
    """A transparent square of ``side`` pixels with the shape in it; edges are smoothed by drawing at twice the size."""
    times = 2 if side <= _SMOOTH_LIMIT else 1
    factor = times * side / _GRID
    image = Image.new("RGBA", (times * side, times * side), (255, 255, 255, 0))

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * factor, y * factor) for x, y in points]

    shape(ImageDraw.Draw(image), at, colour)
    return image.reduce(times)
