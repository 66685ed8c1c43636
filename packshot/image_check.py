"""Is this file a whole image? Decided by decoding it, never by its name or by what a server called it."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from packshot.errors import ArchiveError, Code

MIME_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
"""Pillow's format names to MIME types. MPO: what it calls a JPEG that carries more pictures behind the first."""

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}

RESULT_FORMATS = ("PNG", "JPEG", "WEBP")
"""What the image API may send."""

# A decoded 4K picture takes 67 MB. More decoders than processors would take more memory and no less time.
_decoders = threading.BoundedSemaphore(os.cpu_count() or 1)

# Pillow would take that memory in blocks of 16 MB, which the C library keeps for each thread when they are free again.
# A block above 32 MB goes back to the system at once. Smaller pictures take what they need, as ever.
Image.core.set_block_size(128 * 1024 * 1024)  # type: ignore[attr-defined]

# What Pillow raises on damaged data, depending on the format and the place of the damage.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image really is. ``extension`` comes without a dot."""

    mime: str
    width: int
    height: int
    extension: str


def check_image(path: Path, max_pixels: int) -> ImageFacts:
    """Decode the image completely and say what it is.

    A flipped byte inside a JPEG or WebP may decode without complaint: compare lengths and hashes as well.

    Raises:
        ArchiveError: NOT_AN_IMAGE (not PNG, JPEG or WebP), IMAGE_TRUNCATED (begins as one, but is cut or damaged),
            TOO_LARGE (more than ``max_pixels``; found before any pixel is decoded).
    """
    with _decoders, open_image(path, max_pixels) as image:
        mime = MIME_TYPES[image.format or ""]
        return ImageFacts(mime, image.width, image.height, EXTENSIONS[mime])


@contextmanager
def open_image(path: Path, max_pixels: int, formats: tuple[str, ...] = RESULT_FORMATS) -> Iterator[Image.Image]:
    """The decoded image; ``formats`` are Pillow's names. Raises as :func:`check_image` does."""
    try:
        image = Image.open(path, formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ArchiveError(
            Code.TOO_LARGE, f"{path.name} would decode to more pixels than Pillow ever accepts"
        ) from None
    except FileNotFoundError:
        raise
    except UnidentifiedImageError:
        raise _unreadable(path, formats) from None
    except _DAMAGE as error:
        raise ArchiveError(Code.IMAGE_TRUNCATED, f"{path.name} is cut or damaged ({type(error).__name__})") from None
    with image:
        if image.width * image.height > max_pixels:
            raise ArchiveError(
                Code.TOO_LARGE,
                f"{path.name} is {image.width}x{image.height} = {image.width * image.height} pixels; "
                f"at most {max_pixels} are allowed",
            )
        try:
            image.load()
        except _DAMAGE as error:
            raise ArchiveError(
                Code.IMAGE_TRUNCATED,
                f"{path.name} begins as a {image.width}x{image.height} {image.format} but is cut or damaged "
                f"({type(error).__name__})",
            ) from None
        yield image


def _unreadable(path: Path, formats: tuple[str, ...]) -> ArchiveError:
    """Tell a broken image from something else by the first bytes."""
    with path.open("rb") as file:
        head = file.read(16)
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    if webp or head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return ArchiveError(Code.IMAGE_TRUNCATED, f"{path.name} begins as an image but is cut or damaged")
    found = "is empty" if not head else f"begins with {head[:8]!r}"
    return ArchiveError(Code.NOT_AN_IMAGE, f"{path.name} {found}; allowed: {', '.join(formats)}")
