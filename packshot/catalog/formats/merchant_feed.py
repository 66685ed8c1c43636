"""Product feeds of Google Merchant Center, Meta, Pinterest and OpenAI: one record is one item, a group joins variants.

All of them use Google's attribute names or a few of their own for the same things, so all are read by the one table of
names below; which of the two formats a file is said to be (``google`` or ``meta``) changes nothing of what is read.
Sources: support.google.com/merchants, answers 7052112 and 160567; Meta's "Data feed fields"; developers.openai.com,
"commerce", the specification of product files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping

from packshot.catalog.columns import named_columns
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.flat import settle_rows
from packshot.catalog.formats.generic import draft_reader
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import TEXT_TARGETS, CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name, one_line, plain_text

TITLE_USUAL = 150
"""Characters of a title that Google shows at most; longer ones often are lists of search words."""

# Target -> attribute names, the better first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_key": ("item_group_id", "group_id", "id", "item_id"),
    "sku": ("id", "item_id"),
    "title": ("title",),
    "description": ("description", "rich_text_description"),
    "category": ("google_product_category", "fb_product_category", "product_category", "product_type"),
    "brand": ("brand",),
    "status": ("status",),
    "price": ("price",),
    "link": ("link", "url"),
    "image_refs": (
        "image_link", "image_url", "image.url", "additional_image_link", "additional_image_urls",
        "lifestyle_image_link",
    ),
    **{f"attributes.{name}": (name,) for name in ("color", "size", "material", "pattern", "gender", "age_group")},
    "highlights": ("product_highlight",),
    "details": ("product_detail", "variant_dict"),
}  # fmt: skip

_BRACKETED = re.compile(r".*\[([a-z][a-z_ ]*)(?:\(.*\))?\]")
_NEXT_DETAIL = re.compile(r",(?=[^,:]*:[^,:]+:)")
_BY_ID = re.compile(r"(\d+)\s*(?:-\s*)?")


def attribute(column: str) -> str:
    """The attribute's name in a header cell: ``g:id``, ``Image link [image_link]``, ``shipping(country:price)``."""
    # Meta numbers what may come several times: image[0].url.
    name = re.sub(r"\[\d+\]|\s*\([^\]]*\)$", "", column.strip().casefold())
    bracketed = _BRACKETED.fullmatch(name)
    return (bracketed[1] if bracketed else name).strip().removeprefix("g:").replace(" ", "_")


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns; the mapping may replace the columns of a target, or add attributes.

    Raises:
        ConfigError: a mapped column is missing, or no column holds the key or the title.
    """
    return named_columns(table, options, _NAMES, attribute)


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    # Every item of a feed says all of itself: what one leaves out, the item above does not lend it.
    return settle_rows(table, builder, _reader(table.header, mapping, builder), has_variants=True, lends=False)


def _reader(header: list[str], mapping: Mapping[str, list[str]], builder: Builder) -> Callable[[Record], Draft]:
    own = ("category", "highlights", "details")
    read_cells = draft_reader(
        header, {target: names for target, names in mapping.items() if target not in own}, builder.options
    )
    places = {target: [header.index(name) for name in mapping.get(target, [])] for target in own}

    def read(record: Record) -> Draft:
        cells = record.cells
        draft = read_cells(record)
        for target in TEXT_TARGETS:
            if getattr(draft, target).startswith("["):
                setattr(draft, target, next(iter(_values(getattr(draft, target))), ""))
        for name, value in draft.attributes.items():
            if value.startswith("["):
                draft.attributes[name] = ", ".join(_values(value))
        draft.category = next(filter(None, (_category(cells[place]) for place in places["category"])), "")
        highlights = "; ".join(text for place in places["highlights"] for text in _values(cells[place]))
        draft.description = f"{draft.description} {highlights}" if highlights else draft.description
        for place in places["details"]:
            if cells[place]:
                for name, value in _details(cells[place]):
                    if not draft.attributes.get(name):
                        draft.attributes[name] = value
        if len(draft.title) > TITLE_USUAL and len(plain_text(draft.title)) > TITLE_USUAL:
            builder.tally.remark(f"title longer than {TITLE_USUAL} characters, product", one_line(draft.sku))
        return draft

    return read


def _values(cell: str) -> list[str]:
    """What a cell holds: one value, or a JSON list of them where an attribute came several times."""
    found = _json(cell) if cell.startswith("[") else None
    values = [value for value in found if isinstance(value, str)] if isinstance(found, list) else [cell]
    return [value.strip() for value in values if value.strip()]


def _json(cell: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return None


def _category(cell: str) -> str:
    """The category's words: ``2271 - Apparel > Dresses`` without the number, and nothing for ``2271`` alone."""
    value = next(iter(_values(cell)), "")
    number = _BY_ID.match(value)
    if number is None or (number.end() < len(value) and "-" not in number[0]):
        return value
    return value[number.end() :]


def _details(cell: str) -> Iterator[tuple[str, str]]:
    """Names and values of ``product_detail`` (section:name:value between commas, or elements) and ``variant_dict``."""
    pairs: list[tuple[object, object]] = []
    for value in _values(cell):
        found = _json(value) if value.startswith("{") else None
        if not isinstance(found, dict):
            parts = (detail.split(":", 2) for detail in _NEXT_DETAIL.split(value) if detail.count(":") >= 2)
            pairs += ((name, text) for _, name, text in parts)
        elif "attribute_name" in found:
            pairs.append((found["attribute_name"], found.get("attribute_value")))
        else:
            pairs += found.items()
    for name, text in pairs:
        if isinstance(name, str) and isinstance(text, str | int | float) and attribute_name(name) and str(text).strip():
            yield attribute_name(name), str(text).strip()
