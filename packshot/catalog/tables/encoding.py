"""Which characters the bytes are. Damaged bytes are marked, never replaced in silence."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from packshot.catalog.source import Source
from packshot.errors import Code, ConfigError

DAMAGED = "\udcff"
"""Stands for bytes that are not text in the file's encoding; no valid text holds it."""

MARK_DAMAGED = "packshot-mark-damaged"
_BLOCK = 1 << 20

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec's name and, when something had to be guessed or is damaged, a sentence that says so."""

    name: str
    note: str = ""


def _mark(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return DAMAGED, error.end
    raise error


codecs.register_error(MARK_DAMAGED, _mark)


def find_encoding(source: Source, head: bytes, declared: str, fallback: str) -> Encoding:
    """The declared encoding, else what mark, NULs and a pass over the whole file say (a 50 MB file: about 0.1 s)."""
    for name in filter(None, (declared, fallback)):
        try:
            "".encode(name)
        except (LookupError, ValueError):
            raise ConfigError(
                Code.CATALOG_INVALID, f"{name!r} is not an encoding (allowed: Python codec names, such as cp1252)"
            ) from None
    if declared:
        return Encoding(declared)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name)
    wide = _wide_by_nuls(head)
    if wide:
        return Encoding(wide, f"no byte order mark, but every second byte is NUL: read as {wide}")
    return _utf8_or(fallback, source)


def _wide_by_nuls(head: bytes) -> str:
    pairs = len(head) // 2
    even, odd = head[: pairs * 2 : 2].count(0), head[1 : pairs * 2 : 2].count(0)
    if odd * 2 > pairs and even * 20 < pairs:
        return "utf-16-le"
    if even * 2 > pairs and odd * 20 < pairs:
        return "utf-16-be"
    return ""


def _utf8_or(fallback: str, source: Source) -> Encoding:
    wide, damaged = _utf8_places(source)
    if not damaged:
        return Encoding("utf-8")
    # Text in a one-byte code page hardly ever forms valid UTF-8 sequences; real UTF-8 with a few broken bytes is full
    # of them. Reading the latter as cp1252 would garble every accent of the file to save one record.
    if wide > damaged:
        return Encoding("utf-8", f"UTF-8 with {damaged} damaged places: the records that hold them are rejected")
    return Encoding(
        fallback, f"not UTF-8: read as {fallback}, which is a guess; name the encoding if letters look wrong"
    )


def _utf8_places(source: Source) -> tuple[int, int]:
    """(characters beyond ASCII, damaged places) of a file read as UTF-8; the former only count where there are both."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors=MARK_DAMAGED)
    for counting in (False, True):
        wide = damaged = 0
        decoder.reset()
        with source.open() as file:
            while block := file.read(_BLOCK):
                text = decoder.decode(block)
                if not text.isascii():
                    damaged += text.count(DAMAGED)
                    wide += len(text) - len(text.encode("ascii", "ignore")) if counting else 0
            damaged += decoder.decode(b"", final=True).count(DAMAGED)
        if not damaged:
            break
    return wide - damaged, damaged
