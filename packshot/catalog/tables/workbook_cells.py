"""A workbook's cell as text: what a person sees in it, as far as it tells things apart.

Codes keep their zeros, numbers their digits; what only decorates (currency, per cent, thousands) is left out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal, InvalidOperation

ERROR = "e"

_PADDED = re.compile(r'(?:"[^"]*"|\\.|[-/ 0])*')
_LITERAL = re.compile(r'"([^"]*)"|\\(.)|(0)|([-/ ])')
_ESCAPED = re.compile("_x(00[01][0-9A-Fa-f]|005F)_")
_MIDNIGHT = re.compile(r"T00:00(:00(\.0+)?)?Z?$")
_DIGITS = 15
"""Significant digits of a number that Excel shows; it stores 17, and 19.9 stands in the file as 19.899999999999999."""


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """What a cell's style says about its number."""

    dates: bool = False
    durations: bool = False
    mask: str = ""
    """Text in which each ``\\x00`` stands for a digit, from the last one on; empty: the number as it is."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A cell as the sheet holds it: its type letter, its style's number, its value."""

    type: str
    style: int
    value: str
    formula: bool

    @property
    def uncached(self) -> bool:
        """A formula whose result was never stored; one whose result is an empty text says that it is text."""
        return self.formula and not self.value and self.type != "str"


def digit_mask(code: str) -> str:
    """The mask of a format that shows codes, such as ``000`` or ``"SKU-"0000``; empty for all others."""
    code = code.partition(";")[0]
    if code.count("0") < 2 or not _PADDED.fullmatch(code):
        return ""
    return "".join(m[1] or m[2] or ("\x00" if m[3] else m[4] or "") for m in _LITERAL.finditer(code))


def unescaped(text: str) -> str:
    """Control characters that a workbook writes as ``_x000D_`` and the like."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "_x00" in text else text


def number_text(value: str, style: NumberFormat, epoch: datetime) -> str:
    """A number, date or duration.

    Raises:
        ValueError: it is none.
    """
    if style.dates or style.durations:
        shown = _moment(float(value), style, epoch)
        if shown:
            return shown
    number = _plain(value)
    if style.mask and number.isdigit():
        return _masked(number, style.mask)
    return number


def iso_text(value: str) -> str:
    """A date that is stored as one: without a time where that is midnight."""
    return _MIDNIGHT.sub("", value)


def _plain(value: str) -> str:
    if re.fullmatch(r"-?\d+", value):
        return value
    try:
        exact = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value[:40]!r} is no number") from None
    if not exact.is_finite() or abs(exact.adjusted()) > 400:
        raise ValueError(f"{value[:40]!r} is no number")
    if exact == exact.to_integral_value():
        return format(exact.to_integral_value(), "f")
    text = format(Decimal(f"{float(exact):.{_DIGITS}g}"), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _masked(digits: str, mask: str) -> str:
    places = mask.count("\x00")
    digits = digits.zfill(places)
    more, rest = digits[: len(digits) - places], iter(digits[len(digits) - places :])
    shown = "".join(next(rest) if c == "\x00" else c for c in mask)
    first = mask.index("\x00")
    return shown[:first] + more + shown[first:]


def _moment(value: float, style: NumberFormat, epoch: datetime) -> str:
    """ISO 8601; empty when the number lies outside of any calendar: then it is a number with a wrong format."""
    if not math.isfinite(value) or value < 0:
        return ""
    if style.durations:
        minutes, seconds = divmod(round(value * 86_400), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    try:
        # The calendar of 1900 has a 29th of February that never was: numbers before it are one day off.
        early = value < 60 and epoch.year == 1899
        moment = epoch + timedelta(days=math.floor(value) + early, milliseconds=round(value % 1 * 86_400_000))
    except OverflowError:
        return ""
    precision = "milliseconds" if moment.microsecond else "seconds"
    if value < 1 and moment.date() <= epoch.date() + timedelta(days=early):
        return moment.time().isoformat(precision)
    return moment.date().isoformat() if moment.time() == time() else moment.isoformat(timespec=precision)
