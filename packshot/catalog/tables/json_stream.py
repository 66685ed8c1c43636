"""Cuts the elements out of a JSON list one by one, so that no list is too long for the memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn, TextIO

ELEMENT_MAX = 8 << 20
"""Characters in one element of a list."""

_BLOCK = 1 << 18
_NEAR = 32
"""An error this close to the end of what was read may come from reading on (a cut ``\\ud83d\\ude00`` has 12)."""

_BLANKS = re.compile(r"[ \t\r\n\ufeff]*")
_TOKEN = re.compile(r'\s+|"(?:[^"\\]|\\.)*"|[][{},:]|[\w.+-]+', re.DOTALL)
_CLOSES = {"}": "{", "]": "["}
_REST = "the rest of the file was not read"


class Element(NamedTuple):
    """One element: the physical line it begins on, its text, and what is wrong with it (empty: nothing)."""

    line: int
    text: str
    fault: str = ""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=str, parse_int=str)


class JsonText:
    """Text that is read as far as it is needed, and a place in it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._at = 0
        self._after_cr = False
        self.line = 1
        self.lost = False
        """The place cannot be followed any further: what stands behind it is unknown."""

    def _more(self) -> bool:
        """Read on, at least as much as is held already, so that a long element costs no more than its length."""
        self._text = self._text[self._at :]
        self._at = 0
        block = self._stream.read(max(_BLOCK, len(self._text)))
        self._text += block
        return bool(block)

    def _take(self, end: int) -> str:
        taken = self._text[self._at : end]
        breaks = taken.count("\n") + taken.count("\r") - taken.count("\r\n")
        self.line += breaks - (self._after_cr and taken.startswith("\n"))
        self._after_cr = taken.endswith("\r")
        self._at = end
        return taken

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            match = _BLANKS.match(self._text, self._at)
            if match and match.end() > self._at:
                self._take(match.end())
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self) -> None:
        """Go behind the character that ``peek`` showed."""
        self._take(self._at + 1)

    def value(self) -> Element:
        """The value that begins here, and go behind it; nothing is taken when there is a fault."""
        while True:
            try:
                _, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._text) - _NEAR or error.msg.startswith("Unterminated string")
                held = len(self._text) - self._at
                if cut and held < ELEMENT_MAX and self._more():
                    continue
                if held >= ELEMENT_MAX and cut:
                    return self._too_long()
                ended = "; it may be cut off" if cut else ""
                return Element(self.line, "", f"the record is not JSON: {error.msg.removesuffix(' at')}{ended}")
            except ValueError as error:
                return Element(self.line, "", f"the record is not JSON: {error}")
            except RecursionError:
                return Element(self.line, "", "the record nests lists or objects too deeply")
            length = end - self._at
            if length > ELEMENT_MAX:
                return self._too_long()
            # A number that ends where the text does may go on.
            if end < len(self._text) or self._text[end - 1] in '}]"' or not self._more():
                line = self.line
                return Element(line, self._take(self._at + length))

    def _too_long(self) -> Element:
        return Element(self.line, "", f"the record is longer than {ELEMENT_MAX:,} characters")

    def broken_value(self) -> str:
        """A value that was refused but whose end is plain, and go behind it; empty when its end is not plain."""
        while True:
            end = _plain_end(self._text, self._at)
            if end is None and len(self._text) - self._at < ELEMENT_MAX and self._more():
                continue
            return self._take(end) if end else ""


def _plain_end(text: str, start: int) -> int | None:
    """Where a broken value ends that begins at ``start``: 0 when nobody can tell, None when more text is needed.

    Brackets must match, and each string must stand where strings may stand: an unescaped quote turns the rest of a
    file inside out, and whole records would go down as part of a broken one.
    """
    open_brackets: list[str] = []
    last, place = "", start
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            return None if text[place] == '"' else 0
        token, place = match[0], match.end()
        if token.isspace():
            continue
        if token[0] == '"' and last and last not in "{[,:":
            return 0
        if last.startswith('"') and token not in (",", ":", "]", "}"):
            return 0
        if token in ("{", "["):
            open_brackets.append(token)
        elif token in _CLOSES and (not open_brackets or open_brackets.pop() != _CLOSES[token]):
            return 0
        if not open_brackets:
            return place if place < len(text) or token in _CLOSES else None
        last = token
    return None


def elements(text: JsonText) -> Iterator[Element]:
    """The elements of the list that begins here. A broken one comes with its fault.

    When the list cannot be followed to its end, a last element says so and ``text.lost`` is set.
    """
    text.peek()
    text.skip()
    while (following := text.peek()) not in ("]", ""):
        element = text.value()
        if element.fault:
            broken = text.broken_value()
            if not broken:
                text.lost = True
                yield element._replace(fault=f"{element.fault}; {_REST}")
                return
            element = element._replace(text=broken)
        yield element
        following = text.peek()
        if following == ",":
            text.skip()
        elif following not in ("]", "{", ""):
            break
    if following == "]":
        text.skip()
        return
    text.lost = True
    if following:
        yield Element(text.line, "", f"{following!r} stands between two records; {_REST}")
    else:
        yield Element(text.line, "", "the list never ends: the file may be cut off")


def lists(text: JsonText) -> Iterator[str]:
    """The keys of the object that begins here whose values are lists, each with ``text`` at the list's beginning.

    Whoever iterates must go through the list's ``elements``. Ends early when the object cannot be followed.
    """
    text.peek()
    text.skip()
    while text.peek() == '"':
        name = text.value()
        if name.fault or text.peek() != ":":
            return
        text.skip()
        if text.peek() == "[":
            yield json.loads(name.text)
        elif text.value().fault:
            return
        if text.lost or text.peek() != ",":
            return
        text.skip()
