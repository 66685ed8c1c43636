"""What reading a catalog yields: products, rejects, and counts that add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from packshot.errors import Code


def product_name(product_key: str, variant_key: str) -> str:
    """``product_key`` or ``product_key/variant_key``: what people, log lines, task runs and pages call a product."""
    return f"{product_key}/{variant_key}" if variant_key else product_key


class Product(NamedTuple):
    """One sellable thing. Identified by (catalog, product_key, variant_key); ``sku`` may be missing or shared.

    All text is plain: HTML removed, entities decoded, control characters gone, blanks collapsed, lengths capped.
    """

    catalog: str
    product_key: str
    variant_key: str = ""
    sku: str | None = None
    title: str = ""
    description: str = ""
    category: str = ""
    brand: str = ""
    attributes: Mapping[str, str] = MappingProxyType({})
    image_refs: tuple[str, ...] = ()
    """The product's own photos, best first: http(s) URLs, or paths relative to the catalog file's folder."""
    status: str = ""
    price: Decimal | None = None
    """For people and exports; prompts never see it."""
    currency: str = ""
    """ISO 4217, upper case; empty when the catalog does not say."""
    source: str = ""
    record: int = 0
    line: int = 0

    @property
    def name(self) -> str:
        """How people and log lines call it."""
        return product_name(self.product_key, self.variant_key)


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was refused. ``record`` counts data records from 1; ``line`` is the physical line it began on."""

    source: str
    record: int
    line: int
    key: str | None
    code: Code
    message: str


@dataclass(slots=True)
class Counts:
    """records = accepted + rejected + blank + continuation, at any moment between two items.

    ``accepted`` counts records that became a product, ``continuation`` those that belong to a product of an earlier
    record (a further variant or image of it).
    """

    records: int = 0
    accepted: int = 0
    rejected: int = 0
    blank: int = 0
    continuation: int = 0

    @property
    def balanced(self) -> bool:
        return self.records == self.accepted + self.rejected + self.blank + self.continuation
