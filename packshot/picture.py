"""What of a product decides its pictures: the same hashes, whatever else changes in the catalog.

Not the keys of its jobs: those also change with the shot list, the model, the wire format, a choice of shots, and with
a photo that cannot be reached for a day. None of that is a change of the product.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from packshot.catalog.model import Product
from packshot.db.catalog_diff import UNREAD, Picture
from packshot.shots import ImageJob
from packshot.shots.product_text import ProductText


def picture_of(product: Product, texts: ProductText, jobs: Sequence[ImageJob]) -> Picture:
    """Hashes of the ``texts`` as prompts see them (no SKU, price, stock, status or address), and of the photos that
    its ``jobs`` send: of the photos' bytes, wherever they lie. Pure."""
    read = {photo.source: photo.sha256 for job in jobs for photo in job.references}
    unread = {photo for job in jobs for photo in (*job.missing_references, *job.left_out)}
    refs = tuple(dict.fromkeys(product.image_refs))
    # Each shot sends the first so many photos.
    asked = [ref for ref in refs if ref in read or ref in unread]
    return {
        "title": _hash(texts.title),
        "description": _hash(texts.description),
        "category": _hash_of_shared(texts.category),
        "brand": _hash_of_shared(texts.brand),
        "attributes": _hash("\n".join(texts.attribute_lines)),
        "photos": [read[ref][:16] if ref in read else UNREAD for ref in asked],
        "all_photos": len(asked) == len(refs),
    }


def _hash(text: str) -> str:
    """Short, because each product has five; empty for nothing."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest() if text else ""


_hash_of_shared = lru_cache(maxsize=4096)(_hash)
"""For texts that many products share."""
