"""Draws the example catalog's product photos: `python examples/draw_photos.py`.

Plain shapes in code instead of photographs, so that the example is ours from the first pixel and small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIZE = 800
SCALE = 2  # drawn twice as large and scaled down: smooth edges
FOLDER = Path(__file__).resolve().parent / "catalog" / "photos"

Point = tuple[float, float]
Colour = tuple[int, int, int]


def tone(colour: Colour, factor: float) -> Colour:
    """Lighter (above 1) or darker."""
    red, green, blue = (max(0, min(255, round(part * factor))) for part in colour)
    return red, green, blue


def points(text: str) -> list[Point]:
    """`"10,20 30,40"` as points."""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


def curve(outline: Sequence[Point], closed: bool = True, steps: int = 16) -> list[Point]:
    """A smooth line through the points (Catmull-Rom)."""
    count = len(outline)
    spans = range(count) if closed else range(count - 1)

    def at(index: int) -> Point:
        return outline[index % count] if closed else outline[max(0, min(count - 1, index))]

    line = []
    for span in spans:
        p0, p1, p2, p3 = (at(span + offset) for offset in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            line.append(
                tuple(
                    0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
                    for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
                )
            )
    if not closed:
        line.append(outline[-1])
    return [(x, y) for x, y in line]


class Picture:
    """A light grey studio with things in it; coordinates run from 0 to 800."""

    def __init__(self) -> None:
        side = SIZE * SCALE
        self.image = Image.new("RGB", (side, side), (238, 238, 236))
        glow = self._mask(lambda d: d.ellipse(self._box((60, 20, 740, 700)), fill=255), blur=120)
        self.image.paste(Image.new("RGB", (side, side), (248, 248, 247)), mask=glow)

    def _box(self, box: Sequence[float]) -> list[float]:
        return [value * SCALE for value in box]

    def _mask(self, draw: Callable[[ImageDraw.ImageDraw], None], blur: float = 0) -> Image.Image:
        mask = Image.new("L", (SIZE * SCALE, SIZE * SCALE), 0)
        draw(ImageDraw.Draw(mask))
        return mask.filter(ImageFilter.GaussianBlur(blur * SCALE)) if blur else mask

    def shadow(self, x: float, y: float, width: float, height: float = 34, strength: int = 120) -> None:
        """Soft contact shadow on the table."""
        box = self._box((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        for blur, share in ((26, 0.55), (9, 0.6)):
            mask = self._mask(lambda d: d.ellipse(box, fill=int(strength * share)), blur=blur)  # noqa: B023
            self.image.paste((70, 68, 66), mask=mask)

    def _fill(self, mask: Image.Image, colour: Colour, depth: float) -> None:
        """Colour through a mask, lit from the upper left: ``depth`` 0 is flat."""
        box = mask.getbbox()
        if box is None:
            return
        left, top, right, bottom = box
        ramp = Image.new("RGB", (64, 1))
        for x in range(64):
            light = math.cos((x / 63 - 0.32) * 2.2)
            ramp.putpixel((x, 0), tone(colour, 1 + depth * (light - 0.72)))
        self.image.paste(
            ramp.resize((right - left, bottom - top), Image.Resampling.BICUBIC), (left, top), mask.crop(box)
        )

    def blob(self, outline: Sequence[Point], colour: Colour, depth: float = 0.5, smooth: bool = True) -> Image.Image:
        """A filled outline; gives its mask back for details that must stay inside it."""
        path = [(x * SCALE, y * SCALE) for x, y in (curve(outline) if smooth else outline)]
        mask = self._mask(lambda d: d.polygon(path, fill=255))
        self._fill(mask, colour, depth)
        return mask

    def ellipse(self, box: Sequence[float], colour: Colour, depth: float = 0.3) -> None:
        self._fill(self._mask(lambda d: d.ellipse(self._box(box), fill=255)), colour, depth)

    def rounded(self, box: Sequence[float], radius: float, colour: Colour, depth: float = 0.4) -> Image.Image:
        mask = self._mask(lambda d: d.rounded_rectangle(self._box(box), radius * SCALE, fill=255))
        self._fill(mask, colour, depth)
        return mask

    def line(
        self,
        outline: Sequence[Point],
        colour: Colour,
        width: float,
        smooth: bool = True,
        inside: Image.Image | None = None,
        blur: float = 0,
    ) -> None:
        """A stroke with round ends, optionally only where ``inside`` is."""
        path = [(x * SCALE, y * SCALE) for x, y in (curve(outline, closed=False) if smooth else outline)]
        radius = width * SCALE / 2

        def draw(d: ImageDraw.ImageDraw) -> None:
            d.line(path, fill=255, width=round(width * SCALE), joint="curve")
            for x, y in (path[0], path[-1]):
                d.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)

        mask = self._mask(draw, blur)
        if inside is not None:
            mask = ImageChops.multiply(mask, inside)
        self.image.paste(colour, mask=mask)

    def stitches(self, outline: Sequence[Point], colour: Colour, width: float = 3, smooth: bool = True) -> None:
        """A dashed seam."""
        path = curve(outline, closed=False, steps=40) if smooth else list(outline)
        for start in range(0, len(path) - 4, 8):
            self.line(path[start : start + 5], colour, width, smooth=False)

    def save(self, name: str) -> None:
        small = self.image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        small.save(FOLDER / f"{name}.jpg", quality=84, optimize=True, progressive=True)


def mug() -> Picture:
    p = Picture()
    p.shadow(400, 618, 380)
    glaze, clay = (98, 136, 133), (196, 164, 128)
    p.line([(530, 340), (640, 345), (655, 430), (610, 505), (520, 520)], tone(glaze, 0.82), 34)
    p.line([(530, 334), (634, 340), (648, 428), (604, 498), (520, 512)], tone(glaze, 1.02), 18)
    body = p.blob(points("250,270 550,270 544,560 516,612 400,624 284,612 256,560"), glaze, 0.7, smooth=False)
    p.rounded((256, 560, 544, 640), 30, clay, 0.6)
    p.blob(points("255,520 545,520 544,584 470,594 400,586 330,596 256,584"), glaze, 0.7, smooth=False)
    p.ellipse((250, 232, 550, 308), tone(glaze, 1.12))
    p.ellipse((266, 242, 534, 300), (62, 42, 32))
    p.ellipse((280, 256, 520, 299), (92, 60, 42))
    p.line([(296, 330), (292, 430), (300, 530)], tone(glaze, 1.35), 12, inside=body, blur=5)
    for x, y in ((350, 380), (420, 450), (470, 360), (380, 500), (490, 490), (330, 460), (440, 395)):
        p.ellipse((x, y, x + 6, y + 6), tone(glaze, 0.6), 0)
    return p


def shirt(cloth: Colour, buttons: Colour) -> Picture:
    p = Picture()
    p.shadow(400, 668, 420, 40, 80)
    for side in (-1, 1):
        sleeve = [
            (400 + side * x, y)
            for x, y in points("80,150 118,158 150,178 194,230 262,440 252,470 188,486 172,470 138,340")
        ]
        p.blob(sleeve, tone(cloth, 0.94), 0.25, smooth=False)
        cuff = [(400 + side * x, y) for x, y in ((256, 428), (268, 466), (186, 492), (174, 456))]
        p.blob(cuff, tone(cloth, 0.88), 0.25, smooth=False)
    body = p.blob(
        points(
            "310,152 350,142 450,142 490,152 528,190 540,330 546,640 500,662 400,650 300,662 254,640 260,330 272,190"
        ),
        cloth,
        0.28,
        smooth=False,
    )
    for side in (-1, 1):
        p.line([(400 + side * 112, 166), (400 + side * 126, 240), (400 + side * 138, 340)], tone(cloth, 0.8), 3)
    for x in (300, 345, 462, 508):
        p.line([(x, 330), (x + 5, 450), (x - 3, 640)], tone(cloth, 0.9), 9, inside=body, blur=6)
    p.rounded((386, 200, 416, 652), 2, tone(cloth, 0.96), 0.1)
    p.line([(386, 200), (386, 650)], tone(cloth, 0.8), 2, smooth=False)
    p.blob([(350, 142), (450, 142), (430, 178), (400, 214), (370, 178)], tone(cloth, 0.62), 0.2, smooth=False)
    p.blob([(350, 140), (332, 158), (362, 224), (400, 204), (372, 176)], tone(cloth, 1.02), 0.2, smooth=False)
    p.blob([(450, 140), (468, 158), (438, 224), (400, 204), (428, 176)], tone(cloth, 0.96), 0.2, smooth=False)
    p.line([(332, 158), (362, 224), (400, 204), (438, 224), (468, 158)], tone(cloth, 0.78), 2, smooth=False)
    pocket = points("442,300 442,372 474,388 506,372 506,300 442,300")
    p.line(pocket, tone(cloth, 0.8), 3, smooth=False)
    p.line([(442, 314), (506, 314)], tone(cloth, 0.84), 2, smooth=False)
    for y in range(240, 640, 66):
        p.ellipse((394, y, 408, y + 14), buttons, 0.4)
        p.ellipse((399, y + 4, 403, y + 8), tone(buttons, 0.55), 0)
    return p


def lamp() -> Picture:
    p = Picture()
    p.shadow(400, 660, 300)
    wood, linen = (176, 128, 84), (244, 228, 196)
    p.ellipse((292, 626, 508, 682), tone(wood, 0.78))
    p.ellipse((292, 614, 508, 668), wood, 0.5)
    p.blob(points("384,392 416,392 418,450 446,520 440,590 414,640 386,640 360,590 354,520 382,450"), wood, 0.8)
    p.rounded((376, 360, 424, 402), 8, (188, 160, 96), 0.8)
    for offset in (-28, 0, 28):
        p.line([(400 + offset * 0.4, 470), (400 + offset * 1.3, 540), (400 + offset * 0.7, 620)], tone(wood, 0.88), 2)
    shade = p.blob([(306, 130), (494, 130), (562, 366), (238, 366)], linen, 0.35, smooth=False)
    glow = p._mask(lambda d: d.ellipse(p._box((300, 210, 500, 420)), fill=150), blur=40)
    p.image.paste((255, 246, 214), mask=ImageChops.multiply(glow, shade))
    p.ellipse((306, 116, 494, 146), tone(linen, 0.9))
    p.ellipse((238, 350, 562, 384), tone(linen, 0.86))
    p.line([(306, 132), (238, 366)], tone(linen, 0.88), 3, smooth=False)
    p.line([(494, 132), (562, 366)], tone(linen, 0.8), 3, smooth=False)
    p.line([(470, 380), (470, 440)], (150, 140, 120), 3, smooth=False)
    p.ellipse((463, 438, 477, 456), (188, 160, 96), 0.6)
    return p


def boot() -> Picture:
    p = Picture()
    p.shadow(410, 652, 520, 36)
    leather, sole = (142, 84, 48), (58, 44, 38)
    p.blob([(240, 150), (236, 190), (262, 180), (268, 140)], tone(leather, 0.7), 0.2)
    upper = p.blob(
        points(
            "262,165 340,150 448,168 446,270 452,370 500,430 590,470 642,520 650,590 640,612 "
            "440,616 262,614 240,600 246,500 262,400 260,280"
        ),
        leather,
        0.55,
    )
    p.blob(
        points("452,376 500,430 590,470 642,520 650,590 640,612 540,614 510,560 470,500 440,440"),
        tone(leather, 1.1),
        0.5,
    )
    p.blob(points("246,480 320,500 344,560 340,614 262,614 240,600"), tone(leather, 0.88), 0.4)
    p.rounded((232, 604, 660, 634), 12, tone(sole, 1.35), 0.3)
    p.rounded((232, 618, 656, 646), 10, sole, 0.3)
    p.rounded((234, 620, 348, 664), 8, sole, 0.3)
    p.stitches([(250, 610), (450, 612), (646, 610)], (214, 180, 132), 3)
    p.stitches([(320, 502), (344, 560), (340, 604)], (206, 160, 112), 3)
    p.blob(points("400,182 440,186 442,280 450,370 470,410 440,430 414,370 404,280"), tone(leather, 0.74), 0.3)
    for step in range(7):
        x, y = 392 + step * 3 + max(0, step - 4) * 9, 200 + step * 34
        p.line([(x, y), (x + 62, y + 12)], (232, 214, 180), 7, smooth=False)
        p.ellipse((x - 8, y - 7, x + 6, y + 7), (190, 160, 96), 0.6)
        p.ellipse((x + 56, y + 5, x + 70, y + 19), (190, 160, 96), 0.6)
    p.line([(270, 182), (340, 168), (440, 184)], tone(leather, 0.7), 10, inside=upper)
    p.line([(252, 176), (244, 130), (266, 118), (280, 166)], tone(leather, 0.8), 9)
    p.line([(292, 230), (288, 330), (282, 440)], tone(leather, 1.35), 12, inside=upper, blur=8)
    p.line([(540, 474), (600, 500), (625, 545)], tone(leather, 1.5), 10, inside=upper, blur=7)
    return p


def vase() -> Picture:
    p = Picture()
    p.shadow(400, 664, 260)
    glaze = (214, 196, 178)
    stem, leaf = (110, 122, 84), (132, 148, 100)
    for stalk, leaves in (
        ([(396, 250), (380, 170), (330, 80)], ((372, 150, -1), (352, 112, 1), (330, 84, -1))),
        ([(402, 250), (420, 160), (470, 62)], ((424, 150, 1), (446, 108, -1), (468, 66, 1))),
    ):
        p.line(stalk, stem, 5)
        for x, y, side in leaves:
            p.blob([(x, y), (x + side * 20, y - 26), (x + side * 52, y - 30), (x + side * 30, y - 2)], leaf, 0.4)
    body = p.blob(
        points(
            "366,240 434,240 430,290 470,350 520,440 514,550 460,640 400,656 340,640 286,550 280,440 330,350 370,290"
        ),
        glaze,
        0.75,
    )
    p.ellipse((360, 222, 440, 254), tone(glaze, 1.08))
    p.ellipse((370, 228, 430, 250), (84, 70, 60))
    for y in (438, 462):
        p.line([(270, y), (400, y + 26), (530, y)], (150, 92, 66), 9, inside=body)
    p.line([(270, 486), (400, 512), (530, 486)], (92, 108, 112), 16, inside=body)
    p.line([(330, 390), (310, 470), (322, 570)], tone(glaze, 1.2), 18, inside=body, blur=9)
    return p


def scarf() -> Picture:
    p = Picture()
    p.shadow(400, 664, 460, 44, 100)
    wool, stripe = (158, 56, 58), (236, 222, 200)
    for left, right, top, bottom, lean in ((250, 390, 330, 600, -26), (420, 560, 330, 620, 26)):
        hang = p.blob(
            [(left + 40, top), (right - 10, top), (right + lean, bottom), (left + lean, bottom)],
            tone(wool, 0.95),
            0.4,
            smooth=False,
        )
        for index, y in enumerate((bottom - 120, bottom - 92, bottom - 52)):
            p.line([(left - 60, y), (right + 60, y)], stripe, 16 if index < 2 else 8, smooth=False, inside=hang)
        for x in range(left, right, 9):
            p.line([(x - 20, top), (x + lean, bottom)], tone(wool, 0.84), 1.5, smooth=False, inside=hang)
        for x in range(left + lean + 4, right + lean, 12):
            p.line(
                [(x, bottom - 2), (x + (x % 3 - 1) * 3, bottom + 42)],
                wool if x % 2 else tone(wool, 0.85),
                5,
                smooth=False,
            )
    ring = p.blob(points("400,150 530,178 596,262 560,352 470,398 400,404 330,398 240,352 204,262 270,178"), wool, 0.5)
    for shift in range(0, 150, 26):
        p.line(
            [
                (206 + shift * 0.2, 268 + shift * 0.45),
                (300, 330 + shift * 0.6),
                (400, 350 + shift * 0.5),
                (500, 330 + shift * 0.6),
                (594 - shift * 0.2, 268 + shift * 0.45),
            ],
            tone(wool, 0.78),
            6,
            inside=ring,
            blur=2,
        )
    p.blob(points("400,196 486,214 518,252 470,290 400,300 330,290 282,252 314,214"), tone(wool, 0.42), 0.2)
    p.line([(300, 214), (400, 186), (500, 214)], tone(wool, 1.12), 10, inside=ring, blur=5)
    p.blob(points("352,330 450,322 476,380 440,440 366,442 336,392"), tone(wool, 1.06), 0.5)
    for x in (372, 396, 420, 444):
        p.line([(x, 336), (x + 6, 384), (x - 6, 434)], tone(wool, 0.84), 4, blur=1)
    return p


def toy_car() -> Picture:
    p = Picture()
    p.shadow(400, 596, 520, 36)
    wood, roof, dark = (214, 172, 118), (198, 92, 70), (120, 82, 52)
    body = p.blob(points("150,430 190,396 600,396 650,430 656,520 630,548 170,548 146,520"), wood, 0.4)
    cabin = p.blob(points("252,404 296,280 340,256 470,256 510,280 560,404"), roof, 0.4, smooth=False)
    p.blob([(288, 394), (316, 306), (392, 300), (392, 394)], (226, 236, 238), 0.15, smooth=False)
    p.blob([(414, 394), (414, 300), (486, 306), (520, 394)], (226, 236, 238), 0.15, smooth=False)
    p.line([(330, 268), (470, 268)], tone(roof, 1.25), 8, inside=cabin, blur=3)
    for y, bend in ((440, 8), (468, -6), (500, 6), (526, -5)):
        p.line([(150, y), (300, y + bend), (460, y - bend), (652, y)], tone(wood, 0.88), 3, inside=body)
    p.ellipse((150, 446, 178, 482), (250, 232, 176), 0.2)
    p.line([(404, 410), (404, 540)], tone(wood, 0.8), 3, smooth=False)
    for x in (256, 546):
        p.ellipse((x - 74, 468, x + 74, 616), tone(dark, 0.9), 0.3)
        p.ellipse((x - 58, 484, x + 58, 600), tone(wood, 0.95), 0.4)
        p.ellipse((x - 40, 502, x + 40, 582), tone(wood, 1.08), 0.3)
        p.ellipse((x - 14, 528, x + 14, 556), dark, 0.4)
    return p


def soap() -> Picture:
    p = Picture()
    p.shadow(400, 560, 520, 46)
    bar, paper = (206, 200, 160), (226, 214, 196)
    p.rounded((180, 360, 620, 560), 56, tone(bar, 0.82), 0.3)
    top = p.rounded((180, 312, 620, 520), 60, bar, 0.3)
    p.line([(216, 350), (300, 330), (420, 328)], tone(bar, 1.2), 12, inside=top, blur=6)
    for x, y in ((216, 420), (236, 470), (560, 370), (590, 440), (566, 486), (226, 376), (580, 404)):
        p.line([(x, y), (x + 10, y - 8)], (132, 126, 160), 5, smooth=False)
    p.rounded((292, 306, 508, 526), 6, paper, 0.25)
    p.blob([(292, 520), (508, 520), (508, 562), (292, 562)], tone(paper, 0.84), 0.25, smooth=False)
    p.line([(308, 322), (492, 322), (492, 508), (308, 508), (308, 322)], tone(paper, 0.78), 2, smooth=False)
    p.line([(400, 486), (398, 430), (404, 352)], (104, 120, 88), 4)
    for step in range(7):
        y, reach = 448 - step * 15, 20 - step
        for side in (-1, 1):
            p.blob(
                [(400, y), (400 + side * reach, y - 12), (400 + side * reach * 0.7, y - 20), (401, y - 8)],
                (138, 120, 176),
                0.3,
            )
    return p


def backpack() -> Picture:
    p = Picture()
    p.shadow(400, 674, 400)
    canvas, tan, brass = (74, 92, 82), (178, 122, 74), (196, 164, 96)
    p.line([(352, 150), (360, 98), (440, 98), (448, 150)], tone(canvas, 0.7), 16)
    for side in (-1, 1):
        x = 400 + side * 168
        p.line([(400 + side * 120, 210), (x + side * 34, 330), (x + side * 26, 560)], tone(canvas, 0.66), 24)
        p.rounded((x - 44, 430, x + 44, 620), 26, tone(canvas, 0.82), 0.4)
    body = p.blob(
        points("300,152 400,138 500,152 566,250 584,450 576,610 536,666 400,672 264,666 224,610 216,450 234,250"),
        canvas,
        0.5,
    )
    p.rounded((270, 450, 530, 640), 30, tone(canvas, 1.12), 0.4)
    p.line([(270, 494), (530, 494)], tone(canvas, 0.7), 5, smooth=False)
    p.stitches(points("286,470 286,600 300,626 500,626 514,600 514,470"), tone(canvas, 1.5), 2)
    flap = p.blob(
        points("296,150 400,134 504,150 566,240 572,340 540,402 400,414 260,402 228,340 234,240"),
        tone(canvas, 1.16),
        0.5,
    )
    p.line([(240, 330), (268, 392), (400, 402), (532, 392), (560, 330)], tone(canvas, 0.9), 4, inside=flap)
    for x in (330, 470):
        p.rounded((x - 17, 300, x + 17, 530), 8, tan, 0.4)
        p.rounded((x - 26, 430, x + 26, 468), 6, brass, 0.6)
        p.rounded((x - 17, 439, x + 17, 459), 3, tone(tan, 0.8), 0.3)
        for y in (490, 508):
            p.ellipse((x - 3, y, x + 3, y + 6), tone(tan, 0.5), 0)
    p.rounded((356, 220, 444, 266), 6, tan, 0.3)
    p.line([(376, 252), (394, 232), (404, 243), (416, 229), (428, 252)], tone(tan, 0.6), 4, smooth=False)
    p.line([(262, 240), (252, 360), (254, 560)], tone(canvas, 1.4), 12, inside=body, blur=9)
    return p


PHOTOS: dict[str, Callable[[], Picture]] = {
    "stoneware-mug": mug,
    "linen-shirt-white": lambda: shirt((240, 238, 230), (214, 204, 184)),
    "linen-shirt-indigo": lambda: shirt((66, 82, 128), (206, 196, 176)),
    "table-lamp": lamp,
    "leather-boot": boot,
    "ceramic-vase": vase,
    "wool-scarf": scarf,
    "wooden-car": toy_car,
    "lavender-soap": soap,
    "canvas-backpack": backpack,
}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in PHOTOS.items():
        draw().save(name)
        print(f"{name}.jpg")


if __name__ == "__main__":
    main()
