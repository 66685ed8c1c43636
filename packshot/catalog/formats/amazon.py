"""Amazon's listing files (flat files and category listings reports): parents, children and what stands alone.

Above the row of field names stand one of settings (``TemplateType=...``) and one or more of labels. Older templates
name their fields ``item_sku`` and ``other_image_url1``; newer ones write the same as
``other_product_image_locator_1[marketplace_id=...]#1.media_location``, and may put an example below the names.
A swatch shows a material, not the product, so it is no photo here.
Sources: field names and rows as in templates and in code of many sellers that reads or writes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from packshot.catalog.columns import named_columns
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.flat import settle_families
from packshot.catalog.formats.generic import draft_reader
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.tables import Table
from packshot.catalog.where import Selected
from packshot.errors import Code

NAME = "amazon"
product_begins = None  # each record says itself what it is

# Target -> field names without their decorations, the better first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_key": ("item_sku", "contribution_sku"),
    "sku": ("item_sku", "contribution_sku"),
    "title": ("item_name",),
    "description": ("product_description",),
    "category": ("item_type_name", "item_type_keyword", "item_type", "feed_product_type", "product_type"),
    "brand": ("brand_name", "brand"),
    "price": (
        "standard_price", "purchasable_offer.our_price.schedule.value_with_tax", "list_price",
        "list_price.value_with_tax",
    ),
    "currency": ("currency", "purchasable_offer.currency", "list_price.currency"),
    "image_refs": (
        "main_image_url", "main_product_image_locator", "other_image_url", "other_product_image_locator",
    ),
    "attributes.color": ("color_name", "color"),
    "attributes.size": (
        "size_name", "size", "apparel_size.size", "footwear_size.size", "shirt_size.size", "bottoms_size.size",
    ),
    "attributes.material": ("material_type", "material", "outer_material_type", "outer.material", "fabric_type"),
    "attributes.pattern": ("pattern_name", "pattern_type", "pattern"),
    "attributes.gender": ("target_gender", "department_name", "department"),
    "attributes.age_group": ("age_range_description",),
    "parent": ("parent_sku", "child_parent_sku_relationship.parent_sku"),
    "bullets": ("bullet_point",),
    "action": ("update_delete", "record_action"),
}  # fmt: skip
_KEYS = {"item_sku", "contribution_sku"}
_MARKS = {
    "feed_product_type", "product_type", "parent_child", "parentage_level", "parent_sku", "update_delete",
    "record_action", "external_product_id", "variation_theme", "main_image_url", "main_product_image_locator",
}  # fmt: skip

_DECORATION = re.compile(r"\[[^\]]*\]|#\d+")
_TAG = re.compile(r"\[(language_tag|marketplace_id)=([^\]]*)\]")
# The word for "delete" in the languages of Amazon's templates.
_DELETE = ("delete", "lösch", "supprim", "elimin", "verwijder", "usuń", "radera", "削除")


def field_name(column: str) -> str:
    """``bullet_point[language_tag=en_US]#2.value`` and ``bullet_point2`` -> ``bullet_point``."""
    name = _DECORATION.sub("", column.strip().casefold()).lstrip(":")
    for ending in (".value", ".name", ".media_location"):
        name = name.removesuffix(ending)
    return re.sub(r"_?\d+$", "", name)


def detect(header: list[str]) -> bool:
    """The seller's SKU by one of Amazon's names for it, and another field of Amazon's."""
    names = {field_name(column) for column in header}
    return bool(names & _KEYS) and bool(names & _MARKS)


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns; the mapping may replace the columns of a target, or add attributes.

    Raises:
        ConfigError: a mapped column is missing, or no column holds the key or the title.
    """
    mapping = named_columns(table, options, _NAMES, field_name)
    for target, columns in mapping.items():
        if target not in options.mapping:
            # The image that stands first in the header need not be other_image_url1.
            rank = {name: place for place, name in enumerate(_NAMES.get(target, ()))}
            columns = _of_one_market(columns, options.locale)
            mapping[target] = sorted(columns, key=lambda c: (rank.get(field_name(c), 0), _numbers(c)))
    return mapping


def _of_one_market(columns: list[str], locale: str) -> list[str]:
    """The columns of the language asked for, else of the first one, and of the first marketplace."""
    for tag in ("language_tag", "marketplace_id"):
        tags = {column: dict(_TAG.findall(column)).get(tag, "") for column in columns}
        named = list(dict.fromkeys(filter(None, tags.values())))
        wanted = locale.replace("-", "_").casefold() if tag == "language_tag" else ""
        chosen = [name for name in named if wanted and name.casefold().startswith(wanted)] or named
        columns = [column for column in columns if tags[column] in ("", *chosen[:1])]
    return columns


def _numbers(column: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", re.sub(r"\[[^\]]*\]", "", column))]


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order."""
    return settle_families(_Listed(table, mapping), builder, _reader(table.header, mapping, builder.options))


class _Listed(Selected):
    """The records that are listings: not the template's examples, nor what the file asks Amazon to delete."""

    def __init__(self, table: Table, mapping: Mapping[str, list[str]]) -> None:
        super().__init__(table, {}, None)
        self._action = [table.header.index(column) for column in mapping.get("action", [])]
        self._examples = _rows_of_examples(table)

    def records(self) -> Iterator[Record | Unreadable]:
        for record in super().records():
            if isinstance(record, Unreadable) or record.blank:
                yield record
            elif record.number <= self._examples:
                message = "an example of the template, by its settings (dataRow)"
                yield Unreadable(*record[:3], Code.NOT_SELECTED, message, record.cells)
            elif any(record.cells[place].casefold().startswith(_DELETE) for place in self._action):
                message = "the file asks to delete this listing"
                yield Unreadable(*record[:3], Code.NOT_SELECTED, message, record.cells)
            else:
                yield record


def _rows_of_examples(table: Table) -> int:
    """How many rows stand between the field names and the data."""
    text = "&".join(cell for row in table.top() for cell in row.cells)
    names, data = re.search(r"attributeRow=(\d{1,3})\b", text), re.search(r"dataRow=(\d{1,3})\b", text)
    return max(0, int(data[1]) - int(names[1]) - 1) if names and data else 0


def _reader(header: list[str], mapping: Mapping[str, list[str]], options: CatalogOptions) -> Callable[[Record], Draft]:
    own = ("parent", "bullets", "action")
    read_cells = draft_reader(
        header, {target: names for target, names in mapping.items() if target not in own}, options
    )
    parents = [header.index(name) for name in mapping.get("parent", [])]
    bullets = [header.index(name) for name in mapping.get("bullets", [])]

    def read(record: Record) -> Draft:
        cells = record.cells
        draft = read_cells(record)
        points = "; ".join(cells[place] for place in bullets if cells[place])
        draft.description = " ".join(filter(None, (draft.description, points)))
        parent = next((cells[place] for place in parents if cells[place]), "")
        if parent and parent != draft.sku:
            draft.parent = parent
        else:
            # Not by parent_child: its words are translated, and what others call their parent is one.
            draft.is_parent = True
        return draft

    return read
