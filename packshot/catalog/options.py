"""How a catalog is to be read: everything the user can say about the file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

TEXT_TARGETS = ("product_key", "variant_key", "sku", "title", "description", "category", "brand", "status")
"""Targets of a mapping that take the first of their columns that is filled."""

TARGETS = (*TEXT_TARGETS, "image_refs")
ATTRIBUTE_PREFIX = "attributes."
EVERY_VARIANT = "*"


class CatalogOptions(BaseModel):
    """Reading options. The defaults read a Shopify export, a common CSV file or JSON lines without any help."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["auto", "csv", "shopify", "jsonl"] = "auto"
    name: str = Field("", max_length=100)
    """The catalog's name, part of every product's identity; empty: made from the file's name."""
    mapping: dict[str, str | list[str]] = Field(default_factory=dict)
    """Target -> column, or columns in order of preference (``image_refs`` takes all of them). Targets that are not
    named are found by their usual column names; an empty list switches a target off. JSON lines take dotted paths."""
    delimiter: str = ""
    """One character; empty: found among comma, semicolon, tab and bar."""
    encoding: str = ""
    """A Python codec name; empty: byte order mark, UTF-8, UTF-16, else cp1252 as a guess that is reported."""
    image_separator: str = ","
    """What stands between several image references in one cell; empty: a cell holds one."""
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
                    f"unknown target {target!r}; allowed: {', '.join(TARGETS)} and {ATTRIBUTE_PREFIX}<name>"
                )
        return value

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        value = "\t" if value == "\\t" else value
        if len(value) > 1 or value in ('"', "\r", "\n", " ", "\x00"):
            raise ValueError(f"delimiter {value!r} is not one usable character, such as , ; | or a tab")
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
        return [value] if isinstance(value, str) else value

    def mapped_attributes(self) -> dict[str, list[str]]:
        """Attribute name -> columns, for the ``attributes.<name>`` targets."""
        names = [t.removeprefix(ATTRIBUTE_PREFIX) for t in self.mapping if t.startswith(ATTRIBUTE_PREFIX)]
        return {name: self.columns(ATTRIBUTE_PREFIX + name) or [] for name in names}
