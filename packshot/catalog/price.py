"""Prices as catalogs write them."""

from __future__ import annotations

import re
from decimal import Decimal

_AMOUNT = re.compile(r"\d[\d.,' \u00a0\u202f]*")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}")  # by two in India: 1,23,456
_USUAL = re.compile(r"\d{1,12}(?:\.\d{1,2})?")
_SEPARATORS = set(".,' \u00a0\u202f")
_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₫": "VND", "₹": "INR", "₦": "NGN"}
_CODE = re.compile(r"(?<![A-Za-z])([A-Z]{3})(?![A-Za-z])")


def read_price(text: str, currency: str) -> tuple[Decimal, str] | None:
    """Amount and ISO 4217 currency (``currency`` where the text names none); None for what is no single amount.

    ``1.234,50`` and ``1,234.50`` both are 1234.50; one separator between one to three digits and exactly three groups
    thousands, unless the number begins with a zero.
    """
    if _USUAL.fullmatch(text):
        return Decimal(text), currency.upper()
    found = _AMOUNT.findall(text)
    if len(found) != 1 or len(text) > 40 or "-" in text.strip().removesuffix("-"):
        return None
    number = _number(found[0].rstrip(".,' \u00a0\u202f"))
    if number is None:
        return None
    code = _CODE.search(text)
    symbol = next((name for sign, name in _SYMBOLS.items() if sign in text), "")
    return Decimal(number), (code[1] if code else symbol or currency.upper())


def _number(text: str) -> str | None:
    """Digits with a point before the decimals; None where the separators make no sense, as in ``1.2.3`` or ``5 6``."""
    whole, point, decimals = text, "", ""
    marks = [sign for sign in text if sign in ".,"]
    if len(set(marks)) == 2 or (len(marks) == 1 and not _ends_in_a_group(text, marks[0])):
        whole, point, decimals = text.rpartition(marks[-1])
    if not point or decimals.isdecimal():
        whole = re.sub("[.' \u00a0\u202f]", ",", whole) if len(_SEPARATORS & set(whole)) == 1 else whole
        if whole.isdecimal() or _GROUPED.fullmatch(whole):
            return f"{whole.replace(',', '')}{point and '.'}{decimals}"
    return None


def _ends_in_a_group(text: str, mark: str) -> bool:
    before, _, after = text.partition(mark)
    return len(after) == 3 and len(before) <= 3 and not before.startswith("0")
