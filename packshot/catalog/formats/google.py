"""Google Merchant Center's feeds, as tab-separated text or XML; Pinterest's, which use the same attributes, too."""

from __future__ import annotations

from packshot.catalog.formats import meta
from packshot.catalog.formats.merchant_feed import attribute, items, resolve

__all__ = ["NAME", "detect", "items", "product_begins", "resolve"]

NAME = "google"
product_begins = None  # each record says itself what it is

_MARKS = {
    "link", "price", "availability", "condition", "gtin", "google_product_category", "item_group_id",
    "additional_image_link",
}  # fmt: skip


def detect(header: list[str]) -> bool:
    """Id, title and image_link, one more attribute of Google's, and none that only Meta has."""
    names = {attribute(column) for column in header}
    return {"id", "title", "image_link"} <= names and bool(names & _MARKS) and not meta.detect(header)
