"""Archetypes: what is known about kinds of products, and how a product's category leads to one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from packshot.did_you_mean import did_you_mean
from packshot.errors import Code
from packshot.yaml_file import FaultAt, Grammar, parse_yaml

GENERIC = "generic"
"""The archetype of a product whose category says nothing."""

_STRICT = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)
_MAX_TEXT = 1000
_REMEMBERED = 4096  # categories; many products share one

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$", max_length=40)]
Words = Annotated[str, Field(min_length=1, max_length=_MAX_TEXT)]
Percent = Annotated[int, Field(ge=10, le=100)]
Steps = tuple[str, ...]


class Archetype(BaseModel):
    """How one kind of product is shown. The fields are what prompts call ``archetype.pose`` and so on."""

    model_config = _STRICT

    name: Slug
    pose: Words
    angle: Words
    light: Words
    keep: Words
    scene: Words
    surface: Words
    closeup: Words
    share: Percent
    """Of the frame, in a packshot."""
    person: bool
    """May somebody be in the lifestyle picture?"""

    def __hash__(self) -> int:
        """Asked for several times for each job, so not of all its texts; equal ones have equal names."""
        return hash(self.name)


class ArchetypeEntry(BaseModel):
    """What a shot list says of one archetype. What it leaves out stays as it is, or is as ``like``'s."""

    model_config = _STRICT

    like: Slug | None = None
    """For a new archetype: the one whose texts it takes over; generic when it says nothing."""
    categories: tuple[str, ...] = ()
    pose: Words | None = None
    angle: Words | None = None
    light: Words | None = None
    keep: Words | None = None
    scene: Words | None = None
    surface: Words | None = None
    closeup: Words | None = None
    share: Percent | None = None
    person: bool | None = None

    @field_validator("categories")
    @classmethod
    def _categories_have_words(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        for number, category in enumerate(categories):
            if not all(steps_of(category)):
                raise FaultAt(f"{category!r} holds a step without a word; write it like `Shoes > Boots`", (number,))
        return categories

    @property
    def said(self) -> dict[str, object]:
        """The fields of the archetype that it changes."""
        return self.model_dump(exclude_none=True, exclude={"like", "categories"})


Entries = Mapping[Slug, ArchetypeEntry]


@dataclass(frozen=True, slots=True)
class Choice:
    """An archetype for a product, and the entry of its categories that led to it; empty: none did."""

    archetype: Archetype
    entry: str
    category: str

    @property
    def why(self) -> str:
        """A sentence for people."""
        if self.entry:
            return f"{self.archetype.name}: its category {self.category!r} holds {self.entry!r}"
        if self.category:
            return f"{self.archetype.name}: no archetype has a word of its category {self.category!r}"
        return f"{self.archetype.name}: it has no category"


class Archetypes:
    """The archetypes that come with packshot, and what a shot list changes of them."""

    def __init__(self, own: Entries | None = None) -> None:
        """Raises FaultAt: a change takes over the texts of an archetype that is not there."""
        self.own = own or {}
        packaged = packaged_entries()
        self._all = {name: Archetype.model_validate(entry.said | {"name": name}) for name, entry in packaged.items()}
        for name, entry in self.own.items():
            self._all[name] = self._changed(name, entry)
        self._chosen: dict[str, Choice] = {}
        self._by_steps: dict[Steps, tuple[str, str]] = {}
        for name, entry in [
            *packaged.items(),
            *self.own.items(),
        ]:  # the shot list's entries take the place of equal ones
            self._by_steps |= {steps_of(category): (name, category) for category in entry.categories}

    def _changed(self, name: str, entry: ArchetypeEntry) -> Archetype:
        if entry.like and name in self._all:
            raise FaultAt(
                f"comes with packshot, so it cannot be like {entry.like!r}; change its texts one by one", (name, "like")
            )
        base = self._all.get(entry.like or (name if name in self._all else GENERIC))
        if base is None:
            raise FaultAt(
                f"there is no archetype {entry.like!r} before it{did_you_mean(str(entry.like), self._all)} "
                f"(there are: {', '.join(self._all)})",
                (name, "like"),
            )
        return base.model_copy(update=entry.said | {"name": name})

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._all)

    def __getitem__(self, name: str) -> Archetype:
        return self._all[name]

    def entries_of(self, name: str) -> tuple[str, ...]:
        """The categories that lead to this archetype."""
        return tuple(category for owner, category in self._by_steps.values() if owner == name)

    def choose(self, category: str) -> Choice:
        """The archetype of a product of this category, see archetypes.yaml for the rule."""
        choice = self._chosen.get(category)
        if choice is None:
            if len(self._chosen) >= _REMEMBERED:
                self._chosen.clear()
            choice = self._chosen[category] = self._choose(category)
        return choice

    def _choose(self, category: str) -> Choice:
        for path in category.split(";"):  # shops that put a product into several categories
            steps = steps_of(path)
            for end in range(len(steps), 0, -1):
                for start in range(max(0, end - self._longest), end):
                    if found := self._by_steps.get(steps[start:end]):
                        return Choice(self._all[found[0]], found[1], category)
        return Choice(self._all[GENERIC], "", category)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_steps))


def steps_of(category: str) -> Steps:
    """The steps of a category path, in the one spelling in which they are compared."""
    return tuple(_spelled(step) for step in re.split(r"[>/|]", category))


def _spelled(step: str) -> str:
    words = re.split(r"[\s_&,-]+", unicodedata.normalize("NFKC", step).casefold())
    return " ".join(word.removesuffix("s") for word in words if word not in ("", "and"))


class _Packaged(BaseModel):
    model_config = _STRICT

    archetypes: Entries


@lru_cache(maxsize=1)
def packaged_entries() -> Entries:
    """What archetypes.yaml says."""
    text = resources.files("packshot.shots").joinpath("archetypes.yaml").read_text("utf-8")
    grammar = Grammar("the archetypes", Code.SHOTS_INVALID, "`archetypes:`", model_at=lambda _: ArchetypeEntry)
    return parse_yaml(text, "archetypes.yaml", _Packaged, grammar).archetypes
