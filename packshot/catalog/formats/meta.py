"""Meta's (Facebook's and Instagram's) catalog feeds, and OpenAI's commerce feed; CSV or tab-separated text.

Most columns are Google's: a file that uses nothing of Meta's own is called ``google``, and read in the same way.
"""

from __future__ import annotations

from packshot.catalog.formats.merchant_feed import attribute, items, resolve

__all__ = ["NAME", "detect", "items", "product_begins", "resolve"]

NAME = "meta"
product_begins = None  # each record says itself what it is

_ONLY_META = {
    "fb_product_category", "quantity_to_sell_on_facebook", "product_tags", "style", "image.url", "video.url",
    "rich_text_description", "commerce_tax_category", "internal_label",
}  # fmt: skip


def detect(header: list[str]) -> bool:
    """Id, title and a photo beside a column of Meta's own; or OpenAI's item_id, title and image_url."""
    names = {attribute(column) for column in header}
    if {"item_id", "title", "image_url"} <= names:
        return True
    return {"id", "title"} <= names and bool(names & {"image_link", "image.url"}) and bool(names & _ONLY_META)
