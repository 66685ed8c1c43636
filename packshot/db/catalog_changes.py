"""What changed in a catalog, for whoever asks: of a run that noted it, or compared without noting anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Engine, case, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from packshot.catalog.model import Product as CatalogProduct
from packshot.catalog.model import Reject as CatalogReject
from packshot.db.catalog_diff import (
    OTHER_READING,
    CatalogDiff,
    Change,
    Identity,
    Picture,
    identity,
    judge,
    known_products,
    last_reading,
)
from packshot.db.tables import Asset, CatalogChange, ImageJob, Product, Run

FIRST = 100  # changes that a plan names


class Comparison:
    """The same figures for a plan that stores nothing. Memory: one byte for each product that the database has."""

    def __init__(self, engine: Engine, catalog: str) -> None:
        self._engine = engine
        self._catalog = catalog
        self._diff = CatalogDiff()
        self._refused: set[int] = set()
        self.first: list[dict[str, Any]] = []
        """The first changes, up to ``FIRST``, as :func:`changes` has them."""
        with Session(engine) as session:
            self._before = session.exec(select(func.max(Run.id))).one() or 0
            self._seen = bytearray(1 + (session.exec(select(func.max(Product.id))).one() or 0))

    def add(
        self, products: Iterable[CatalogProduct], rejects: Iterable[CatalogReject], pictures: Mapping[Identity, Picture]
    ) -> None:
        """Compare a batch."""
        self._refused |= {hash(reject.key) for reject in rejects if reject.key}
        with Session(self._engine) as session:
            known = known_products(session, pictures)
        for product in products:
            key = identity(product)
            found = known.get(key)
            if found is not None and found.id < len(self._seen):
                self._seen[found.id] = 1
            change, what = judge(found, pictures[key], json.dumps(pictures[key]) if found else "")
            setattr(self._diff, change, getattr(self._diff, change) + 1)
            if change is not Change.SAME:
                self._name(*key[1:], product.title, change, what)

    def result(self, reading: str, read_in_part: str) -> CatalogDiff:
        """The figures, as :func:`close_reading` would note them."""
        with Session(self._engine) as session:
            other = last_reading(session, self._catalog, self._before + 1) not in (None, reading)
            self._diff.gone_unknown = read_in_part or (OTHER_READING if other else "")
            if not self._diff.gone_unknown:
                self._diff.refused = self._diff.gone = 0
                self._look_for_missed(session)
        return self._diff

    def _look_for_missed(self, session: Session) -> None:
        present = select_columns(
            col(Product.id), col(Product.product_key), col(Product.variant_key), col(Product.sku), col(Product.title)
        ).where(col(Product.catalog) == self._catalog, col(Product.gone_run_id).is_(None))
        for number, product_key, variant_key, sku, title in session.execute(present.execution_options(yield_per=1000)):
            if number >= len(self._seen) or self._seen[number]:
                continue
            refused = {hash(product_key), hash(sku or product_key)} & self._refused
            change = Change.REFUSED if refused else Change.GONE
            setattr(self._diff, change, getattr(self._diff, change) + 1)
            self._name(product_key, variant_key, title, change, "")

    def _name(self, product_key: str, variant_key: str, title: str, change: Change, what: str) -> None:
        if len(self.first) < FIRST:
            row = {"product_key": product_key, "variant_key": variant_key, "title": title, "change": change}
            self.first.append({**row, "what": what})


_ORDER = (Change.GONE, Change.CHANGED, Change.REFUSED, Change.NEW)


def first_of_each(engine: Engine, run_id: int, number: int) -> list[dict[str, Any]]:
    """As :func:`changes`, the first so many of each kind."""
    return [row for change in _ORDER for row in changes(engine, run_id, number, change)]


def changes(
    engine: Engine, run_id: int | None = None, limit: int | None = None, change: Change | None = None
) -> list[dict[str, Any]]:
    """What a run found different in its catalog; without ``run_id``, the latest run; only of one kind, where
    ``change`` is given. ``images``: the permanent ones of
    the product, which stay when it is gone."""
    latest = select_columns(func.max(col(Run.id))).scalar_subquery()
    images = (
        select_columns(func.count())
        .select_from(Asset)
        .join(ImageJob, col(ImageJob.id) == col(Asset.job_id))
        .where(col(ImageJob.product_id) == col(Product.id), col(Asset.replaced_at).is_(None))
        .scalar_subquery()
    )
    order = case({change.value: place for place, change in enumerate(_ORDER)}, value=col(CatalogChange.change))
    query = (
        select_columns(
            col(CatalogChange.run_id), col(CatalogChange.change), col(Product.product_key), col(Product.variant_key),
            col(Product.sku), col(Product.title), col(CatalogChange.what), images.label("images"),
        )
        .join(Product, col(Product.id) == col(CatalogChange.product_id))
        .where(col(CatalogChange.run_id) == (latest if run_id is None else run_id))
        .order_by(order, col(Product.id))
        .limit(limit)
    )  # fmt: skip
    if change is not None:
        query = query.where(col(CatalogChange.change) == change)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
