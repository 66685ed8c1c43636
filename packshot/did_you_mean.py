"""Guess what a person meant to type."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(typed: str, allowed: Iterable[str]) -> str:
    """``" - did you mean 'prompt'?"``, or nothing when no allowed word is close."""
    by_lower = {word.lower(): word for word in allowed}
    close = get_close_matches(typed.lower(), by_lower, n=1, cutoff=0.55)
    return f" - did you mean {by_lower[close[0]]!r}?" if close else ""
