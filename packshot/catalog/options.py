"""How a catalog is to be read: everything the user can say about the file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from packshot.catalog.images import refusal
from packshot.did_you_mean import did_you_mean

FormatName = Literal[
    "auto", "csv", "json", "shopify", "woocommerce", "google", "meta", "amazon", "bigcommerce", "magento", "akeneo",
    "commercetools", "prestashop", "vendure",
]  # fmt: skip
TEXT_TARGETS = (
    "product_key", "variant_key", "sku", "title", "description", "category", "brand", "status", "price", "currency",
    "link",
)  # fmt: skip
"""Targets of a mapping that take the first of their columns that is filled."""

TARGETS = (*TEXT_TARGETS, "image_refs")
ATTRIBUTE_PREFIX = "attributes."
KEY_PARTS = ("handle", "sku", "title", "options", "url", "image")
EVERY_VARIANT = "*"


class CatalogOptions(BaseModel):
    """Reading options. The defaults read a Shopify export, a common CSV file or JSON lines without any help."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: FormatName = "auto"
    name: str = Field("", max_length=100)
    """The catalog's name, part of every product's identity; empty: made from the file's name."""
    mapping: dict[str, str | list[str]] = Field(default_factory=dict)
    """Target -> column, or columns in order of preference (``image_refs`` takes all of them). Targets that are not
    named are found by their usual column names; an empty list switches a target off. JSON lines take dotted paths."""
    delimiter: str = ""
    """One character; empty: found among comma, semicolon, tab and bar."""
    encoding: str = ""
    """A Python codec name; empty: byte order mark, UTF-8, UTF-16, else cp1252 as a guess that is reported."""
    fallback_encoding: str = Field("cp1252", min_length=1, max_length=40)
    """What a file is read as that is neither marked, nor UTF-8, nor UTF-16; always reported, because it is a guess."""
    header_row: int = Field(0, ge=0)
    """The physical line (or the sheet's row) on which the header begins; 0: found among the first ten rows."""
    query: str = ""
    """Of a database: the SELECT whose rows are the records, instead of the table that ``sql:NAME`` names."""
    key_column: str = ""
    """Of a database: a column without empty or equal values, to read the rows page by page; empty: the primary key."""
    sheet: str = ""
    """Of a workbook; empty: the first visible sheet whose header is understood."""
    records: str = ""
    """What holds the records: of a JSON object the key of a list, of an XML file an element; empty: found."""
    split: dict[Literal["image_refs", "category"], str] = Field(default_factory=dict)
    """Target -> what stands between several values in one cell: for ``image_refs`` a comma unless the format says
    otherwise, and empty where a cell holds one. For ``category`` what stands between the steps of a path."""
    group_by: str = ""
    """The column that the records of one product share: the same as mapping ``product_key`` to it."""
    key_fallback: str = ""
    """What a product is known by when its key is missing or used by several: parts joined by ``#``, of ``handle``
    (the product's own key), ``sku``, ``title``, ``options`` (the variant's values), ``url`` and ``image``. Empty:
    such records are refused."""
    where: dict[str, list[str]] = Field(default_factory=dict)
    """Column -> accepted values (any case; ``*`` and ``?`` are wildcards, ``!`` before all of them means: none of
    these). Records with others become rejects, so that they are counted."""
    on_duplicate: Literal["reject", "first", "last"] = "reject"
    """Several records with one key: refuse all but the first by name, or let the first or the last one count."""
    on_bad_width: Literal["reject", "drop_empty_surplus"] = "reject"
    """Records with more cells than the header: refuse them, or accept those whose surplus cells are empty."""
    locale: str = Field("", pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$|^$")
    """Which language to take where columns come in several, such as ``de`` or ``en_US``; empty: the file's first."""
    channel: str = ""
    """Which channel to take where columns come in several (Akeneo's scopes); empty: the file's first."""
    media_root: str = ""
    """What relative photo paths are relative to: an http(s) URL, or a folder below the catalog's own."""
    currency: str = Field("", pattern=r"^([A-Za-z]{3})?$")
    """Of prices that come without one, such as ``EUR``."""
    parents: str = ""
    """A second file beside the catalog that holds the parents of its variants, such as Akeneo's product models."""
    variants_by: list[str] = Field(default_factory=list)
    """Which variants get pictures of their own. ``[]``: one Product for all of them, because every Product is paid for
    and the sizes of one shirt look the same. ``["*"]``: one Product for each variant. ``["Color"]``: one for each
    distinct value of the options or attributes named, which is what a shop wants of things in colours and sizes."""
    statuses: list[str] = Field(default_factory=lambda: ["active", ""])
    """Accepted statuses (any case) where the file has a status; others become rejects, so that they are counted."""

    @field_validator("mapping")
    @classmethod
    def _known_targets(cls, value: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for target in value:
            name = target.removeprefix(ATTRIBUTE_PREFIX) if target.startswith(ATTRIBUTE_PREFIX) else ""
            if target not in TARGETS and not name.strip():
                raise ValueError(
                    f"unknown target {target!r}{did_you_mean(target, TARGETS)} "
                    f"(allowed: {', '.join(TARGETS)} and {ATTRIBUTE_PREFIX}<name>)"
                )
        return value

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        value = "\t" if value == "\\t" else value
        if len(value) > 1 or value in ('"', "\r", "\n", " ", "\x00"):
            raise ValueError(f"delimiter {value!r} is not one usable character, such as , ; | or a tab")
        return value

    @field_validator("key_fallback")
    @classmethod
    def _known_parts(cls, value: str) -> str:
        unknown = [part for part in value.split("#") if value and part not in KEY_PARTS]
        if unknown:
            raise ValueError(f"unknown part {unknown[0]!r}; allowed: {', '.join(KEY_PARTS)}, joined by #")
        return value

    @field_validator("media_root")
    @classmethod
    def _usable_root(cls, value: str) -> str:
        reason = refusal(value) if value else ""
        if reason:
            raise ValueError(f"{value!r} is {reason}; allowed: an http(s) URL, or a folder below the catalog's")
        return value

    @field_validator("variants_by")
    @classmethod
    def _star_alone(cls, value: list[str]) -> list[str]:
        if EVERY_VARIANT in value and len(value) > 1:
            raise ValueError('"*" already means every variant: name it alone')
        return value

    def columns(self, target: str) -> list[str] | None:
        """The columns the user mapped to ``target``, or None when they did not mention it."""
        value = self.mapping.get(target)
        if value is None and target == "product_key" and self.group_by:
            value = self.group_by
        return [value] if isinstance(value, str) else value

    def separator(self, target: Literal["image_refs", "category"], usual: str = ",") -> str:
        """What stands between several values in a cell of ``target``; ``usual`` is the format's own."""
        return self.split.get(target, usual)

    def mapped_attributes(self) -> dict[str, list[str]]:
        """Attribute name -> columns, for the ``attributes.<name>`` targets."""
        names = [t.removeprefix(ATTRIBUTE_PREFIX) for t in self.mapping if t.startswith(ATTRIBUTE_PREFIX)]
        return {name: self.columns(ATTRIBUTE_PREFIX + name) or [] for name in names}
