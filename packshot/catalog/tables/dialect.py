"""Which character separates the cells."""

from __future__ import annotations

import csv
import re
from io import StringIO
from itertools import dropwhile, islice

from packshot.catalog.tables import TOP

CANDIDATES = ",;\t|"
_SEP_LINE = re.compile(r"sep=(.?)(?:[\r\n]|$)", re.IGNORECASE)
_RECORDS = 50


def is_separator_line(text: str) -> bool:
    """True for the ``sep=;`` line that Excel writes and reads above the header."""
    return _SEP_LINE.fullmatch(text) is not None


def find_delimiter(sample: str, whole: bool) -> str:
    """The candidate that splits the header and agrees best with the records below it.

    ``sample`` is the file's beginning; ``whole`` says that it is all of it. Counting in the header alone would fall
    for names like ``Images (x,y,z)`` in a file of semicolons, counting characters for commas in descriptions.
    """
    declared = _SEP_LINE.match(sample)
    if declared and declared[1] not in ("", " ", '"', "\r"):
        return declared[1]
    return max(CANDIDATES, key=lambda c: (*_agreement(sample, c, whole), -CANDIDATES.index(c)))


def _agreement(sample: str, delimiter: str, whole: bool) -> tuple[bool, int, float, int]:
    """(splits a header, minus the rows above it, share of records as wide as the header, the header's width).

    Titles and comments may stand above the header, but then no delimiter splits them, or they begin with ``#``.
    """
    lines = StringIO(sample, newline="")
    try:
        rows = [row for row in islice(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), _RECORDS) if row]
    except csv.Error:
        return (False, 0, 0.0, 0)
    rows = list(dropwhile(lambda row: row[0].startswith("#"), rows)) or rows
    if not rows:
        return (False, 0, 0.0, 0)
    above = next((place for place, row in enumerate(rows[:TOP]) if len(row) > 1), 0)
    width = len(rows[above])
    body = rows[above + 1 :] if whole or len(rows) == _RECORDS else rows[above + 1 : -1]  # the last one may be cut
    agreeing = sum(len(row) == width for row in body) / len(body) if body else 1.0
    return (width > 1, -above, agreeing, width)
