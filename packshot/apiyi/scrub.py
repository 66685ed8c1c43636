"""Text of others made fit to store and show: without secrets, without control characters, not endless."""

from __future__ import annotations

import re
from urllib.parse import quote

EXCERPT_CHARS = 4000
_SAYS_CHARS = 500

_LOOKS_LIKE_A_KEY = re.compile(r"\bsk-[\w*.\-]{3,}|\b(Bearer|Basic)\s+[\w+/=.~\-]{6,}", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_HIDDEN = "[hidden]"


def scrub(text: str, key: str = "") -> str:
    """``text`` without ``key``, without anything that looks like a key, and without control characters.

    Scrub before cutting: half a key at the end of an excerpt is not found any more.
    """
    if key:
        for form in {key, quote(key, safe=""), key.replace("/", "\\/")}:
            text = text.replace(form, _HIDDEN)
    text = _PASSWORD_IN_URL.sub(_HIDDEN, _LOOKS_LIKE_A_KEY.sub(_HIDDEN, text))
    return _CONTROL.sub(" ", text)


def excerpt(text: str, key: str = "") -> str:
    """The beginning of a raw answer, scrubbed, to be stored with a failure."""
    return scrub(text, key)[:EXCERPT_CHARS]


def says(text: str, key: str = "") -> str:
    """What a provider says, as part of one sentence of ours: one line, a few hundred characters, scrubbed."""
    line = " ".join(scrub(text, key).split())
    return line if len(line) <= _SAYS_CHARS else line[:_SAYS_CHARS] + "..."
