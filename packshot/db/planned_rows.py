"""The rows of a batch that a run plans: products as they are now, jobs, and the holds that it settles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from packshot.catalog.model import Product as CatalogProduct
from packshot.db.catalog_diff import Identity, Known, Picture, identity, judge, known_products, note_changes, renewed
from packshot.db.tables import ImageJob, Product
from packshot.db.types import JobState
from packshot.db.upsert import chunks, upsert
from packshot.errors import Code
from packshot.shots.model import ImageJob as PlannedJob

IDENTITY = ("catalog", "product_key", "variant_key")
_FROM_CATALOG = ("sku", "title", "category", "brand", "attributes", "image_refs")
_RENEWED = (*_FROM_CATALOG, "picture", "gone_run_id")


def store_products(
    session: Session, run_id: int, products: Sequence[CatalogProduct], pictures: Mapping[Identity, Picture]
) -> tuple[dict[Identity, int], dict[str, int]]:
    """Add or renew the products. Returns their ids, and what is different in the catalog, by column of Run."""
    of_key = {identity(product): product for product in products}
    known = known_products(session, of_key)
    judged = {key: judge(known.get(key), pictures[key]) for key in of_key if key in pictures}
    rows = [
        _product_row(product, run_id, _picture(known.get(key), pictures.get(key))) for key, product in of_key.items()
    ]
    if rows:
        session.execute(upsert(session, Product, IDENTITY, _RENEWED, ["last_run_id"]), rows)
    known |= known_products(session, of_key.keys() - known.keys())
    ids = {key: found.id for key, found in known.items()}
    return ids, note_changes(session, run_id, judged, ids)


def settle_holds(session: Session, jobs: Sequence[PlannedJob], product_ids: Sequence[int], now: datetime) -> None:
    """Of what is held for a photo, keep what is planned so again, with today's reason. The rest has found its photo, or
    does without: other jobs stand for these pictures now. ``product_ids``: of the jobs, in their order."""
    waits = (col(ImageJob.state) == JobState.HELD) & (col(ImageJob.code) == Code.REFERENCE_UNAVAILABLE)
    over = (col(ImageJob.state) == JobState.FAILED) & (col(ImageJob.code) == Code.SUPERSEDED)
    planned = {(product_id, job.shot, job.variant): job for product_id, job in zip(product_ids, jobs, strict=True)}
    for chunk in chunks(sorted(set(product_ids))):
        rows = session.exec(select(ImageJob).where(col(ImageJob.product_id).in_(chunk), waits | over).with_for_update())
        for row in rows:
            job = planned.get((row.product_id, row.shot, row.variant))
            if job is None:
                continue
            if job.key != row.key:
                if row.state == JobState.HELD:
                    row.state, row.code, row.updated_at = JobState.FAILED, Code.SUPERSEDED, now
                continue
            if row.state != JobState.HELD:
                row.state, row.code, row.updated_at = JobState.HELD, Code.REFERENCE_UNAVAILABLE, now
            row.message = job.remark


def _picture(known: Known | None, now: Picture | None) -> Picture:
    """What to remember of what decides a product's pictures."""
    before = known.picture if known else {}
    return before if now is None else renewed(before, now)


def _product_row(product: CatalogProduct, run_id: int, picture: Picture) -> dict[str, Any]:
    row = {name: getattr(product, name) for name in (*IDENTITY, *_FROM_CATALOG)}
    return row | {
        "attributes": dict(product.attributes), "image_refs": list(product.image_refs), "picture": dict(picture),
        "first_run_id": run_id, "last_run_id": run_id, "gone_run_id": None,
    }  # fmt: skip


_AS_PLANNED = (
    "key", "shot", "variant", "model", "prompt", "aspect_ratio", "image_size", "shot_list_hash", "template_hash",
    "template_version",
)  # fmt: skip


def job_row(job: PlannedJob, product: CatalogProduct, ids: Mapping[Identity, int], now: datetime) -> dict[str, Any]:
    """A new job's row. Plain values: making them by way of the model takes a fifth of all planning."""
    missing = job.missing_references
    photos = [{"source": photo.source, "sha256": photo.sha256, "mime": photo.mime} for photo in job.references]
    return {name: getattr(job, name) for name in _AS_PLANNED} | {
        "product_id": ids[identity(product)],
        "reference_photos": photos,
        "state": JobState.HELD if missing else JobState.PLANNED,
        "code": Code.REFERENCE_UNAVAILABLE if missing else None,
        "message": job.remark if missing else "",
        "remark": "" if missing else job.remark,
        "created_at": now,
        "updated_at": now,
    }
