"""A catalog file in, products and rejects out: ``open_catalog(path, options)``.

Reads Shopify exports, CSV and tab-separated text of any shop, and JSON lines, as a stream. Whatever is not understood
comes back as a :class:`Reject` with a code and a sentence; nothing is skipped in silence.
"""

from packshot.catalog.model import Counts, Product, Reject
from packshot.catalog.options import CatalogOptions
from packshot.catalog.reader import CatalogReader, open_catalog

__all__ = ["CatalogOptions", "CatalogReader", "Counts", "Product", "Reject", "open_catalog"]
