"""The rows of a batch that a run plans: products as they are now, jobs, and the holds that it settles."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from sqlalchemy import update
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
from packshot.db.tables import ImageJob, Product
from packshot.db.types import JobState
from packshot.db.upsert import add_rows, change_rows, chunks, new_ids, stored_time, with_list
from packshot.errors import Code
from packshot.shots.model import ImageJob as PlannedJob

_OF_PRODUCT = ("sku", "title", "category", "brand", "attributes", "image_refs", "picture")
_NEW_PRODUCT = ("id", "catalog", "product_key", "variant_key", *_OF_PRODUCT, "first_run_id", "last_run_id")
_NEW_JOB = (
    "id", "key", "product_id", "shot", "variant", "model", "prompt", "aspect_ratio", "image_size", "reference_photos",
    "shot_list_hash", "template_hash", "template_version", "state", "code", "message", "remark", "created_at",
    "updated_at",
)  # fmt: skip


def store_products(
    session: Session, run_id: int, products: Sequence[CatalogProduct], pictures: Mapping[Identity, Picture]
) -> tuple[dict[Identity, int], set[int], dict[str, int]]:
    """Add or renew the products. Returns their ids, those of them that were known, and what is different in the
    catalog, by column of Run. Not for two at a time, see :func:`packshot.db.upsert.one_at_a_time`."""
    of_key = {identity(product): product for product in products}
    known = known_products(session, of_key)
    judged: dict[Identity, tuple[Change, str]] = {}
    renewals: list[tuple[Any, ...]] = []
    unknown: dict[Identity, str] = {}
    for key, product in of_key.items():
        before, now = known.get(key), pictures.get(key)
        as_json = "" if now is None else json.dumps(now)
        if now is not None:
            judged[key] = judge(before, now, as_json)
        if before is None:
            unknown[key] = as_json or "{}"
        elif as_json != before.picture_json or not _is_as_before(product, before):
            remembered = before.picture if now is None else renewed(before.picture, now)
            renewals.append((*_product_row(product), json.dumps(remembered), None, before.id))
    ids = {key: found.id for key, found in known.items()}
    ids |= zip(unknown, new_ids(session, Product, len(unknown)), strict=True)
    added = [(ids[key], *key, *_product_row(of_key[key]), text, run_id, run_id) for key, text in unknown.items()]
    add_rows(session, Product, _NEW_PRODUCT, added)
    change_rows(session, Product, (*_OF_PRODUCT, "gone_run_id"), renewals)
    with_list(session, _READ_AGAIN, run_id, run_id, among=[found.id for found in known.values()])
    return ids, {found.id for found in known.values()}, note_changes(session, run_id, judged, ids)


def _is_as_before(product: CatalogProduct, known: Known) -> bool:
    """Would its row say the same again? Of what decides its pictures this is known already."""
    return (
        known.gone_run_id is None
        and known[3:7] == (product.sku, product.title, product.category, product.brand)
        and known.attributes_json == _object(product.attributes)
        and known.image_refs_json == _array(product.image_refs)
    )


def store_jobs(
    session: Session, jobs: Sequence[tuple[PlannedJob, int]], known: Collection[int], now: datetime
) -> dict[str, tuple[int, JobState, str | None]]:
    """Add the jobs that the ledger does not know by their key, each given with its product's id; what failed before, or
    waits for a photo, is planned anew as far as it can be. Returns id, state and code of each, by key.

    ``known``: the ids of products that may have jobs already.
    """
    keys = {job.key for job, _ in jobs}
    found, unsettled = _jobs_of(session, known, keys)
    if unsettled:
        settle_holds(session, [job for job, _ in jobs], [product_id for _, product_id in jobs], now)
        plan_again(session, list(keys), now)
        session.flush()
        found, _ = _jobs_of(session, known, keys)
    new = [(job, product_id) for job, product_id in jobs if job.key not in found]
    ids, time = new_ids(session, ImageJob, len(new)), stored_time(session, now)
    rows = [
        (number, *_job_row(job, product_id), time, time) for number, (job, product_id) in zip(ids, new, strict=True)
    ]
    add_rows(session, ImageJob, _NEW_JOB, rows)
    for number, (job, _) in zip(ids, new, strict=True):
        found[job.key] = number, *_beginning(job)
    return found


def _jobs_of(
    session: Session, product_ids: Collection[int], keys: Collection[str]
) -> tuple[dict[str, tuple[int, JobState, str | None]], bool]:
    """Id, state and code of these jobs of the products, by key; and whether any of the products' jobs failed or waits
    for a photo. Those of one product lie together, and keys are all over their index."""
    found: dict[str, tuple[int, JobState, str | None]] = {}
    unsettled = False
    for rows in with_list(session, _JOBS, among=sorted(product_ids)):
        for key, job_id, state, code in rows.all():
            unsettled = unsettled or state == JobState.FAILED or code == Code.REFERENCE_UNAVAILABLE
            if key in keys:
                found[key] = job_id, _STATES[state], code
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


def _product_row(product: CatalogProduct) -> tuple[Any, ...]:
    """What the catalog says of it; the columns ``_OF_PRODUCT`` but the last."""
    return (
        product.sku, product.title, product.category, product.brand, _object(product.attributes),
        _array(product.image_refs),
    )  # fmt: skip


def _object(texts: Mapping[str, str]) -> str:
    """As ``json.dumps`` writes it, which takes three times as long for a few short texts."""
    return f"{{{', '.join([f'{_quoted(name)}: {_quoted(text)}' for name, text in texts.items()])}}}"


def _array(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _beginning(job: PlannedJob) -> tuple[JobState, str | None]:
    """State and code of a new job."""
    if job.missing_references:
        return JobState.HELD, Code.REFERENCE_UNAVAILABLE.value
    return JobState.PLANNED, None


def _job_row(job: PlannedJob, product_id: int) -> tuple[Any, ...]:
    """A new job; the columns ``_NEW_JOB`` but the id and the times."""
    state, code = _beginning(job)
    photos = [{"source": p.source, "sha256": p.sha256, "mime": p.mime} for p in job.references]
    return (
        job.key, product_id, job.shot, job.variant, job.model, job.prompt, job.aspect_ratio, job.image_size,
        json.dumps(photos) if photos else "[]", job.shot_list_hash, job.template_hash, job.template_version,
        state.value, code, job.remark if code else "", "" if code else job.remark,
    )  # fmt: skip


_STATES = {state.value: state for state in JobState}
_READ_AGAIN = "UPDATE product SET last_run_id = ? WHERE last_run_id < ? AND id IN"
_JOBS = "SELECT key, id, state, code FROM image_job WHERE product_id IN"
