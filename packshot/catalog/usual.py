"""The usual record of a plain list, made a Product in one go.

Nearly all records of a long list are alike: a key, a clean title, a price and photos that look like all others. What is
usual is narrow: where anything has to be refused, remarked, shortened or looked at closely, the record goes the long
way, by a Draft. For a usual record both ways end at the same Product, and the tests hold this one to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter

from packshot.catalog.draft import Builder
from packshot.catalog.images import is_usual
from packshot.catalog.model import Product
from packshot.catalog.options import ATTRIBUTE_PREFIX
from packshot.catalog.price import read_price
from packshot.catalog.records import NO_COLUMN, Record
from packshot.catalog.text import ATTRIBUTE_MAX, DESCRIPTION_MAX, KEY_MAX, TITLE_MAX, one_line, plain_text

ReadUsual = Callable[[Record], Product | None]
"""None: not a usual record, and nothing was done with it."""

_TEXTS = ("product_key", "title", "description", "category", "brand", "status", "price", "currency")


def usual_reader(header: list[str], mapping: Mapping[str, list[str]], builder: Builder) -> ReadUsual | None:
    """What makes Products of this table's usual records. None where texts come out of several columns, or where a
    record may be more than a product of its own, under its own key, the first of which counts.

    The caller sees to it that the records are no variants, and that attributes have columns of their own.
    """
    options = builder.options
    is_plain = not (options.variants_by or options.key_fallback or options.on_duplicate == "last")
    one_each = all(len(names) <= 1 for target, names in mapping.items() if target != "image_refs")
    separator = options.separator("image_refs") or "\n"  # which no usual reference holds
    if not (is_plain and one_each) or options.media_root or separator == "json":
        return None

    places = {target: header.index(names[0]) for target, names in mapping.items() if names}
    nowhere = len(header)
    pick = itemgetter(*(places.get(target, nowhere) for target in _TEXTS))
    attributes = [(t.removeprefix(ATTRIBUTE_PREFIX), p) for t, p in places.items() if t.startswith(ATTRIBUTE_PREFIX)]
    photos = [header.index(name) for name in mapping.get("image_refs", [])]
    catalog, has_sku, default_currency = builder.catalog, "sku" in places, options.currency
    cleaned, book = builder.cleaned, builder.book
    statuses = {status for status in builder.statuses if len(status) <= ATTRIBUTE_MAX}

    def read(record: Record) -> Product | None:
        cells = record.cells
        key, raw_title, raw_description, category, brand, status, price, currency = pick(cells + NO_COLUMN)
        key, title = one_line(key), plain_text(raw_title)
        if not key or len(key) > KEY_MAX or not title or len(title) > TITLE_MAX or status.casefold() not in statuses:
            return None
        category, brand, description = cleaned[category], cleaned[brand], plain_text(raw_description)
        if len(description) > DESCRIPTION_MAX or len(category) > ATTRIBUTE_MAX or len(brand) > ATTRIBUTE_MAX:
            return None
        stated: dict[str, str] = {}
        for name, place in attributes:
            if text := cells[place]:
                stated[name] = text = cleaned[text]
                if not text or len(text) > ATTRIBUTE_MAX:
                    return None
        refs: tuple[str, ...] = ()
        for place in photos:
            if ref := cells[place]:
                if ref in refs or separator in ref or not is_usual(ref):
                    return None
                refs += (ref,)
        amount = read_price(price, currency or default_currency) if price else (None, "")
        if amount is None or not book.take(record, book.key(key, "", "")):
            return None
        return Product(  # by position, in the order of the fields: by name it takes three times as long
            catalog,
            key,
            "",
            key if has_sku else None,
            title,
            description,
            category,
            brand,
            stated,
            refs,
            cleaned[status].casefold(),
            amount[0],
            amount[1],
            record.source,
            record.number,
            record.line,
        )

    return read
