"""What the exports of several shop systems write alike into a cell: flags, and lists of category paths."""

from __future__ import annotations

import re
from collections.abc import Collection
from html import unescape

CELL_MAX = 16_000
"""Characters of a cell that is taken apart; far more than is kept of it."""
STEPS_MAX = 50

_ON = {"1", "y", "yes", "true", "on", "enabled", "visible", "publish", "published"}
_OFF = {"0", "2", "-1", "n", "no", "false", "off", "disabled", "hidden"}


def status_word(flag: str) -> str:
    """``active`` or ``draft`` for a flag that says whether a product is shown; other words stay what they are."""
    folded = flag.strip().casefold()
    return "active" if folded in _ON else "draft" if folded in _OFF else flag


def categories(cell: str, step: str, between: str = ",", roots: Collection[str] = ()) -> str:
    """A product's categories as ``Clothing > Shirts; Sale``, the longest path first, since it says most.

    ``step`` stands between the steps of a path in the cell, ``between`` between paths (unless a backslash is before
    it). ``roots``: names of the tree's root, which say nothing.
    """
    paths: dict[tuple[str, ...], None] = {}
    ancestors: set[tuple[str, ...]] = set()
    for written in re.split(rf"(?<!\\){re.escape(between)}", unescape(cell[:CELL_MAX])):
        text = written.replace(f"\\{between}", between)
        steps = [part.strip() for part in (text.split(step) if step else [text])]
        path = tuple(part for part in steps if part)[:STEPS_MAX]
        path = path[1:] if path and path[0] in roots else path
        if path:
            paths[path] = None
            ancestors.update(path[:end] for end in range(1, len(path)))
    # A shop that lists a category's ancestors beside it has named them already.
    kept = [path for path in paths if path not in ancestors]
    return "; ".join(" > ".join(path) for path in sorted(kept, key=len, reverse=True))
