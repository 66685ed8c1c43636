"""Prices as catalogs write them."""

from __future__ import annotations

import re
from decimal import Decimal

_AMOUNT = re.compile(r"\d[\d.,' \u00a0\u202f]*")
_USUAL = re.compile(r"\d{1,12}(?:\.\d{1,2})?")
_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₫": "VND", "₹": "INR", "₦": "NGN"}
_CODE = re.compile(r"(?<![A-Za-z])([A-Z]{3})(?![A-Za-z])")


def read_price(text: str, currency: str) -> tuple[Decimal, str] | None:
    """Amount and ISO 4217 currency (``currency`` where the text names none); None for what is no single amount.

    ``1.234,50`` and ``1,234.50`` both are 1234.50; one separator before exactly three digits groups thousands, unless
    the number begins with a zero.
    """
    if _USUAL.fullmatch(text):
        return Decimal(text), currency.upper()
    found = _AMOUNT.findall(text)
    if len(found) != 1 or len(text) > 40 or "-" in text.strip().removesuffix("-"):
        return None
    number = re.sub(r"[' \u00a0\u202f]", "", found[0]).rstrip(".,")
    last = max(number.rfind("."), number.rfind(","))
    if last >= 0:
        mark, other = number[last], "," if number[last] == "." else "."
        whole, cents = number[:last].replace(other, ""), number[last + 1 :]
        grouped = mark in whole or (other not in number and len(cents) == 3 and not whole.startswith("0"))
        number = (whole + cents).replace(mark, "") if grouped else f"{whole}.{cents}"
    code = _CODE.search(text)
    symbol = next((name for sign, name in _SYMBOLS.items() if sign in text), "")
    return Decimal(number), (code[1] if code else symbol or currency.upper())
