"""What a person should know about a catalog before anything is bought: how it was read, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from packshot.catalog import CatalogReader, Counts, Product, Reject
from packshot.catalog.suggest import suggestion_for
from packshot.catalog.tally import Tally
from packshot.errors import Code, code_of
from packshot.shots.product_text import ProductText

FIRST = 3
"""Products shown; and rejects of each code."""
LONG_TITLE = 150
"""Characters that Google Merchant Center takes (support.google.com/merchants/answer/6324415)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A product as prompts see it."""

    name: str
    line: int
    facts: str
    """The block of facts, whole; what a shot adds to it is not there."""
    photos: tuple[str, ...]


@dataclass(slots=True)
class Refused:
    """The rejects of one code."""

    count: int = 0
    first: list[Reject] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class File:
    """One file of the catalog, as it was understood."""

    label: str
    kind: str
    format: str
    encoding: str
    delimiter: str
    header_line: int
    """0: it has none, or not one line of its own."""
    mapping: dict[str, list[str]]
    unused: list[str]
    """Columns of the header that feed no target and no condition."""


@dataclass(slots=True)
class Inspection:
    """All of it. ``warnings`` are sentences with counts and examples; ``suggested`` maps what feeds no target yet."""

    name: str
    files: list[File]
    counts: Counts
    first: list[Shown] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refused: dict[Code, Refused] = field(default_factory=dict)
    suggested: dict[str, list[str]] = field(default_factory=dict)

    @property
    def equation(self) -> str:
        """Every record has its place."""
        c = self.counts
        return (
            f"{c.records:,} records = {c.accepted:,} accepted + {c.rejected:,} rejected + {c.blank:,} blank + "
            f"{c.continuation:,} continuation"
        )


def inspect_catalog(reader: CatalogReader, keep: Callable[[Reject], object] | None = None) -> Inspection:
    """Read the catalog once, in constant memory; ``keep`` gets each reject in file order."""
    found = Inspection(reader.name, _files(reader), Counts())
    told = Tally()
    for item in reader:
        if isinstance(item, Reject):
            _take_reject(found, told, item)
            if keep:
                keep(item)
        else:
            _look_at(told, item)
            if len(found.first) < FIRST:
                found.first.append(Shown(item.name, item.line, ProductText(item).facts(""), item.image_refs))
    found.counts = reader.counts
    found.warnings = told.notes + reader.notes
    found.suggested = suggestion_for(reader.parts[0].table, reader.mapping_used)
    return found


def facts_of(found: Inspection) -> dict[str, Any]:
    """The inspection as plain values."""
    counts = found.counts
    return {
        "catalog": found.name,
        "files": [{name: getattr(file, name) for name in File.__slots__} for file in found.files],
        "counts": {name: getattr(counts, name) for name in Counts.__slots__},
        "equation": found.equation,
        "first": [{name: getattr(shown, name) for name in Shown.__slots__} for shown in found.first],
        "warnings": found.warnings,
        "rejects": [
            {
                "code": str(code),
                "count": group.count,
                "next_step": code_of(code).next_step,
                "first": [{"line": r.line, "key": r.key, "source": r.source, "reason": r.message} for r in group.first],
            }
            for code, group in found.refused.items()
        ],
        "suggested": found.suggested,
    }


def _files(reader: CatalogReader) -> list[File]:
    return [
        File(
            label=part.source.label,
            kind=part.table.kind,
            format=part.format.NAME,
            encoding=part.table.encoding,
            delimiter=part.table.delimiter,
            header_line=next((row.line for row in part.table.top() if row.cells == part.table.header), 0),
            mapping=dict(part.mapping),
            unused=_unused(part.table.header, [*part.mapping.values(), [*reader.options.where]]),
        )
        for part in reader.parts
    ]


def _unused(header: list[str], uses: Iterable[list[str]]) -> list[str]:
    used = {name for names in uses for name in names}
    # Mappings of JSON are paths: the key they begin with is used.
    used |= {name.replace("[]", "").split(".")[0] for name in used}
    return [name for name in header if name and name not in used]


def _look_at(told: Tally, product: Product) -> None:
    if not product.image_refs:
        told.remark("no photo, product", product.name)
    if len(product.title) > LONG_TITLE:
        told.remark(f"title longer than {LONG_TITLE} characters, product", product.name)
    if not product.description:
        told.remark("no description, product", product.name)


def _take_reject(found: Inspection, told: Tally, reject: Reject) -> None:
    group = found.refused.setdefault(reject.code, Refused())
    group.count += 1
    if len(group.first) < FIRST:
        group.first.append(reject)
    if reject.code is Code.DUPLICATE_KEY:
        same = "by the same record" in reject.message
        what = "the same record again" if same else "a key used again, by a record that differs"
        told.remark(f"{what}, line", f"{reject.line} ({reject.key})")
