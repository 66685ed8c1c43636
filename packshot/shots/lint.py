"""What will go wrong with a shot list although it can be read: found by rendering it for made-up products. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from packshot.catalog.model import Product
from packshot.errors import PackshotError
from packshot.shots.archetypes import GENERIC, Archetype
from packshot.shots.channels import channels, framing
from packshot.shots.product_text import (
    MAX_ATTRIBUTES,
    MAX_DESCRIPTION,
    MAX_LINE,
    MAX_NAME,
    MAX_TITLE,
    ProductText,
    attribute_name,
)
from packshot.shots.prompt import attributes_of, render_prompt, variables_of
from packshot.shots.shot_list import Shot, ShotList, When

_SHOWN = 5
_OF_THE_PRODUCT = {"facts", "title", "description", "category", "brand", "attributes"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend. ``shot`` is empty where it is about the list as a whole."""

    shot: str
    message: str

    def __str__(self) -> str:
        return f"shot {self.shot!r}: {self.message}" if self.shot else self.message


def lint(shots: ShotList) -> list[Finding]:
    """What the list itself shows, in the order of the list."""
    found = [Finding("", message) for message in _archetypes(shots)]
    for shot in shots.shots:
        found += [Finding(shot.name, message) for message in (*_when(shots, shot), *_prompt(shots, shot))]
    return found + [Finding(shot.name, message) for shot, message in _twins(shots)]


# --- the table and the conditions -----------------------------------------------------------------------------------
def _archetypes(shots: ShotList) -> Iterator[str]:
    for name in shots.archetypes:
        if name != GENERIC and not shots.table.entries_of(name):
            yield f"archetype {name!r} is for no product: no category leads to it (give it `categories`)"


def _when(shots: ShotList, shot: Shot) -> Iterator[str]:
    when = shot.when or When()
    for name in when.archetype or ():
        if name != GENERIC and not shots.table.entries_of(name):
            yield f"`when` can never hold for the archetype {name!r}: no category leads to it"
    if when.archetype and when.category:
        lead = {pattern: shots.table.choose(pattern).archetype.name for pattern in when.category if "*" not in pattern}
        if lead and not set(lead.values()) & set(when.archetype):
            leads = ", ".join(f"{pattern!r} is {name}" for pattern, name in lead.items())
            yield f"`when` wants {' or '.join(when.archetype)}, and its categories are of other archetypes: {leads}"
    names = Counter(attribute_name(name) for name in when.attributes or ())
    for name, times in names.items():
        if not name:
            yield "`when` can never hold: an attribute's name needs a letter or a digit"
        elif times > 1:
            yield f"`when` can never hold: it names the attribute {name!r} in {times} spellings; join their values"


# --- prompts, rendered ----------------------------------------------------------------------------------------------
def _prompt(shots: ShotList, shot: Shot) -> Iterator[str]:
    used = variables_of(shot.prompt)
    if not used & _OF_THE_PRODUCT:
        yield "the prompt says nothing of the product: print {{ facts }}"
    for name in sorted(used & {"title", "description"}):
        yield f"{{{{ {name} }}}} outside the facts: its words could pass for instructions; print {{{{ facts }}}} alone"
    if shot.channel:
        preset = channels()[shot.channel]
        if preset.background and "background" not in used:
            yield f"the channel {shot.channel} has a rule for the background: print {{{{ background }}}}"
        if preset.share and "frame_share" not in used:
            yield f"the channel {shot.channel} has a rule for the share of the frame: print {{{{ frame_share }}}}"
    yield from _renderings(shots, shot)


def _renderings(shots: ShotList, shot: Shot) -> Iterator[str]:
    """A product of which next to nothing is known, and one of which everything is, with and without photos."""
    bare, full = _bare(shot), _full(shot)
    problems: dict[str, None] = {}
    texts: dict[bool, list[str]] = {False: [], True: []}
    for archetype in _archetypes_of(shots, shot):
        for product, who in ((bare, "a product of which only the title is known"), (full, "a product with long texts")):
            for photos in {shot.references, 1 if shot.needs_reference else 0}:
                try:
                    texts[photos > 0].append(_render(shot, product, archetype, photos))
                except PackshotError as error:
                    problems[f"{who} gets no picture: {error.message.partition(': ')[2]}"] = None
    yield from problems
    without, with_photos = (any("image 1" in text.casefold() for text in texts[sent]) for sent in (False, True))
    if texts[True] and not with_photos:
        yield "photos are sent, and the prompt does not say what for: tell what `image 1` is"
    if texts[False] and without:
        yield "it speaks of `image 1` also when no photo is sent: ask {% if reference_count %}, or set needs_reference"


def _twins(shots: ShotList) -> Iterator[tuple[Shot, str]]:
    """Shots that would buy the same picture twice."""
    for one, other in combinations(shots.shots, 2):
        same_call = [(s.aspect_ratio, s.image_size, s.model, s.references) for s in (one, other)]
        common = [archetype for archetype in _archetypes_of(shots, one) if archetype in _archetypes_of(shots, other)]
        if same_call[0] == same_call[1] and common and _may_meet(one.when, other.when):
            try:
                alike = all(_texts_of(one, archetype) == _texts_of(other, archetype) for archetype in common)
            except PackshotError:
                continue  # told above
            if alike:
                yield other, f"it renders the same prompts as {one.name!r}: the same picture would be bought twice"


def _texts_of(shot: Shot, archetype: Archetype) -> list[str]:
    named = shot.model_copy(update={"name": "any"})  # the facts print the shot's name
    return [_render(named, product, archetype, shot.references) for product in (_bare(shot), _full(shot))]


def _render(shot: Shot, product: Product, archetype: Archetype, photos: int) -> str:
    return render_prompt(
        ProductText(product),
        shot=shot.name,
        template=shot.prompt,
        variant=1,
        aspect_ratio=shot.aspect_ratio,
        reference_count=photos,
        archetype=archetype,
        framing=framing(shot.channel, archetype.share),
    )


def _archetypes_of(shots: ShotList, shot: Shot) -> list[Archetype]:
    names = (shot.when and shot.when.archetype) or shots.table.names
    return [shots.table[name] for name in names]


def _may_meet(one: When | None, other: When | None) -> bool:
    """Could both hold for one product? True in doubt, where nothing but archetypes is asked for."""
    pairs = [(getattr(one, name, None), getattr(other, name, None)) for name in ("category", "attributes")]
    return all(a is None or b is None or a == b for a, b in pairs)


def _bare(shot: Shot) -> Product:
    """Only what the shot's own conditions promise."""
    return Product("lint", "product", title="Product", attributes=_promised(shot))


def _full(shot: Shot) -> Product:
    """Everything, as long as it may be."""
    names = sorted({*attributes_of(shot.prompt), *_promised(shot)})
    more = [f"x{number:02}".ljust(MAX_NAME, "x") for number in range(MAX_ATTRIBUTES)]
    attributes: Mapping[str, str] = dict.fromkeys([*names, *more][:MAX_ATTRIBUTES], "x" * MAX_LINE)
    return Product(
        "lint", "product", title="x" * MAX_TITLE, description="x" * MAX_DESCRIPTION, category="x" * MAX_LINE,
        brand="x" * MAX_LINE, attributes={**attributes, **_promised(shot)},
    )  # fmt: skip


def _promised(shot: Shot) -> dict[str, str]:
    wanted = (shot.when and shot.when.attributes) or {}
    return {name: values[0] for name, values in wanted.items()}


# --- against a catalog ----------------------------------------------------------------------------------------------
@dataclass(slots=True)
class CatalogLint:
    """The list against a catalog's products, in constant memory but for the categories' names."""

    shots: ShotList
    products: int = 0
    _applied: Counter[str] = field(default_factory=Counter)
    _entries: Counter[str] = field(default_factory=Counter)
    _archetypes: Counter[str] = field(default_factory=Counter)
    _unknown: Counter[str] = field(default_factory=Counter)

    def add(self, products: Iterable[Product]) -> None:
        for product in products:
            choice = self.shots.choose(product)
            self.products += 1
            self._archetypes[choice.archetype.name] += 1
            if choice.entry:
                self._entries[choice.entry] += 1
            else:
                self._unknown[product.category] += 1
            for shot in self.shots.shots:
                self._applied[shot.name] += shot.applies_to(product, choice.archetype.name)

    @property
    def findings(self) -> list[Finding]:
        """Shots and words that no product of the catalog has a use for."""
        found = [
            Finding(shot.name, f"`when` holds for none of the {self.products} products of the catalog")
            for shot in self.shots.shots
            if not self._applied[shot.name]
        ]
        for name, entry in self.shots.archetypes.items():
            unused = [category for category in entry.categories if not self._entries[category]]
            found += [Finding("", f"archetype {name!r}: {one!r} fits no category of the catalog") for one in unused]
        return found

    @property
    def notes(self) -> Sequence[str]:
        """How many products are of which archetype, and which categories lead to none."""
        notes = [f"{number} products are {name}" for name, number in self._archetypes.most_common()]
        unknown = [f"{category or 'none'!r} ({number})" for category, number in self._unknown.most_common(_SHOWN)]
        if unknown:
            more = f" and {len(self._unknown) - _SHOWN} more" if len(self._unknown) > _SHOWN else ""
            notes.append(f"categories that no archetype knows: {', '.join(unknown)}{more}")
        return notes
