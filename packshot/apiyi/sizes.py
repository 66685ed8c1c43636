"""Pixels that a ratio and a resolution come to.

Source: docs.apiyi.com, Nano Banana Pro overview. The ratios are not exact (3:4 at 1K is 0.7467): a channel that needs
exact pixels has to crop or pad.
"""

from __future__ import annotations

from packshot.errors import Code, ConfigError

SIZES = ("1K", "2K", "4K")

# Width and height at 1K; 2K and 4K are exactly two and four times as much.
_AT_1K = {
    "1:1": (1024, 1024),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
}
ASPECT_RATIOS = tuple(_AT_1K)


def pixels(aspect_ratio: str, image_size: str) -> tuple[int, int]:
    """Width and height the API makes for an aspect ratio ("4:5") at a resolution ("1K", "2K", "4K").

    Raises:
        ConfigError: one of the two is not among those the API knows.
    """
    if aspect_ratio not in _AT_1K:
        raise ConfigError(
            Code.SHOTS_INVALID,
            f"aspect ratio {aspect_ratio!r} is not one the API makes ({', '.join(ASPECT_RATIOS)})",
        )
    if image_size not in SIZES:
        raise ConfigError(
            Code.SHOTS_INVALID, f"image size {image_size!r} is not one the API makes ({', '.join(SIZES)})"
        )
    width, height = _AT_1K[aspect_ratio]
    factor = int(image_size[0])
    return width * factor, height * factor


def size_text(aspect_ratio: str, image_size: str) -> str:
    """The same as text for a ``size`` parameter: "4096x4096"."""
    width, height = pixels(aspect_ratio, image_size)
    return f"{width}x{height}"
