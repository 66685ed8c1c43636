"""Reading an answer of any size in little memory.

At 4K an answer is one JSON of 30 to 50 MB that is nearly all base64. ``json.loads`` would hold it several times over,
and with thirty calls in flight that kills a container. Here the long strings stay in the file: what is parsed is the
rest, in which a :class:`Blob` stands for each of them.
"""

from __future__ import annotations

import binascii
import json
import mmap
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOB_BYTES = 64 * 1024
_REST_BYTES = 4 * 1024 * 1024
_STEP = 1024 * 1024

# A string with its quotes, and the rest of one; group 1 is empty when the closing quote is not there, or not that near.
# Possessive: one pass, no backtracking.
_STRING = re.compile(rb'"[^"\\]{0,1000}+(?:\\.[^"\\]{0,1000}+)*+("?)', re.DOTALL)
_STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_JSON_BEGINS = re.compile(rb"(?:\xef\xbb\xbf)?\s*+[{\[]")
_IS_KEY = re.compile(rb"\s*+:")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|([^u]))", re.DOTALL)
_UNFINISHED_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*+(\\(?:u[0-9a-fA-F]{0,3})?)\Z")
_BLANK_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_DATA_PREFIX = re.compile(rb"\s*data:[^,]{0,200},", re.IGNORECASE)
_LONGEST_PREFIX = 256
_BLANKS = b" \t\r\n"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class NotJson(ValueError):
    """A body that is no JSON at all: an HTML page, plain text, nesting or length beyond any real answer."""


class CutJson(NotJson):
    """A body that begins like JSON and does not come to its end."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A long string that stayed in the file: the bytes ``start`` to ``end`` between its quotes, escapes and all."""

    path: Path
    start: int
    end: int

    def __str__(self) -> str:
        return f"<{self.end - self.start} bytes>"

    def steps(self, step: int) -> Iterator[bytes]:
        """The raw bytes in pieces of ``step``."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            left = self.end - self.start
            while left and (piece := file.read(min(step, left))):
                left -= len(piece)
                yield piece


def read_body(path: Path, blob_bytes: int = BLOB_BYTES) -> Any:
    """The JSON in ``path``, with a :class:`Blob` for each string value of ``blob_bytes`` or more.

    None for a file that holds nothing but blanks. Lenient where leniency saves a paid image: bytes that are no UTF-8
    are replaced, raw control characters in strings are accepted.

    Raises:
        CutJson: it begins like JSON and does not end.
        NotJson: it is something else.
    """
    marker = secrets.token_hex(8)
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            looks_like_json = bool(_JSON_BEGINS.match(whole))
            rest, blobs = _take_out(whole, path, blob_bytes, marker)
    text = rest.decode("utf-8-sig", "replace")
    if not text.strip():
        return None

    def put_back(found: dict[str, Any]) -> Any:
        return blobs[found[marker]] if marker in found else found

    try:
        return json.loads(text, object_hook=put_back, strict=False)
    except RecursionError:
        raise NotJson("nested deeper than any real answer") from None
    except ValueError as error:
        raise (CutJson if looks_like_json else NotJson)(str(error)) from None


def _take_out(whole: mmap.mmap, path: Path, blob_bytes: int, marker: str) -> tuple[bytearray, list[Blob]]:
    """The body with an object ``{marker: n}`` in the place of blob ``n``; an unfinished string is left as it is."""
    rest = bytearray()
    blobs: list[Blob] = []
    done = 0
    for start, end in _strings(whole):
        if end - start - 2 < blob_bytes or _IS_KEY.match(whole, end):
            continue
        if len(rest) + start - done > _REST_BYTES:
            break
        rest += whole[done:start]
        rest += b'{"%s":%d}' % (marker.encode(), len(blobs))
        blobs.append(Blob(path, start + 1, end - 1))
        done = end
    # The beginning is enough to see that an endless text, or a string that was cut off, does not parse.
    rest += whole[done : done + _REST_BYTES]
    return rest, blobs


def _strings(whole: mmap.mmap) -> Iterator[tuple[int, int]]:
    """(start, end) of each string, its quotes included; one that is cut off is left out."""
    end = 0
    while string := _STRING.search(whole, end):
        end = string.end() if string[1] else _end_of_string(whole, string.end())
        if not end:
            return
        yield string.start(), end


def _end_of_string(whole: mmap.mmap, at: int) -> int:
    """Where the string ends that goes on at ``at``; 0 when it is cut off."""
    # Base64 has neither quotes nor escapes, and seeing that a piece has none is far quicker than matching it.
    step = 4096  # growing, because there may be many strings that end soon
    while (piece := whole[at : at + step]) and b'"' not in piece and b"\\" not in piece:
        at += len(piece)
        step = min(2 * step, _STEP)
    end = _STRING_END.match(whole, at)
    return end.end() if end and end[1] else 0


def write_decoded(value: Blob | str, to: Path, step: int = _STEP) -> bytes:
    """Decode base64 from an answer into the file ``to``, fsynced; returns its first bytes, to tell its type by.

    Takes a string as it stands in the JSON: escaped (``\\/``, ``\\u003d``), with a ``data:...;base64,`` prefix,
    broken into lines, in the URL-safe alphabet, without padding.

    Raises:
        ValueError: it is not base64.
    """
    raw = value.steps(step) if isinstance(value, Blob) else iter([json.dumps(value)[1:-1].encode("ascii")])
    head = b""
    with to.open("wb") as out:
        for piece in _decoded(_without_prefix(_unescaped(raw))):
            head = head or piece[:64]
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return head


def _unescaped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """JSON escapes resolved, also those that lie across two pieces."""
    carry = b""
    for piece in pieces:
        piece = carry + piece
        carry = b""
        if b"\\" in piece:
            if unfinished := _UNFINISHED_ESCAPE.search(piece):
                carry, piece = unfinished[1], piece[: unfinished.start(1)]
            piece = _ESCAPE.sub(_resolve, piece)
        yield piece
    if carry:
        raise ValueError("the text ends inside an escape")


def _resolve(escape: re.Match[bytes]) -> bytes:
    if escape[1] is not None:
        return chr(int(escape[1], 16)).encode("utf-8", "replace")
    return _BLANK_ESCAPES.get(escape[2], escape[2])


def _without_prefix(pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = b""
    for piece in pieces:
        first += piece
        if len(first) >= _LONGEST_PREFIX:
            break
    yield _DATA_PREFIX.sub(b"", first, count=1) if _DATA_PREFIX.match(first) else first
    yield from pieces


def _decoded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    carry = b""
    for piece in pieces:
        text = carry + piece
        try:
            decoded, carry = _whole_groups(text)
        except ValueError:  # nearly every answer is plain base64, and making it plain takes half as long as decoding it
            decoded, carry = _whole_groups(_plain(text))
        yield decoded
    if carry := _plain(carry).rstrip(b"="):
        yield binascii.a2b_base64(carry + b"=" * (-len(carry) % 4), strict_mode=True)


def _plain(text: bytes) -> bytes:
    return text.translate(_URL_SAFE, _BLANKS)


def _whole_groups(text: bytes) -> tuple[bytes, bytes]:
    """(decoded, rest). The last group waits: whether its padding is missing or misplaced is known only at the end."""
    whole = max(0, (len(text) - 1) // 4 * 4)
    groups = text[:whole]
    if groups.endswith(b"="):
        raise ValueError("padding in the middle")
    return binascii.a2b_base64(groups, strict_mode=True), text[whole:]
