"""Which products a run is for, and what to say when what was asked for is not there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from packshot.catalog.model import Product
from packshot.errors import Code, ConfigError

SHOWN = 10  # categories that a message names
REMEMBERED = 1000  # categories kept for that; a catalog may have one for each product

Steps = tuple[str, ...]


class Selection:
    """Products by key or SKU, and categories; where both are given, a product must be among both.

    A category stands for all below it, as whole steps of its path: ``Home`` takes ``Home > Vases`` and not
    ``Homeware``. Case, and blanks around ``>``, ``/`` and ``|``, do not matter.
    """

    def __init__(self, products: Sequence[str], categories: Sequence[str]) -> None:
        self._products = set(products)
        self._categories = {name: _steps(name) for name in categories}
        self._unseen_products = set(products)
        self._unseen_categories = dict(self._categories)
        self._found: dict[str, None] = {}
        self.chosen = 0
        self.left_out = 0

    def takes(self, product: Product) -> bool:
        """Is the product asked for? Each product of the catalog is shown once."""
        if not self._products and not self._categories:
            self.chosen += 1
            return True
        names = {product.product_key, product.sku or product.product_key}
        path = _steps(product.category)
        under = [name for name, steps in self._categories.items() if path[: len(steps)] == steps]
        self._unseen_products -= names
        for name in under:
            self._unseen_categories.pop(name, None)
        if len(self._found) < REMEMBERED:
            self._found[product.category] = None
        taken = (not self._products or bool(names & self._products)) and (not self._categories or bool(under))
        self.chosen += taken
        self.left_out += not taken
        return taken

    def check(self) -> None:
        """To be called when the whole catalog was shown.

        Raises:
            ConfigError: something that was asked for is not in the catalog, or no product is all that was asked for.
        """
        if self._unseen_products:
            names = ", ".join(sorted(self._unseen_products))
            raise ConfigError(Code.CATALOG_INVALID, f"the catalog has no product with the key or SKU {names}")
        if self._unseen_categories:
            names = ", ".join(map(repr, self._unseen_categories))
            raise ConfigError(
                Code.CATALOG_INVALID, f"the catalog has no product in the category {names} (it has: {self._has()})"
            )
        if self._products and self._categories and not self.chosen:
            raise ConfigError(
                Code.CATALOG_INVALID,
                f"none of the products {', '.join(sorted(self._products))} is in the category "
                f"{' or '.join(map(repr, self._categories))}",
            )

    @property
    def note(self) -> str:
        """One sentence on what was left out; empty when nothing was."""
        if not self.left_out:
            return ""
        read = self.chosen + self.left_out
        return f"{self.left_out} of {read} products read are {Code.NOT_SELECTED}: the run is not for them"

    def _has(self) -> str:
        names = sorted(name for name in self._found if name)
        more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
        return ", ".join(names[:SHOWN] + more) or "no categories at all"


def _steps(category: str) -> Steps:
    return tuple(step.strip().casefold() for step in re.split(r"[>/|]", category))
