"""What changed in a catalog since earlier runs over it: products that are new, changed, the same, refused or gone.

Each product's row keeps hashes of what decides its pictures, which run read it last, and which run missed it. A run
notes its changes in ``catalog_change``, and their numbers in its own row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any, NamedTuple

from sqlalchemy import case, func, insert, literal, or_, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from packshot.catalog.model import Product as CatalogProduct
from packshot.db.tables import CatalogChange, Product, Reject, Run
from packshot.db.upsert import add_rows, with_list

Picture = Mapping[str, Any]
"""What decides a product's pictures: text -> hash, and under ``photos`` the hashes of the photos asked for, in order.
``all_photos``: the product has no more than these."""

TEXTS = ("title", "description", "category", "brand", "attributes")
UNREAD = ""
"""In place of the hash of a photo that could not be read: it may be any."""

OTHER_READING = "the catalog was read with other options than the last time; the next run with these options knows"

Identity = tuple[str, str, str]
"""(catalog, product_key, variant_key)"""


class Change(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    REFUSED = "refused"
    """Known before; its record is in the catalog, and was refused."""
    GONE = "gone"


class Known(NamedTuple):
    """A product as the database has it; JSON as its text, because hardly any has to be read."""

    id: int
    gone_run_id: int | None
    picture_json: str
    sku: str | None
    title: str
    category: str
    brand: str
    attributes_json: str
    image_refs_json: str

    @property
    def picture(self) -> Picture:
        found: Picture = json.loads(self.picture_json)
        return found


@dataclass(slots=True)
class CatalogDiff:
    """Products by what became of them since earlier runs. Those known before are the same, changed, refused or gone.

    ``refused`` and ``gone`` are None where they are not known, and ``gone_unknown`` says why.
    """

    new: int = 0
    changed: int = 0
    same: int = 0
    refused: int | None = None
    gone: int | None = None
    gone_unknown: str = ""

    @classmethod
    def of(cls, run: Run) -> CatalogDiff:
        return cls(
            run.products_new, run.products_changed, run.products_same, run.products_refused, run.products_gone,
            run.gone_unknown,
        )  # fmt: skip

    @property
    def sentence(self) -> str:
        """For people: what is new, changed, the same and gone."""
        parts = [f"{self.new:,} new", f"{self.changed:,} changed", f"{self.same:,} the same"]
        parts += [f"{self.refused:,} refused now"] if self.refused else []
        parts.append("gone: not known" if self.gone is None else f"{self.gone:,} gone")
        return f"products: {', '.join(parts)}" + (f" ({self.gone_unknown})" if self.gone is None else "")

    def facts(self) -> dict[str, Any]:
        return asdict(self)


# --- comparing: pure ------------------------------------------------------------------------------------------
def differences(before: Picture, now: Picture) -> list[str]:
    """What of the two differs: names of texts, ``photos``. Photos that only one of them knows do not count."""
    if not before:  # nothing was noted of it
        return []
    found = [name for name in TEXTS if before[name] != now[name]]
    return found + ["photos"] * _photos_differ(before, now)


def _photos_differ(before: Picture, now: Picture) -> bool:
    one, two = list(before["photos"]), list(now["photos"])
    if before["all_photos"]:  # there was no more, so what is more now is new
        one += [None] * (len(two) - len(one))
    if now["all_photos"]:
        two += [None] * (len(one) - len(two))
    return any(a != b and UNREAD not in (a, b) for a, b in zip(one, two, strict=False))


def renewed(before: Picture, now: Picture) -> Picture:
    """What to remember: ``now``, and of photos that it says nothing about what was known."""
    if not before or _photos_differ(before, now):
        return now
    pairs = zip_longest(now["photos"], before["photos"], fillvalue=UNREAD)
    return {**now, "photos": [a or b for a, b in pairs], "all_photos": before["all_photos"] or now["all_photos"]}


def judge(known: Known | None, picture: Picture, picture_json: str) -> tuple[Change, str]:
    """What became of a product that was read, and what of it changed. ``picture_json``: the picture as its text."""
    if known is None:
        return Change.NEW, ""
    if known.gone_run_id is not None:
        return Change.NEW, "back"
    if known.picture_json == picture_json:
        return Change.SAME, ""
    changed = differences(known.picture, picture)
    return (Change.CHANGED, ", ".join(changed)) if changed else (Change.SAME, "")


# --- in a run: inside a transaction that somebody else opened ---------------------------------------------------
def identity(product: CatalogProduct) -> Identity:
    return product.catalog, product.product_key, product.variant_key


def known_products(session: Session, identities: Iterable[Identity]) -> dict[Identity, Known]:
    """Those of the products that the database has."""
    keys: dict[str, dict[str, set[str]]] = {}
    for catalog, product_key, variant_key in identities:
        keys.setdefault(catalog, {}).setdefault(product_key, set()).add(variant_key)
    found: dict[Identity, Known] = {}
    for catalog, wanted in keys.items():
        for rows in with_list(session, _KNOWN, catalog, among=list(wanted)):
            for product_key, variant_key, *row in rows.all():
                if variant_key in wanted[product_key]:
                    found[catalog, product_key, variant_key] = Known(*row)
    return found


_KNOWN = """
    SELECT product_key, variant_key, id, gone_run_id, CAST(picture AS TEXT), sku, title, category, brand,
        CAST(attributes AS TEXT), CAST(image_refs AS TEXT)
    FROM product WHERE catalog = ? AND product_key IN"""


def note_changes(
    session: Session, run_id: int, judged: Mapping[Identity, tuple[Change, str]], ids: Mapping[Identity, int]
) -> dict[str, int]:
    """Write down what became of a batch; returns how many products are new, changed and the same, by column of Run."""
    rows = [
        (run_id, ids[key], change.value, what) for key, (change, what) in judged.items() if change is not Change.SAME
    ]
    add_rows(session, CatalogChange, ("run_id", "product_id", "change", "what"), rows, anew=False)
    counted = Counter(change for change, _ in judged.values())
    return {f"products_{change}": counted[change] for change in (Change.NEW, Change.CHANGED, Change.SAME)}


def close_reading(session: Session, run: Run, reading: str, read_in_part: str) -> None:
    """Note what a reading of the whole catalog missed.

    ``reading``: a hash of how the catalog was read. ``read_in_part``: why not all of it was; then nothing is missed.
    Neither is anything when it was read in another way than the time before: a filter that somebody tried must not make
    half of the catalog look gone.
    """
    assert run.id is not None
    if read_in_part:
        run.gone_unknown = read_in_part
        return
    run.reading = reading
    if last_reading(session, run.catalog, run.id) not in (None, reading):
        run.gone_unknown = OTHER_READING
        return
    refused = select_columns(col(Reject.key)).where(col(Reject.run_id) == run.id, col(Reject.key).is_not(None))
    is_refused = or_(
        col(Product.product_key).in_(refused), func.coalesce(col(Product.sku), col(Product.product_key)).in_(refused)
    )
    missed = select_columns(
        literal(run.id),
        col(Product.id),
        case((is_refused, Change.REFUSED.value), else_=Change.GONE.value),
        literal(""),
    ).where(col(Product.catalog) == run.catalog, col(Product.gone_run_id).is_(None), col(Product.last_run_id) < run.id)
    names = ["run_id", "product_id", "change", "what"]
    session.execute(insert(CatalogChange).from_select(names, missed))
    of_run = col(CatalogChange.run_id) == run.id
    gone = select_columns(col(CatalogChange.product_id)).where(of_run, col(CatalogChange.change) == Change.GONE)
    session.execute(
        update(Product)
        .where(col(Product.id).in_(gone))
        .values(gone_run_id=run.id)
        .execution_options(synchronize_session=False)
    )
    counts = select_columns(col(CatalogChange.change), func.count()).where(of_run).group_by(col(CatalogChange.change))
    totals = dict(session.execute(counts).tuples().all())
    run.products_refused, run.products_gone = totals.get(Change.REFUSED, 0), totals.get(Change.GONE, 0)
    run.gone_unknown = ""


def last_reading(session: Session, catalog: str, before: int) -> str | None:
    """How the catalog was read the last time that all of it was."""
    runs = select(Run.reading).where(Run.catalog == catalog, col(Run.id) < before, col(Run.reading).is_not(None))
    return session.exec(runs.order_by(col(Run.id).desc()).limit(1)).first()
