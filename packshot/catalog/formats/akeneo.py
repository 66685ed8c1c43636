"""Akeneo's exports: products, and in a second file the product models whose variants they are.

A variant names its model, and that may name another: what a variant leaves out its model says, then that one's. The
option ``parents`` names the models' file. Columns come by language, channel and currency (``name-en_US``,
``description-en_US-ecommerce``, ``price-EUR``), an amount and its unit in two (``weight``, ``weight-unit``).
Source: help.akeneo.com, "Import and export your data", and docs.akeneo.com on the structure of the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from packshot.catalog.columns import check_mapping, known_columns, mapped_columns, shows
from packshot.catalog.draft import Builder, Draft
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.flat import ReadDraft, settle_families
from packshot.catalog.formats.generic import draft_reader
from packshot.catalog.images import split_refs
from packshot.catalog.locales import Choice, Scoped, check_languages, choose_columns, is_locale
from packshot.catalog.model import Product, Reject
from packshot.catalog.options import ATTRIBUTE_PREFIX, CatalogOptions
from packshot.catalog.records import Record
from packshot.catalog.tables import Table
from packshot.catalog.text import attribute_name

NAME = "akeneo"
product_begins = None  # each record says itself what it is

# Target -> attribute codes and Akeneo's own columns.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "product_key": ("sku", "identifier", "uuid", "code"),
    "sku": ("sku", "identifier"),
    "title": ("name", "label", "title", "product_name"),
    "description": ("description", "long_description", "short_description"),
    "category": ("family", "categories"),
    "brand": ("brand", "manufacturer"),
    "status": ("enabled",),
    "price": ("price", "prices", "list_price"),
    "parent": ("parent",),
}
_TEXTS = (*_NAMES["title"], *_NAMES["description"])
_PHOTO_WORDS = {"image", "images", "picture", "pictures", "photo", "photos", "packshot", "packshots", "visual"}
_NO_VALUES = {"unit", "groups", "products", "product_models", "product_uuids", "quantity"}
"""Endings of columns that hold a unit, or other products."""
_OWN = ("category", "parent", "image_refs")
_STATUSES = {"1": "active", "0": "draft", "true": "active", "false": "draft"}


def detect(header: list[str]) -> bool:
    """Product models, or products with a family and two more of Akeneo's own columns."""
    names = set(header)
    products = bool(names & {"sku", "identifier", "uuid"}) and "family" in names
    scoped = any(parts.locale for column in header if (parts := _parts(column)))
    return _holds_models(header) or (
        products and len(names & {"categories", "parent", "enabled", "groups"}) + scoped >= 2
    )


def _holds_models(header: list[str]) -> bool:
    return {"code", "family_variant"} <= set(header)


def resolve(table: Table, options: CatalogOptions) -> dict[str, list[str]]:
    """Target -> columns, in one language, channel and currency; the mapping may replace them or add attributes.

    Raises:
        ConfigError: a mapped column is missing, no column holds the key or the title (unless the models' file may), or
            the locale or channel is not there.
    """
    choice = _choice(table.header, options)
    mapping = _known(table.header, choice, options) | mapped_columns(options)
    mapping = {target: columns for target, columns in mapping.items() if columns}
    elsewhere = {"title": [options.parents]} if options.parents else {}
    check_mapping(table.label, options, table.header, elsewhere | mapping)
    check_languages(table, choice, options, _used(mapping))
    return mapping


def _used(mapping: Mapping[str, list[str]]) -> list[str]:
    return [column for columns in mapping.values() for column in columns]


def _choice(header: list[str], options: CatalogOptions) -> Choice:
    return choose_columns([parts for column in header if column and (parts := _parts(column))], options, _TEXTS)


def _parts(column: str) -> Scoped | None:
    """``price-en_US-ecommerce-EUR`` taken apart; attribute codes hold no hyphen. None for what is no value."""
    base, *ends = column.split("-")
    if ends and ends[-1] in _NO_VALUES:
        return None
    locale = next((end for end in ends if "_" in end and is_locale(end)), "")
    currency = next((end for end in ends if re.fullmatch("[A-Z]{3}", end)), "")
    channel = next((end for end in ends if end not in (locale, currency)), "")
    return Scoped(column, base, locale, channel, currency)


def _known(header: list[str], choice: Choice, options: CatalogOptions) -> dict[str, list[str]]:
    bases = {column: base for base, column in choice.columns.items()}
    taken = {name for names in _NAMES.values() for name in names}
    further = [base for base in choice.columns if base not in taken]
    photos = [base for base in further if _is_photo(base)]
    names = {**_NAMES, "image_refs": tuple(photos)}
    for base in further:
        if base not in photos and shows(base, options):
            names[ATTRIBUTE_PREFIX + attribute_name(base)] = (base,)
    return known_columns(header, names, lambda column: bases.get(column, ""))


def _is_photo(code: str) -> bool:
    """``image``, ``variation_image``, ``picture_2``; not ``image_description``."""
    return next(iter(re.findall("[a-z]+", code.casefold())[-1:]), "") in _PHOTO_WORDS


def items(table: Table, mapping: Mapping[str, list[str]], builder: Builder) -> Iterator[Product | Reject]:
    """Products and rejects in file order; a file of models alone is read as products, too."""
    options = builder.options
    if _holds_models(table.header):
        return settle_families(table, builder, _reader(table.header, mapping, options, _as_variant))
    read = _reader(table.header, mapping, options, _as_product)
    if not options.parents:
        hint = "the option `parents` names the file with the product models"
        return settle_families(table, builder, read, hint=hint)
    models = _models(table, builder)
    return settle_families(table, builder, read, parents_in=models, hint=f"nor is it in {options.parents}")


def _models(table: Table, builder: Builder) -> tuple[Table, ReadDraft]:
    """The second file, read in the language of the first."""
    models, options = builder.beside(builder.options.parents), builder.options
    if "code" not in models.header:
        raise bad_catalog(models.label, "has no column 'code', so it holds no product models (option parents)")
    locale = options.locale or _choice(table.header, options).locale
    choice = _choice(models.header, options.model_copy(update={"locale": locale}))
    mapping = _known(models.header, choice, options)
    for target, columns in mapped_columns(options).items():
        here = [column for column in columns if column in models.header]
        if here or not columns:
            mapping[target] = here
    mapping["product_key"] = ["code"]
    check_languages(models, choice, options, _used(mapping))
    notes = [f"{models.name}: {note}" for note in models.notes]
    table.notes += [note for note in notes if note not in table.notes]
    mapping = {target: columns for target, columns in mapping.items() if columns}
    return models, _reader(models.header, mapping, options, _as_parent)


def _as_product(draft: Draft) -> None:
    if draft.parent:
        draft.variant_key = draft.variant_key or draft.sku or draft.product_key


def _as_parent(draft: Draft) -> None:
    draft.is_parent = True
    draft.category = ""  # a variant names those of its models, too


def _as_variant(draft: Draft) -> None:
    """A model in the place of a product: those below another one are its variants."""
    draft.is_parent = not draft.parent
    draft.variant_key = draft.product_key if draft.parent else ""


@dataclass(frozen=True, slots=True)
class _Measure:
    name: str
    place: int
    unit_place: int


def _reader(
    header: list[str], mapping: Mapping[str, list[str]], options: CatalogOptions, settle: Callable[[Draft], None]
) -> ReadDraft:
    read_cells = draft_reader(header, {t: columns for t, columns in mapping.items() if t not in _OWN}, options)
    places = {target: [header.index(column) for column in mapping.get(target, [])] for target in _OWN}
    measures = [
        _Measure(target.removeprefix(ATTRIBUTE_PREFIX), header.index(column), header.index(f"{column}-unit"))
        for target, columns in mapping.items()
        for column in columns[:1]
        if target.startswith(ATTRIBUTE_PREFIX) and f"{column}-unit" in header
    ]
    price = _parts(mapping["price"][0]) if "price" in mapping else None
    currency = price.currency if price else ""
    separator = options.separator("image_refs")
    own_category = "category" in options.mapping

    def read(record: Record) -> Draft:
        cells = record.cells
        draft = read_cells(record)
        draft.title, draft.description = _unescaped(draft.title), _unescaped(draft.description)
        draft.attributes = {name: _unescaped(value) for name, value in draft.attributes.items()}
        for measure in measures:
            if cells[measure.place]:
                draft.attributes[measure.name] = f"{cells[measure.place]} {cells[measure.unit_place]}".strip()
        filled = [cells[place] for place in places["category"] if cells[place]]
        draft.category = (filled or [""])[0] if own_category else " > ".join(map(_words, filled))
        draft.image_refs = [ref for place in places["image_refs"] for ref in split_refs(cells[place], separator)]
        draft.status = _STATUSES.get(draft.status.casefold(), draft.status)
        draft.currency = draft.currency or currency
        draft.parent = next((cells[place] for place in places["parent"] if cells[place]), "")
        settle(draft)
        return draft

    return read


def _unescaped(text: str) -> str:
    r"""Exports write a line's end as the two characters ``\n``."""
    return re.sub(r"\\r\\n|\\n|\\r", "\n", text) if "\\" in text else text


def _words(codes: str) -> str:
    """``master_men_shoes,print_shoes`` -> ``master men shoes, print shoes``."""
    return ", ".join(code.strip().replace("_", " ") for code in codes.split(",") if code.strip())
