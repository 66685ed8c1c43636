"""Product x shot x variant -> image jobs, each with the key that keeps it from being bought twice. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from typing import NamedTuple

from packshot.catalog.model import Product
from packshot.errors import Code, PackshotError
from packshot.shots.archetypes import Archetype
from packshot.shots.channels import Framing, framing
from packshot.shots.model import ImageJob, Reference
from packshot.shots.product_text import ProductText
from packshot.shots.prompt import render_prompt
from packshot.shots.shot_list import Shot

KEY_VERSION = 1
"""Part of every key. Raising it makes every picture of every catalog a new one, to be bought again."""

_CONTROLS = bytes(range(ord("\n"))) + bytes(range(ord("\n") + 1, ord(" ")))
"""Those that JSON escapes and that prompts do without."""


def jobs_for(
    product: Product,
    shot: Shot,
    archetype: Archetype,
    references: Sequence[Reference],
    missing: Collection[str],
    default_model: str,
    shot_list_hash: str,
    without_missing: bool = False,
    texts: ProductText | None = None,
) -> list[ImageJob]:
    """The pictures this shot asks for of this product: one job a variant, none when the shot is not for the product.

    ``archetype`` is the product's, see :meth:`ShotList.choose`.
    ``references`` and ``missing`` say how reading the product's photos went; together they name at least those of
    ``shot.photos_of(product)`` (as ``Reference.source``, or by name), and may hold more.

    ``texts``: the product's, where the caller has made them already.

    A job that lacks a photo is to be held, and its key names the photo. ``without_missing``: it is made without that
    photo, as if the catalog did not have it; so it is another picture than the one with the photo.

    Raises:
        PackshotError: UNRENDERABLE, or PHOTO_NEEDED: the shot needs a photo and there is none to send.
        ValueError: a photo the shot asks for is in neither list, a mistake of the caller.
    """
    if not shot.applies_to(product, archetype.name):
        return []
    photos = _photos(product, shot, references, missing, without_missing)
    model = shot.model or default_model
    frame, wording = _worded(shot.prompt, shot.channel, archetype)
    facts = texts or ProductText(product)
    jobs = []
    for variant in range(1, shot.variants + 1):
        prompt = render_prompt(
            facts,
            shot=shot.name,
            template=shot.prompt,
            variant=variant,
            aspect_ratio=shot.aspect_ratio,
            reference_count=len(photos.hashes),
            archetype=archetype,
            framing=frame,
        )
        key = job_key(
            catalog=product.catalog,
            product_key=product.product_key,
            variant_key=product.variant_key,
            shot=shot.name,
            variant=variant,
            model=model,
            prompt=prompt,
            image_size=shot.image_size,
            aspect_ratio=shot.aspect_ratio,
            reference_hashes=photos.hashes,
        )
        job = ImageJob(
            key=key,
            catalog=product.catalog,
            product_key=product.product_key,
            variant_key=product.variant_key,
            shot=shot.name,
            variant=variant,
            model=model,
            prompt=prompt,
            aspect_ratio=shot.aspect_ratio,
            image_size=shot.image_size,
            references=photos.read,
            shot_list_hash=shot_list_hash,
            template_hash=wording,
            template_version=shot.template_version,
            missing_references=photos.missing,
            left_out=photos.left_out,
        )
        jobs.append(job)
    return jobs


class _Photos(NamedTuple):
    """The photos that a shot sends of a product."""

    hashes: tuple[str, ...] = ()
    """As the key has them: of each that is sent, one that could not be read by its name."""
    read: tuple[Reference, ...] = ()
    missing: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


_NO_PHOTOS = _Photos()


def _photos(
    product: Product, shot: Shot, references: Sequence[Reference], missing: Collection[str], without_missing: bool
) -> _Photos:
    wanted = shot.photos_of(product)
    if not wanted:
        if shot.needs_reference:
            raise _needed(product, shot, "the product has none" if shot.references else "this wire format sends none")
        return _NO_PHOTOS
    read = {reference.source: reference for reference in references}
    unread = tuple(photo for photo in wanted if photo not in read)
    if not set(unread) <= set(missing):
        raise ValueError(f"photos neither read nor reported missing: {sorted(set(unread) - set(missing))}")
    left_out = unread if without_missing else ()
    sent = [photo for photo in wanted if photo not in left_out]
    if shot.needs_reference and not sent:
        raise _needed(product, shot, f"none can be read: {', '.join(unread)}")
    return _Photos(
        hashes=tuple([read[photo].sha256 if photo in read else f"missing:{photo}" for photo in sent]),
        read=tuple([read[photo] for photo in sent if photo in read]),
        missing=() if without_missing else unread,
        left_out=left_out,
    )


def _needed(product: Product, shot: Shot, why: str) -> PackshotError:
    return PackshotError(Code.PHOTO_NEEDED, f"product {product.name!r}, shot {shot.name!r} needs a photo, but {why}")


def job_key(
    *,
    catalog: str,
    product_key: str,
    variant_key: str,
    shot: str,
    variant: int,
    model: str,
    prompt: str,
    image_size: str,
    aspect_ratio: str,
    reference_hashes: Sequence[str],
) -> str:
    """SHA-256 (hex) over everything that decides the picture and nothing else.

    The shot list's hash is left out on purpose: a changed comment or another shot must not buy this picture again.
    """
    # As JSON no two lists read the same. Half surrogate pairs stay themselves too, which \u escapes would merge. The
    # list is put together here because the encoder takes as long as the SHA-256 does.
    texts = map(_quoted, (catalog, product_key, variant_key, shot, model, image_size, aspect_ratio))
    of, key, of_variant, name, by, size, ratio = texts
    hashes = ",".join(map(_quoted, reference_hashes))
    before = f"[{KEY_VERSION},{of},{key},{of_variant},{name},{variant},{by},"
    after = f",{size},{ratio},[{hashes}]]"
    return hashlib.sha256(_utf8(before) + _quoted_utf8(prompt) + _utf8(after)).hexdigest()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _quoted_utf8(text: str) -> bytes:
    """As ``_quoted``, which looks at the characters one by one: for a prompt, that takes longer than all else here."""
    said = _utf8(text)
    if len(said.translate(None, _CONTROLS)) < len(said):
        return _utf8(_quoted(text))
    return b'"%b"' % said.replace(b"\\", rb"\\").replace(b'"', rb"\"").replace(b"\n", rb"\n")


@lru_cache(maxsize=1024)
def _worded(template: str, channel: str | None, archetype: Archetype) -> tuple[Framing, str]:
    """What all products of an archetype have in common in a shot."""
    frame = framing(channel, archetype.share)
    return frame, template_hash(template, archetype, frame)


def template_hash(template: str, archetype: Archetype, frame: Framing) -> str:
    """Beginning of the SHA-256 (12 hex digits) over all that words a prompt, but the product's own facts.

    Pictures with equal hashes were asked for in the same words.
    """
    words = [template, archetype.model_dump(), frame.background, frame.share]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:12]
