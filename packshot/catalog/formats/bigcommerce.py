"""BigCommerce's product CSV, of its older and its newer export: a product's variants stand below it.

The older one has ``Item Type`` (Product, SKU, Rule), options in a SKU's name (``[RT]Size=M``) and photos in groups of
columns. The newer one has ``Item`` (Product, Variant, Image, Video), options in a cell of their own
(``Type=Dropdown|Name=Size|Value=M``) and photos in rows of their own. Source: support.bigcommerce.com, "Supported
Product Fields" and "Importing Product Options".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from packshot.catalog.columns import named_columns
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.following import Row, settle_following
from packshot.catalog.formats.generic import draft_reader
from packshot.catalog.formats.shop_cells import categories, status_word
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name
from packshot.catalog.where import Begins

NAME = "bigcommerce"

# Target -> folded column names, the older export's first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_key": ("product code/sku", "sku", "product id", "id"),
    "sku": ("product code/sku", "sku"),
    "title": ("product name", "name"),
    "description": ("product description", "description"),
    "category": ("category", "categories"),
    "brand": ("brand name", "brand"),
    "status": ("product visible?", "is visible"),
    "price": ("price",),
    "link": ("product url",),
    "item": ("item type", "item"),
    "id": ("product id", "id"),
    "options": ("options",),
    "custom": ("product custom fields",),
}
_OWN = ("item", "id", "options", "custom")
_OLDER = {"item type", "product code/sku"}
_NEWER = {
    "variant image url", "internal image url (export)", "image url (import)", "image is thumbnail", "is visible",
    "brand id", "inventory tracking", "show product condition",
}  # fmt: skip
_NEWER_NEEDED = 2

_PICTURE = re.compile(r"product image (file|url) - (\d+)")
_PICTURE_ROW = ("image url (import)", "internal image url (export)")
_VARIANT_PICTURE = "variant image url"
_NO_VARIANT = {"rule", "video"}
_BELOW = {"sku", "variant", "image", *_NO_VARIANT}
"""What stands below a product; any other word begins one."""

# [RT]Size=M,[CS]Colour=Red:#FF0000 and Type=Swatch|Name=Colour|Value=Red[#FF0000]
_BRACKETED = re.compile(r"\[[A-Za-z]{1,4}\]([^=\[\]]{1,250})=(.*?)(?=,\s*\[[A-Za-z]{1,4}\]|$)", re.DOTALL)
_BARRED = re.compile(r"Name=([^|]{1,250})\|Value=([^|]*)", re.IGNORECASE)
_SWATCH = re.compile(r":?\s*\[?#[0-9a-f]{3,8}\b.*$", re.IGNORECASE | re.DOTALL)


def detect(header: list[str]) -> bool:
    """A column that tells products from what stands below them, and others that only BigCommerce names so."""
    folded = {name.casefold() for name in header}
    return folded >= _OLDER or ("item" in folded and len(folded & _NEWER) >= _NEWER_NEEDED)


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns; the mapping may replace the columns of a target, or add attributes.

    Raises:
        ConfigError: a mapped column is missing, or no column holds the key or the title.
    """
    mapping = named_columns(table, options, _NAMES, str.casefold)
    if options.columns("image_refs") is None:
        known = (*_PICTURE_ROW, _VARIANT_PICTURE)
        pictures = [name for name in table.header if _PICTURE.fullmatch(name.casefold()) or name.casefold() in known]
        mapping |= {"image_refs": pictures} if pictures else {}
    return mapping


def product_begins(header: list[str], mapping: Mapping[str, list[str]]) -> Begins:
    """With any row that is not said to belong to the one above."""
    place = header.index(mapping["item"][0]) if "item" in mapping else None
    return lambda cells: place is None or cells[place].casefold() not in _BELOW


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    return settle_following(table, builder, _reader(table.header, mapping, builder.options), first_is_variant=False)


class _Picture(NamedTuple):
    """The cells of one numbered photo; None for a column that is not there."""

    url: int | None
    file: int | None
    thumbnail: int | None
    sort: int | None


def _pictures(header: list[str], columns: list[str]) -> list[_Picture]:
    places = {name.casefold(): place for place, name in reversed(list(enumerate(header)))}
    numbers = dict.fromkeys(match[2] for name in columns if (match := _PICTURE.fullmatch(name.casefold())))
    kinds = ("url", "file", "is thumbnail", "sort")
    return [_Picture(*(places.get(f"product image {kind} - {number}") for kind in kinds)) for number in numbers]


def _in_order(cells: tuple[str, ...], pictures: list[_Picture]) -> list[str]:
    """The thumbnail is the picture that the shop shows first; the others by their sort number."""
    found = []
    for picture in pictures:
        url, file, thumbnail, sort = (cells[place] if place is not None else "" for place in picture)
        if url or file:
            number = int(sort) if sort.isascii() and sort.isdigit() and len(sort) < len("1000000000") else 0
            found.append((status_word(thumbnail) != "active", number, url or file))
    return [ref for *_, ref in sorted(found, key=lambda ranked: ranked[:2])]


def _reader(
    header: list[str], mapping: Mapping[str, list[str]], options: CatalogOptions
) -> Callable[[Record], Row | None]:
    texts = {target: names for target, names in mapping.items() if target not in _OWN}
    pictures: list[_Picture] = []
    images_mapped = options.columns("image_refs") is not None
    if not images_mapped:
        images = texts.pop("image_refs", [])
        pictures = _pictures(header, images)
        texts["image_refs"] = [name for name in images if not _PICTURE.fullmatch(name.casefold())]
    read_cells = draft_reader(header, texts, options)
    item_place, id_place, options_place, custom_place = (
        header.index(mapping[target][0]) if target in mapping else None for target in _OWN
    )
    cover_place = next((place for place, name in enumerate(header) if name.casefold() == "image is thumbnail"), None)
    key_is_mapped = options.columns("product_key") is not None
    step = options.separator("category", usual="/")

    def read(record: Record) -> Row | None:
        cells = record.cells
        item, number, option_text, custom = (
            cells[place] if place is not None else "" for place in (item_place, id_place, options_place, custom_place)
        )
        kind = item.casefold()
        draft = read_cells(record)
        if not images_mapped:  # a photo row's two addresses are one photo's
            draft.image_refs = _in_order(cells, pictures) + draft.image_refs[:1]
        draft.status = status_word(draft.status)
        draft.category = _category(draft.category, step)
        if kind not in _BELOW:
            if number and not draft.sku and not key_is_mapped:
                draft.product_key = f"id:{number}"
            draft.attributes = _custom_fields(custom) | draft.attributes
            photos, draft.image_refs = draft.image_refs, []
            return Row(draft, begins=True, photos=photos)
        if kind in _NO_VARIANT:
            return None
        if kind == "image":
            covers = cover_place is not None and status_word(cells[cover_place]) == "active"
            return Row(Draft(), begins=False, photos=draft.image_refs, covers=covers) if draft.image_refs else None
        draft.attributes = _options(option_text or draft.title) | draft.attributes
        draft.title = ""
        draft.variant_key = draft.variant_key or ("" if draft.sku else "/".join(_options(option_text).values()))
        return Row(draft, begins=False)

    return read


def _options(text: str) -> dict[str, str]:
    """Option -> value, of a variant's name or its options cell; a swatch's colour code left out."""
    pairs = _BRACKETED.findall(text) or _BARRED.findall(text)
    found = {attribute_name(name): _SWATCH.sub("", value).strip() for name, value in pairs}
    return {name: value for name, value in found.items() if name and value}


def _custom_fields(cell: str) -> dict[str, str]:
    """``"Material=Wool";"Made in=Peru"`` -> names and values."""
    pairs = (field.strip().strip('"').partition("=") for field in cell.split(";"))
    return {attribute_name(name): value.strip() for name, _, value in pairs if attribute_name(name) and value.strip()}


def _category(cell: str, step: str) -> str:
    """The newer export may hold numbers instead of names: they say nothing."""
    if not cell or re.fullmatch(r"[\d;,\s]+", cell):
        return ""
    return categories(cell, step, between=";")
