"""The rows of a batch that a run plans: products as they are now, jobs, and the holds that it settles."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from packshot.catalog.model import Product as CatalogProduct
from packshot.db.catalog_diff import (
    Change,
    Identity,
    Known,
    Picture,
    identity,
    judge,
    known_products,
    note_changes,
    renewed,
)
from packshot.db.tables import ImageJob, Product, table_of
from packshot.db.types import JobState
from packshot.db.upsert import chunks, upsert
from packshot.errors import Code
from packshot.shots.model import ImageJob as PlannedJob

IDENTITY = ("catalog", "product_key", "variant_key")
_RENEWED = ("sku", "title", "category", "brand", "attributes", "image_refs", "picture", "gone_run_id")


def store_products(
    session: Session, run_id: int, products: Sequence[CatalogProduct], pictures: Mapping[Identity, Picture]
) -> tuple[dict[Identity, int], set[int], dict[str, int]]:
    """Add or renew the products. Returns their ids, those of them that were known, and what is different in the
    catalog, by column of Run."""
    of_key = {identity(product): product for product in products}
    known = known_products(session, of_key)
    judged: dict[Identity, tuple[Change, str]] = {}
    written: list[dict[str, Any]] = []
    as_before: list[int] = []
    for key, product in of_key.items():
        before, now = known.get(key), pictures.get(key)
        as_json = "" if before is None or now is None else json.dumps(now)
        if now is not None:
            judged[key] = judge(before, now, as_json)
        if before is not None and as_json == before.picture_json and _is_as_before(product, before):
            as_before.append(before.id)
        else:
            written.append(_product_row(product, run_id, _picture(before, now)))
    if written:
        session.execute(upsert(session, Product, IDENTITY, _RENEWED, ["last_run_id"]), written)
    for chunk in chunks(as_before):
        session.connection().execute(_READ_AGAIN, {"of_run": run_id, "ids": chunk})
    added = known_products(session, of_key.keys() - known.keys())
    ids = {key: found.id for key, found in (known | added).items()}
    return ids, {found.id for found in known.values()}, note_changes(session, run_id, judged, ids)


def _is_as_before(product: CatalogProduct, known: Known) -> bool:
    """Would its row say the same again? Of what decides its pictures this is known already."""
    return (
        known.gone_run_id is None
        and known[3:7] == (product.sku, product.title, product.category, product.brand)
        and known.attributes_json == json.dumps(dict(product.attributes))
        and known.image_refs_json == json.dumps(product.image_refs)
    )


def store_jobs(
    session: Session, jobs: Sequence[tuple[PlannedJob, int]], known: Collection[int], now: datetime
) -> dict[str, tuple[int, str]]:
    """Add the jobs that the ledger does not know by their key, each given with its product's id; what failed before, or
    waits for a photo, is planned anew as far as it can be. Returns id and state of each, by key.

    ``known``: the ids of products that may have jobs already.
    """
    keys = {job.key for job, _ in jobs}
    found, unsettled = _jobs_of(session, known, keys)
    if unsettled:
        settle_holds(session, [job for job, _ in jobs], [product_id for _, product_id in jobs], now)
        plan_again(session, list(keys), now)
        session.flush()
        found, _ = _jobs_of(session, known, keys)
    rows = [job_row(job, product_id, now) for job, product_id in jobs if job.key not in found]
    if rows:
        session.execute(upsert(session, ImageJob, ["key"]), rows)
        found |= _jobs_of(session, {row["product_id"] for row in rows}, keys)[0]
    return found


def _jobs_of(
    session: Session, product_ids: Collection[int], keys: Collection[str]
) -> tuple[dict[str, tuple[int, str]], bool]:
    """Id and state of these jobs of the products, by key; and whether any of the products' jobs failed or waits for a
    photo. Those of one product lie together, and keys are all over their index."""
    found: dict[str, tuple[int, str]] = {}
    unsettled = False
    for chunk in chunks(sorted(product_ids)):
        for key, job_id, state, code in session.connection().execute(_JOBS, {"product_ids": chunk}):
            unsettled = unsettled or state == JobState.FAILED or code == Code.REFERENCE_UNAVAILABLE
            if key in keys:
                found[key] = job_id, state
    return found, unsettled


def plan_again(session: Session, keys: Sequence[str], now: datetime) -> None:
    """Plan what failed before: trying again costs nothing twice."""
    for chunk in chunks(keys):
        session.execute(
            update(ImageJob)
            .where(col(ImageJob.key).in_(chunk), col(ImageJob.state) == JobState.FAILED)
            .where(col(ImageJob.code).is_distinct_from(Code.SKIPPED))  # that was a person's decision
            .where(col(ImageJob.code).is_distinct_from(Code.SUPERSEDED))  # nothing that can be made
            .values(state=JobState.PLANNED, code=None, message="", updated_at=now)
        )


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
    return {
        "catalog": product.catalog,
        "product_key": product.product_key,
        "variant_key": product.variant_key,
        "sku": product.sku,
        "title": product.title,
        "category": product.category,
        "brand": product.brand,
        "attributes": dict(product.attributes),
        "image_refs": list(product.image_refs),
        "picture": dict(picture),
        "first_run_id": run_id,
        "last_run_id": run_id,
        "gone_run_id": None,
    }


def job_row(job: PlannedJob, product_id: int, now: datetime) -> dict[str, Any]:
    """A new job's row. Plain values: making them by way of the model takes a fifth of all planning."""
    missing = job.missing_references
    return {
        "key": job.key,
        "product_id": product_id,
        "shot": job.shot,
        "variant": job.variant,
        "model": job.model,
        "prompt": job.prompt,
        "aspect_ratio": job.aspect_ratio,
        "image_size": job.image_size,
        "reference_photos": [{"source": p.source, "sha256": p.sha256, "mime": p.mime} for p in job.references],
        "shot_list_hash": job.shot_list_hash,
        "template_hash": job.template_hash,
        "template_version": job.template_version,
        "state": JobState.HELD if missing else JobState.PLANNED,
        "code": Code.REFERENCE_UNAVAILABLE if missing else None,
        "message": job.remark if missing else "",
        "remark": "" if missing else job.remark,
        "created_at": now,
        "updated_at": now,
    }


_PRODUCT, _JOB = table_of(Product), table_of(ImageJob)
_READ_AGAIN = (
    update(_PRODUCT)
    .where(_PRODUCT.c.id.in_(bindparam("ids", expanding=True)), _PRODUCT.c.last_run_id < bindparam("of_run"))
    .values(last_run_id=bindparam("of_run"))
)
_JOBS = select_columns(_JOB.c.key, _JOB.c.id, _JOB.c.state, _JOB.c.code).where(
    _JOB.c.product_id.in_(bindparam("product_ids", expanding=True))
)
