"""commercetools' product CSV: a product's first row names its product type, the rows below it are its variants.

The first row is a variant itself. Prices stand packed in one cell, in the smallest unit of their currency
(``EUR 18750;US-USD 19900;EUR 12295 b2b``), texts in one column for each language (``name.en``, ``name.de``).
Source: docs.commercetools.com, Merchant Center, "Import products" and the data model of products.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from packshot.catalog.columns import named_columns, shows
from packshot.catalog.draft import Builder
from packshot.catalog.following import Row, settle_following
from packshot.catalog.formats.generic import draft_reader
from packshot.catalog.images import split_refs
from packshot.catalog.locales import check_languages, choose_columns, scoped
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name
from packshot.catalog.where import Begins

NAME = "commercetools"

# Target -> columns without their language. Slugs are no keys: they change with the language that is read.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_key": ("key", "id", "baseId", "sku"),
    "sku": ("sku",),
    "title": ("name",),
    "description": ("description",),
    "category": ("categories",),
    "brand": ("brand", "manufacturer"),
    "status": ("_published", "published"),
    "price": ("prices",),
    "image_refs": ("images",),
    "product_type": ("productType",),
}
_KNOWN_TO_SHOW = {"designer"}
_TEXTS = ("name", "description")
_STATUSES = {"true": "active", "false": "draft"}

_PRICE = re.compile(r"(?:(?P<country>[A-Z]{2})-)?(?P<currency>[A-Z]{3}) (?P<amount>\d{1,15})(?P<condition>.*)")
_FRACTION_DIGITS = dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"), 0)
_FRACTION_DIGITS |= dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)


def detect(header: list[str]) -> bool:
    """A product type, and variants below it."""
    names = set(header)
    return "productType" in names and bool(names & {"variantId", "sku"}) and bool(names & {"prices", "images"})


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns, texts in one language; the mapping may replace them or add attributes.

    Raises:
        ConfigError: a mapped column is missing, no column holds the key or the title, or the locale is not there.
    """
    choice = choose_columns([scoped(column) for column in table.header if column], options, _TEXTS)
    bases = {column: base for base, column in choice.columns.items()}
    seen = [base for base in choice.columns if base not in {name for names in _NAMES.values() for name in names}]
    seen = [base for base in seen if shows(base, options) or base in _KNOWN_TO_SHOW]
    names = {**_NAMES, **{f"attributes.{attribute_name(base)}": (base,) for base in seen}}
    mapping = named_columns(table, options, names, lambda column: bases.get(column, ""))
    check_languages(table, choice, options, [column for columns in mapping.values() for column in columns])
    return mapping


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    return settle_following(table, builder, _reader(table.header, mapping, builder.options), first_is_variant=True)


def product_begins(header: list[str], mapping: Mapping[str, list[str]]) -> Begins:
    """With the product's type, which its further variants leave out."""
    places = [header.index(column) for column in mapping.get("product_type", [])]
    return lambda cells: any(cells[place] for place in places)


def _reader(header: list[str], mapping: Mapping[str, list[str]], options: CatalogOptions) -> Callable[[Record], Row]:
    plain = {target: columns for target, columns in mapping.items() if target not in ("image_refs", "product_type")}
    read_cells = draft_reader(header, plain, options)
    begins = product_begins(header, mapping)
    images = [header.index(column) for column in mapping.get("image_refs", [])]
    separator = options.separator("image_refs", ";")
    packed = mapping.get("price") == ["prices"]

    def read(record: Record) -> Row:
        cells = record.cells
        draft = read_cells(record)
        draft.image_refs = [ref for place in images for ref in split_refs(cells[place], separator)]
        draft.category = _deepest(draft.category)
        draft.status = _STATUSES.get(draft.status.casefold(), draft.status)
        draft.variant_key = draft.variant_key or draft.sku
        if packed:
            draft.price, draft.currency = unpack_price(draft.price, options.currency.upper())
        return Row(draft, begins=begins(cells))

    return read


def _deepest(categories: str) -> str:
    """Of several paths (``Women>Shoes;New``) the one with the most steps: it says most about the product."""
    deepest = max(categories.split(";"), key=lambda path: path.count(">"))
    return " > ".join(step.strip() for step in deepest.split(">"))


def unpack_price(cell: str, currency: str) -> tuple[str, str]:
    """Amount and currency of the price that holds for everybody; of several currencies the wanted one or the first.

    Prices for a country, a customer group or a channel only count when there is no other.
    """
    found = [match for part in cell.split(";") if (match := _PRICE.fullmatch(part.strip()))]
    if not found:
        return cell, ""
    price = min(found, key=lambda m: (m["currency"] != currency, bool(m["condition"]), bool(m["country"])))
    if price["currency"] != currency:
        price = min(found, key=lambda m: (bool(m["condition"]), bool(m["country"])))
    digits = _FRACTION_DIGITS.get(price["currency"], 2)
    # Four digits at least behind the point where there are three: 12.345 is twelve thousand in many a catalog.
    return f"{Decimal(price['amount']).scaleb(-digits):f}" + "0" * (digits == 3), price["currency"]
