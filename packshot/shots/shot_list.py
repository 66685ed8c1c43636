"""The shot list as data: what to make of each product, and of which products."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from packshot.catalog.model import Product
from packshot.did_you_mean import did_you_mean
from packshot.errors import Code, ConfigError
from packshot.shots.archetypes import ArchetypeEntry, Archetypes, Choice, Slug
from packshot.shots.channels import with_preset
from packshot.shots.model import AspectRatio, ImageSize
from packshot.shots.product_text import attribute_name
from packshot.shots.prompt import check_template
from packshot.yaml_file import FaultAt

_STRICT = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

Text = Annotated[str, Field(min_length=1)]
TextList = Annotated[tuple[Text, ...], Field(min_length=1)]


class When(BaseModel):
    """Which products a shot is for. Every condition must hold; within a list any entry will do. Case is ignored."""

    model_config = _STRICT

    category: TextList | None = None
    """Beginnings of the category ("Shoes"), or patterns with ``*`` and ``?`` for all of it ("*ring*")."""
    attributes: Annotated[Mapping[Text, TextList], Field(min_length=1)] | None = None
    """Attribute name, in any spelling that prompts understand, to the values wanted."""
    archetype: TextList | None = None
    """Names of archetypes, see archetypes.yaml."""

    def holds_for(self, product: Product, archetype: str) -> bool:
        """``archetype``: the name of the product's."""
        if self.archetype and archetype not in self.archetype:
            return False
        if self.category and not any(_matches(product.category, pattern) for pattern in self.category):
            return False
        have = {(attribute_name(name), value.casefold()) for name, value in product.attributes.items()}
        return all(
            any((attribute_name(name), value.casefold()) in have for value in wanted)
            for name, wanted in (self.attributes or {}).items()
        )


class Shot(BaseModel):
    """A named recipe: one picture (or ``variants`` of them) of every product it is for."""

    model_config = _STRICT

    name: Slug
    prompt: Text
    aspect_ratio: AspectRatio
    image_size: ImageSize
    channel: str | None = None
    """A preset of channels.yaml: it fixes ratio and size, and what prompts know as background and frame_share."""
    template_version: int = Field(1, ge=1)
    """What you call the wording of the prompt; written beside each job, and nothing else hangs on it."""
    model: Text | None = None
    """None: the model of the settings."""
    variants: int = Field(1, ge=1, le=10)
    references: int = Field(0, ge=0, le=14)
    """At most so many of the product's own photos are sent along. 14 is what the API takes in one call."""
    needs_reference: bool = False
    """True: a product without any photo gets no picture but a reject."""
    when: When | None = None

    @model_validator(mode="before")
    @classmethod
    def _channel_fixes_the_frame(cls, said: Any) -> Any:
        return with_preset(said) if isinstance(said, dict) else said

    @field_validator("prompt")
    @classmethod
    def _is_a_template(cls, prompt: str) -> str:
        check_template(prompt)
        return prompt

    @model_validator(mode="after")
    def _references_agree(self) -> Self:
        if self.needs_reference and not self.references:
            raise ValueError("needs_reference is true, so references must be 1 or more (found 0)")
        return self

    def applies_to(self, product: Product, archetype: str) -> bool:
        """Is this shot made of this product, of that archetype, at all?"""
        return self.when is None or self.when.holds_for(product, archetype)

    def photos_of(self, product: Product) -> tuple[str, ...]:
        """The entries of ``product.image_refs`` to send along, best first, each once."""
        return tuple(dict.fromkeys(product.image_refs))[: self.references]


class ShotList(BaseModel):
    """All shots, in the order of the file. Names are unique."""

    model_config = _STRICT

    version: Annotated[Literal[1], BeforeValidator(lambda version: 1 if version == "1" else version)]
    archetypes: Mapping[Slug, ArchetypeEntry] = Field(default_factory=dict)
    """What the list changes of those that come with packshot, and those that it adds."""
    shots: Annotated[tuple[Shot, ...], Field(min_length=1)]

    @field_validator("shots")
    @classmethod
    def _names_are_unique(cls, shots: tuple[Shot, ...]) -> tuple[Shot, ...]:
        names = [shot.name for shot in shots]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"every shot needs a name of its own (found more than once: {', '.join(twice)})")
        return shots

    @model_validator(mode="after")
    def _archetypes_exist(self) -> Self:
        try:
            names = self.table.names
        except FaultAt as fault:
            raise FaultAt(str(fault), ("archetypes", *fault.at)) from None
        for number, shot in enumerate(self.shots):
            for name in (shot.when and shot.when.archetype) or ():
                if name not in names:
                    raise FaultAt(
                        f"found {name!r}{did_you_mean(name, names)} (allowed: {', '.join(names)})",
                        ("shots", number, "when", "archetype"),
                    )
        return self

    @cached_property
    def table(self) -> Archetypes:
        """All archetypes, with what this list says of them."""
        return Archetypes(self.archetypes)

    def choose(self, product: Product) -> Choice:
        """The product's archetype, and why."""
        return self.table.choose(product.category)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(shot.name for shot in self.shots)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over what the list says; comments, quoting, layout and spelled-out defaults do not change it."""
        said = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(said.encode()).hexdigest()

    def select(self, names: Iterable[str]) -> ShotList:
        """Only the named shots, in the order of the list.

        Raises:
            ConfigError: a name is not in the list, or none is given.
        """
        wanted = list(names)
        unknown = [name for name in wanted if name not in self.names]
        if unknown or not wanted:
            found = "; ".join(f"there is no shot {name!r}{did_you_mean(name, self.names)}" for name in unknown)
            raise ConfigError(
                Code.SHOTS_INVALID, f"{found or 'no shot was named'} (the list has: {', '.join(self.names)})"
            )
        return self._with(shot for shot in self.shots if shot.name in wanted)

    def without_photos(self) -> ShotList:
        """The same list for a wire format that cannot send photos: shots that need one then refuse every product."""
        return self._with(shot.model_copy(update={"references": 0}) for shot in self.shots)

    def _with(self, shots: Iterable[Shot]) -> ShotList:
        """Not a copy, which would keep this list's hash."""
        return ShotList.model_construct(version=self.version, archetypes=self.archetypes, shots=tuple(shots))


def _matches(category: str, pattern: str) -> bool:
    category, pattern = category.casefold(), pattern.casefold()
    return fnmatchcase(category, pattern) if set("*?[") & set(pattern) else category.startswith(pattern)
