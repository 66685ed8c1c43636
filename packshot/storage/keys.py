"""Object keys: readable, ASCII, immutable."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from packshot.errors import Code, ConfigError
from packshot.image_check import EXTENSIONS

_LONGEST_SEGMENT = 120
_HASH = 10
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LOOKS_HASHED = re.compile(rf"-[0-9a-f]{{{_HASH}}}\Z")
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


def object_key(prefix: str, catalog: str, product_name: str, shot: str, sha256: str, mime: str) -> str:
    """``{prefix}/{catalog}/{product}/{shot}/{sha256[:16]}.png``, with each name made safe by :func:`slug`.

    ``sha256`` is the hex digest of the image, ``mime`` one of image/png, image/jpeg, image/webp.

    Raises:
        ConfigError: the prefix holds more than letters, digits, dots, dashes, underscores and single slashes.
    """
    if prefix and not _PREFIX.fullmatch(prefix):
        raise ConfigError(
            Code.SETTINGS_INVALID,
            f"PACKSHOT_S3_PREFIX: {prefix!r} may hold letters, digits, '.', '-', '_' and single '/' only",
        )
    segments = [slug(catalog), slug(product_name), slug(shot), f"{sha256[:16]}.{EXTENSIONS[mime]}"]
    return "/".join([prefix, *segments] if prefix else segments)


def slug(text: str) -> str:
    """ASCII name of at most 120 bytes for one segment of a key; different texts give different names.

    A text that is safe stays as it is. Any other loses something on the way (accents, spaces, length), so a short
    hash of the original is appended: ``Größe M`` becomes ``Grosse-M-`` and ten hex digits.
    """
    folded = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    name = _UNSAFE.sub("-", folded).strip("-._")
    if name and name == text and len(name) <= _LONGEST_SEGMENT and not _LOOKS_HASHED.search(name):
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    return f"{name[: _LONGEST_SEGMENT - _HASH - 1] or 'item'}-{digest}"
