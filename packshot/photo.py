"""A product's photo as the image API takes it: an upright JPEG in sRGB, without transparency and not too large.

APIYI takes 7 MB at most and advises to stay below 5 MB (docs.apiyi.com).
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageCms, ImageOps

from packshot.image_check import open_image

LONG_EDGE = 2048
QUALITY = 90
"""A 2048 x 2048 photo of pure noise, the worst there is, stays below 4 MB at this quality."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")

_SRGB = ImageCms.createProfile("sRGB")


def prepared_photo(path: Path, max_pixels: int) -> bytes:
    """The JPEG to send for the photo in this file, of whatever name; of an animation, its first picture.

    Raises:
        ArchiveError: NOT_AN_IMAGE, IMAGE_TRUNCATED, TOO_LARGE (more than ``max_pixels``).
    """
    with open_image(path, max_pixels, FORMATS) as image:
        photo = _flat(ImageOps.exif_transpose(image))
        photo.thumbnail((LONG_EDGE, LONG_EDGE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=QUALITY)  # without what it carried: place, camera, thumbnail
    return buffer.getvalue()


def _flat(image: Image.Image) -> Image.Image:
    """RGB as sRGB means it; what was transparent is white."""
    profile = image.info.get("icc_profile", b"")
    if image.mode == "CMYK":
        return _to_srgb(image, profile) or image.convert("RGB")
    if image.mode.startswith("I"):  # 16 bits of grey: a plain conversion would clip it to white
        image = image.convert("I").point([value >> 8 for value in range(65536)], "L")
    coloured = image.mode in ("RGB", "RGBA", "P")  # a profile of grey values says nothing about colours
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(layer, mask=layer.getchannel("A"))
    else:
        flat = image.convert("RGB")
    return (_to_srgb(flat, profile) if coloured else None) or flat


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The colours that the embedded profile describes; None where it is missing, damaged, or of other colours."""
    if not profile:
        return None
    try:
        return ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
