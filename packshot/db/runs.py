"""A run's bookkeeping: what it set out to do, how it stands, how it ended. Its sums are checked, not hoped for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from packshot.catalog.model import Counts
from packshot.catalog.model import Product as CatalogProduct
from packshot.catalog.model import Reject as CatalogReject
from packshot.db.ledger import Ledger
from packshot.db.tables import Generation, ImageJob, Product, Reject, Run, RunJob
from packshot.db.types import JobState, RunState
from packshot.errors import Code
from packshot.shots.model import ImageJob as PlannedJob
from packshot.worker import is_dead

_FAR = datetime.max.replace(tzinfo=UTC)

PlannedProduct = tuple[CatalogProduct, Sequence[PlannedJob]]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a batch of planned jobs came to: how many are archived already, and how many this run has to see to."""

    already: int
    open: int
    held: int


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A job to take up: ``label`` says product and shot to people, ``wait`` is in seconds."""

    job_id: int
    label: str
    wait: float

    @classmethod
    def of(cls, job: ImageJob, product: Product, now: datetime) -> Self:
        assert job.id is not None
        name = "/".join(filter(None, (product.product_key, product.variant_key)))
        number = f" {job.variant}" if job.variant > 1 else ""
        wait = (job.retry_at - now).total_seconds() if job.retry_at else 0.0
        return cls(job.id, f"{name} {job.shot}{number}", max(0.0, wait))


class Runs:
    """The rows of runs, on the ledger's database."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def open(
        self, catalog: str, source: str, parameters: dict[str, Any], flow_run_id: str | None, max_cost_micro: int | None
    ) -> int:
        """Begin a run and return its id."""
        run = Run(
            catalog=catalog, source=source, parameters=parameters, flow_run_id=flow_run_id,
            worker=self._ledger.worker, started_at=self._ledger.now(), max_cost_micro=max_cost_micro,
        )  # fmt: skip
        with self._ledger.write() as session:
            session.add(run)
            session.flush()
            assert run.id is not None
            return run.id

    def enroll(self, run_id: int, planned: Sequence[PlannedProduct], rejects: Sequence[CatalogReject]) -> Enrolled:
        """Store a batch of products, jobs and rejects. A job that the ledger knows by its key is never added twice.

        A job that failed before is planned again: ``failed`` means that trying again costs nothing twice.
        """
        now = self._ledger.now()
        already = held = opened = 0
        with self._ledger.write() as session:
            position = session.exec(select(func.count()).where(RunJob.run_id == run_id)).one()
            session.add_all(Reject(run_id=run_id, **asdict(reject)) for reject in rejects)
            keys = [job.key for _, jobs in planned for job in jobs]
            known = {job.key: job for job in session.exec(select(ImageJob).where(col(ImageJob.key).in_(keys)))}
            for product, jobs in planned:
                product_id = self._upsert(session, run_id, product)
                for job in jobs:
                    row = known.get(job.key)
                    if row is None:
                        known[job.key] = row = _new_job(job, product_id)
                        row.created_at = row.updated_at = now
                        session.add(row)
                    elif row.state == JobState.FAILED:
                        row.state, row.code, row.message, row.updated_at = JobState.PLANNED, None, "", now
                    if row.state == JobState.ARCHIVED:
                        already += 1
                        continue
                    held += row.state == JobState.HELD
                    opened += row.state != JobState.HELD
                    session.flush()
                    assert row.id is not None
                    session.add(RunJob(run_id=run_id, job_id=row.id, position=position))
                    position += 1
            session.execute(
                update(Run)
                .where(col(Run.id) == run_id)
                .values(planned=col(Run.planned) + already + opened + held, already=col(Run.already) + already)
            )
        return Enrolled(already, opened, held)

    def set_counts(self, run_id: int, counts: Counts) -> None:
        """Store what reading the catalog came to. Raises if the records do not add up."""
        if not counts.balanced:
            raise AssertionError(f"the catalog's records do not add up: {counts}")
        with self._ledger.write() as session:
            session.execute(update(Run).where(col(Run.id) == run_id).values(**asdict(counts)))

    def size(self, run_id: int) -> int:
        """How many jobs the run has to see to; they have the positions 0 to size - 1."""
        with Session(self._ledger.engine) as session:
            return session.exec(select(func.count()).where(RunJob.run_id == run_id)).one()

    def work(self, run_id: int, first: int, count: int) -> list[WorkItem]:
        """The jobs at these positions that still have something to do; received images first, nearest end first."""
        with Session(self._ledger.engine) as session:
            rows = session.exec(
                select(ImageJob, Product, Generation.expires_at)
                .join(RunJob, col(RunJob.job_id) == col(ImageJob.id))
                .join(Product, col(ImageJob.product_id) == col(Product.id))
                .outerjoin(
                    Generation,
                    (col(Generation.job_id) == col(ImageJob.id)) & col(Generation.archived_at).is_(None),
                )
                .where(RunJob.run_id == run_id, col(RunJob.position).between(first, first + count - 1))
                .where(col(ImageJob.state).in_([JobState.PLANNED, JobState.GENERATED]))
                .order_by(col(RunJob.position))
            ).all()
        now = self._ledger.now()
        ordered = sorted(rows, key=lambda row: (row[0].state != JobState.GENERATED, row[2] or _FAR))
        return [WorkItem.of(job, product, now) for job, product, _ in ordered]

    def progress(self, run_id: int) -> dict[str, int]:
        """Number of the run's jobs in each state, those archived before it left out."""
        with Session(self._ledger.engine) as session:
            rows = session.exec(
                select(ImageJob.state, func.count())
                .join(RunJob, col(RunJob.job_id) == col(ImageJob.id))
                .where(RunJob.run_id == run_id)
                .group_by(ImageJob.state)
            ).all()
        return dict(rows)

    def get(self, run_id: int) -> Run:
        with Session(self._ledger.engine) as session:
            return session.get_one(Run, run_id)

    def finish(self, run_id: int, state: RunState, code: Code | None = None, message: str = "") -> Run:
        """Write down what became of every job, and close the run.

        A job that is neither archived nor failed nor held by now was held back, by ``code`` where the run was stopped.
        """
        with self._ledger.write() as session:
            run = session.get_one(Run, run_id)
            rows = session.exec(
                select(RunJob, ImageJob)
                .join(ImageJob, col(RunJob.job_id) == col(ImageJob.id))
                .where(RunJob.run_id == run_id)
            ).all()
            totals = {"archived": run.already, "failed": 0, "held": 0}
            for item, job in rows:
                done = job.state in (JobState.ARCHIVED, JobState.FAILED, JobState.HELD)
                item.outcome = job.state if done else "held"
                item.code = job.code or (None if job.state == JobState.ARCHIVED else code)
                totals[item.outcome] += 1
                session.add(item)
            run.state, run.code, run.message, run.ended_at = state, code, message, self._ledger.now()
            run.archived, run.failed, run.held = totals["archived"], totals["failed"], totals["held"]
            if run.planned != run.archived + run.failed + run.held:
                raise AssertionError(f"the jobs of run {run_id} do not add up: {run.planned} planned, {totals}")
            session.add(run)
            return run

    def close_dead(self) -> list[int]:
        """Close the runs whose process died; returns their ids."""
        with Session(self._ledger.engine) as session:
            running = session.exec(select(Run.id, Run.worker).where(Run.state == RunState.RUNNING)).all()
        dead = [run_id for run_id, worker in running if run_id is not None and is_dead(worker)]
        for run_id in dead:
            self.finish(run_id, RunState.CRASHED, Code.INTERRUPTED, "the process died")
        return dead

    @staticmethod
    def _upsert(session: Session, run_id: int, product: CatalogProduct) -> int:
        row = session.exec(
            select(Product).where(
                Product.catalog == product.catalog,
                Product.product_key == product.product_key,
                Product.variant_key == product.variant_key,
            )
        ).first() or Product(
            catalog=product.catalog,
            product_key=product.product_key,
            variant_key=product.variant_key,
            last_run_id=run_id,
        )
        row.sku, row.title, row.category, row.brand = product.sku, product.title, product.category, product.brand
        row.attributes, row.image_refs, row.last_run_id = dict(product.attributes), list(product.image_refs), run_id
        session.add(row)
        session.flush()
        assert row.id is not None
        return row.id


def _new_job(job: PlannedJob, product_id: int) -> ImageJob:
    missing = job.missing_references
    return ImageJob(
        key=job.key, product_id=product_id, shot=job.shot, variant=job.variant, model=job.model, prompt=job.prompt,
        aspect_ratio=job.aspect_ratio, image_size=job.image_size, shot_list_hash=job.shot_list_hash,
        reference_photos=[asdict(reference) for reference in job.references],
        state=JobState.HELD if missing else JobState.PLANNED,
        code=Code.REFERENCE_UNAVAILABLE if missing else None,
        message=f"photo not readable: {', '.join(missing)}" if missing else "",
    )  # fmt: skip
