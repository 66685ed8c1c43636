"""What a run would send for one product: prompts and requests, to the letter, without sending anything."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packshot.apiyi.model import ImageRequest
from packshot.apiyi.sizes import pixels
from packshot.apiyi.wire import wire_for
from packshot.catalog.model import Product, Reject
from packshot.db.runs import PlannedProduct
from packshot.errors import Code
from packshot.options import RunOptions
from packshot.plan import Planner
from packshot.settings import Settings
from packshot.shots import ImageJob, Shot
from packshot.shots.channels import channels

_PER_PRODUCT = {Code.UNRENDERABLE, Code.PHOTO_NEEDED}


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of the product, as it would be ordered. ``request`` is the body, with photos named, not spelled out."""

    job: ImageJob
    channel: str
    """What its channel wants of it; empty without one."""
    url: str
    request: dict[str, Any]

    @property
    def held(self) -> str:
        """Why nothing would be bought; empty where it would."""
        missing = self.job.missing_references
        return f"photo not readable: {', '.join(missing)}" if missing else ""

    def facts(self) -> dict[str, Any]:
        job = self.job
        width, height = pixels(job.aspect_ratio, job.image_size)
        return {
            "shot": job.shot, "variant": job.variant, "key": job.key, "model": job.model,
            "aspect_ratio": job.aspect_ratio, "image_size": job.image_size, "width": width, "height": height,
            "template_version": job.template_version, "template_hash": job.template_hash, "channel": self.channel,
            "references": [reference.source for reference in job.references], "held": self.held,
            "prompt": job.prompt, "url": self.url, "request": self.request,
        }  # fmt: skip


@dataclass(slots=True)
class Preview:
    """A product (or one variant of it), its archetype, and what each shot makes of it."""

    product: Product
    archetype: str
    why: str
    pictures: list[Picture] = field(default_factory=list)
    refused: list[Reject] = field(default_factory=list)
    not_for_it: list[str] = field(default_factory=list)
    """Shots whose `when` does not hold."""

    def facts(self) -> dict[str, Any]:
        return {
            "product_key": self.product.product_key, "variant_key": self.product.variant_key,
            "archetype": self.archetype, "why": self.why, "pictures": [picture.facts() for picture in self.pictures],
            "refused": [{"code": reject.code, "message": reject.message} for reject in self.refused],
            "not_for_it": self.not_for_it,
        }  # fmt: skip


def previews(settings: Settings, options: RunOptions) -> list[Preview]:
    """What a run with these options would order, of each product that they choose. Photos are read, as for a plan.

    Raises:
        ConfigError: as a plan does; also where the options' products are not in the catalog.
    """
    planner = Planner(settings, options)
    planned: list[PlannedProduct] = []
    refused: list[Reject] = []

    def keep(products: Sequence[PlannedProduct], rejects: Sequence[Reject], _pictures: object) -> None:
        planned.extend(products)
        refused.extend(reject for reject in rejects if reject.code in _PER_PRODUCT)

    planner.plan(lambda _: {}, keep)
    shots = {shot.name: shot for shot in planner.shots.shots}
    found = []
    for product, jobs in planned:
        choice = planner.shots.choose(product)
        preview = Preview(product, choice.archetype.name, choice.why)
        preview.refused = [
            reject for reject in refused if reject.record == product.record and reject.key == product.name
        ]
        preview.pictures = [_picture(settings, shots[job.shot], job) for job in jobs]
        preview.not_for_it = [
            name for name, shot in shots.items() if not shot.applies_to(product, choice.archetype.name)
        ]
        found.append(preview)
    return found


def _picture(settings: Settings, shot: Shot, job: ImageJob) -> Picture:
    photos = tuple((Path(reference.path), reference.mime) for reference in job.references)
    request = ImageRequest(job.prompt, job.model, job.aspect_ratio, job.image_size, photos)
    wire = wire_for(settings)
    names = iter(reference.source for reference in job.references)

    def named(part: dict[str, Any]) -> dict[str, Any]:
        if "inlineData" not in part:
            return part
        photo = base64.b64decode(part["inlineData"]["data"])
        told = f"<{next(names)}, {len(photo)} bytes, sha256 {hashlib.sha256(photo).hexdigest()}>"
        return part | {"inlineData": part["inlineData"] | {"data": told}}

    channel = channels()[shot.channel].description if shot.channel else ""
    body = json.loads(wire.body(request), object_hook=named)
    return Picture(job, channel, f"{settings.base_url}{wire.path(request)}", body)
