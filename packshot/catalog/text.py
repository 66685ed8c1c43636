"""Catalog text is written by strangers for web pages: make it plain, short and safe to put in a prompt or a log."""

from __future__ import annotations

import re
import unicodedata
from html import unescape
from html.parser import HTMLParser

TITLE_MAX = 300
DESCRIPTION_MAX = 4000
ATTRIBUTE_MAX = 300
KEY_MAX = 255
NAME_MAX = 100

# Markup is looked at this far: many times the longest text kept, and short enough for the parser's worst cases.
_MARKUP_MAX = 32_000

_SILENT = frozenset(("script", "style", "template", "noscript"))
_INLINE = frozenset(
    (
        "a",
        "abbr",
        "b",
        "big",
        "cite",
        "code",
        "em",
        "font",
        "i",
        "mark",
        "s",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "u",
    )
)

# Invisible: soft hyphen, zero-width space, byte order mark, direction overrides, lone surrogates, noncharacters.
_INVISIBLE = re.compile("[\u00ad\u200b\ufeff\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TAG = re.compile(r"<[^<>]*>")
_NO_TAG = re.compile(r"<(?![a-zA-Z/!?][^<>]*>)")


# What nearly all descriptions are made of, and what a parser takes ten times as long for: text between well-formed tags
# of blocks. They leave a blank, so that no two pieces of text can grow together to a tag or an entity.
_BLOCK = (
    r"""</?(?:p|br|ul|ol|li|div|h[1-6]|hr|table|tbody|thead|tr|td|th)"""
    r"""(?:>|(?:\s+[a-zA-Z-]+(?:="[^"<>&]*"|='[^'<>&]*')?)*+\s*/?>)"""
)
_BLOCKS = re.compile(f"{_BLOCK}(?:{_BLOCK})*+", re.IGNORECASE)


class _TextOnly(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag not in _INLINE:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag not in _INLINE:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def html_to_text(text: str) -> str:
    """Markup removed, entities decoded once; block elements leave a blank where they stood."""
    if "<" not in text:
        return unescape(text) if "&" in text else text
    if len(text) <= _MARKUP_MAX:
        rest = _BLOCKS.sub(" ", text)
        if "<" not in rest:
            return unescape(rest) if "&" in rest else rest
    # html.parser takes quadratic time over tags that never close; what is no whole tag is text here.
    markup = _NO_TAG.sub("&lt;", _without_comments(text[:_MARKUP_MAX]))
    parser = _TextOnly()
    try:
        parser.feed(markup)
        parser.close()
    except AssertionError:  # html.parser's answer to declarations it does not know, such as "<![x]>"
        return unescape(_TAG.sub(" ", markup))
    return "".join(parser.parts)


def _without_comments(text: str) -> str:
    parts = []
    start = 0
    while (begin := text.find("<!--", start)) >= 0:
        parts.append(text[start:begin])
        end = text.find("-->", begin + 4)
        start = end + 3 if end >= 0 else len(text)
    return "".join(parts) + text[start:]


def one_line(text: str) -> str:
    """Control and invisible characters out, runs of blanks to one, composed characters (NFC)."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    text = text.strip()
    if text.isprintable():  # of all blanks only the plain one is
        while "  " in text:
            text = text.replace("  ", " ")
        return text
    text = " ".join(text.split())
    return text if text.isprintable() else " ".join(_CONTROL.sub(" ", text).split())


def plain_text(text: str) -> str:
    """One line of plain text out of any cell."""
    return one_line(html_to_text(text) if "<" in text or "&" in text else text)


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit].rstrip()


def attribute_name(text: str) -> str:
    """The name an option or column gets as an attribute: ``Age Group`` -> ``age_group``."""
    return shorten(one_line(text).casefold().replace(" ", "_"), NAME_MAX)


def slug(text: str) -> str:
    """ASCII letters, digits and hyphens."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", folded).strip("-")
