"""Ordered pixels: what the models return for an aspect ratio and an image size (docs.apiyi.com, image overviews).

The emulator keeps its own table: one shared with the client would hide the client's mistakes.
"""

from __future__ import annotations

PIXELS_1K = {
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
    "1:4": (512, 2048),
    "4:1": (2048, 512),
    "1:8": (384, 3072),
    "8:1": (3072, 384),
}
FLASH_ONLY_RATIOS = frozenset({"1:4", "4:1", "1:8", "8:1"})
SCALE = {"1K": 1, "2K": 2, "4K": 4}


def pixels(aspect_ratio: str, image_size: str) -> tuple[int, int]:
    """(width, height) in pixels.

    Raises:
        KeyError: no such ratio or size.
    """
    width, height = PIXELS_1K[aspect_ratio]
    if image_size == "512":
        # Documented like this, although half of 1K would be 792 x 336.
        return (792, 168) if aspect_ratio == "21:9" else (width // 2, height // 2)
    return width * SCALE[image_size], height * SCALE[image_size]


BY_PIXELS = {
    f"{width}x{height}": (ratio, size)
    for size in SCALE
    for ratio in PIXELS_1K
    if ratio not in FLASH_ONLY_RATIOS
    for width, height in [pixels(ratio, size)]
}
"""``2048x2048`` -> (aspect ratio, image size): the ``size`` values of the images format."""


def nearest_ratio(width: int, height: int) -> str:
    """The common ratio closest to a picture's own: what an edit without aspectRatio follows."""
    common = [ratio for ratio in PIXELS_1K if ratio not in FLASH_ONLY_RATIOS]
    return min(common, key=lambda r: abs(PIXELS_1K[r][0] / PIXELS_1K[r][1] - width / height))
