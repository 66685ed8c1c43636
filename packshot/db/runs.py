"""A run's bookkeeping: what it set out to do, how it stands, how it ended. Its sums are checked, not hoped for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Self

from sqlalchemy import bindparam, case, exists, func, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from packshot.catalog.model import Counts, product_name
from packshot.catalog.model import Product as CatalogProduct
from packshot.catalog.model import Reject as CatalogReject
from packshot.db.catalog_diff import CatalogDiff, Identity, Picture, close_reading, identity
from packshot.db.engine import expect_many_rows
from packshot.db.ledger import Ledger
from packshot.db.planned_rows import store_jobs, store_products
from packshot.db.tables import Generation, ImageJob, Product, Reject, Run, RunJob, table_of
from packshot.db.types import JobState, RunState
from packshot.db.upsert import add_rows, chunks, one_at_a_time
from packshot.errors import Code
from packshot.shots.model import ImageJob as PlannedJob

_OF_REJECT = [column.name for column in fields(CatalogReject)]
_FAR = datetime.max.replace(tzinfo=UTC)

PlannedProduct = tuple[CatalogProduct, Sequence[PlannedJob]]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a batch of planned jobs came to: how many are archived already, and how many this run has to see to."""

    already: int
    open: int
    held: int
    states: Mapping[str, JobState] = field(default_factory=dict, compare=False)
    """Of each job, by key, as :func:`packshot.db.queries.job_states` has them."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A job to take up: ``label`` says product and shot to people, ``wait`` is in seconds; ``paid`` ones are received
    and only to be brought home."""

    job_id: int
    label: str
    wait: float
    paid: bool = False

    @classmethod
    def of(cls, row: Any, now: datetime) -> Self:
        """``row``: with the columns ``_OF_WORK``."""
        name = product_name(row.product_key, row.variant_key)
        number = f" {row.variant}" if row.variant > 1 else ""
        wait = (row.retry_at - now).total_seconds() if row.retry_at and row.updated_at <= now else 0.0
        return cls(row.id, f"{name} {row.shot}{number}", max(0.0, wait), row.state == JobState.GENERATED)


# Columns, not objects: prompts and the facts of a product are long, and a window has hundreds.
_OF_WORK: tuple[Any, ...] = (
    col(ImageJob.id), col(ImageJob.state), col(ImageJob.shot), col(ImageJob.variant), col(ImageJob.retry_at),
    col(ImageJob.updated_at), col(Product.product_key), col(Product.variant_key), col(Generation.expires_at),
)  # fmt: skip

# Built once, because each batch needs them: putting a statement together costs more than running it.
_COUNTED = ("planned", "already", "products_new", "products_changed", "products_same")
_RUN, _RUN_JOB = table_of(Run), table_of(RunJob).c
_MORE = (
    update(_RUN)
    .where(_RUN.c.id == bindparam("of_run"))
    .values({name: _RUN.c[name] + bindparam(f"more_{name}") for name in _COUNTED})
)
_SIZE = select_columns(func.coalesce(func.max(_RUN_JOB.position) + 1, 0)).where(_RUN_JOB.run_id == bindparam("of_run"))


def _size(session: Session, run_id: int) -> int:
    """How many jobs the run has to see to. Positions have no gaps, so the last one says it: counting would take longer
    with each batch."""
    size: int = session.connection().execute(_SIZE, {"of_run": run_id}).scalar_one()
    return size


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

    def enroll(
        self,
        run_id: int,
        planned: Sequence[PlannedProduct],
        rejects: Sequence[CatalogReject],
        pictures: Mapping[Identity, Picture] = MappingProxyType({}),
    ) -> Enrolled:
        """Store a batch of products, jobs and rejects. A job that the ledger knows by its key is never added twice.

        A job that failed before is planned again: ``failed`` means that trying again costs nothing twice. One that was
        held for a photo makes room for what is planned in its place now. ``pictures``: what decides the pictures of the
        products; those that have one are compared with what is known of them.
        """
        now = self._ledger.now()
        jobs = {job.key: (job, identity(product)) for product, wanted in planned for job in wanted}
        with self._ledger.write() as session:
            one_at_a_time(session, "enroll")  # two runs that lock the same rows would wait in a circle
            expect_many_rows(session.connection())
            position = _size(session, run_id)
            ids, known, diff = store_products(session, run_id, [product for product, _ in planned], pictures)
            stored = store_jobs(session, [(job, ids[key]) for job, key in jobs.values()], known, now)
            todo = [stored[key][:2] for key in jobs if stored[key][1] is not JobState.ARCHIVED]
            refused = [(run_id, *astuple(reject)) for reject in rejects]
            add_rows(session, Reject, ("run_id", *_OF_REJECT), refused)
            of_run = [(run_id, job_id, n) for n, (job_id, _) in enumerate(todo, position)]
            add_rows(session, RunJob, ("run_id", "job_id", "position"), of_run)
            for chunk in chunks([i for i, state in todo if state == JobState.GENERATED]):
                # The tries to bring an image home are counted anew for each run.
                session.execute(update(Generation).where(col(Generation.job_id).in_(chunk)).values(archive_tries=0))
            already = len(jobs) - len(todo)
            more = {"planned": len(jobs), "already": already, **diff}
            session.connection().execute(_MORE, {"of_run": run_id} | {f"more_{name}": more[name] for name in _COUNTED})
        held = sum(state is JobState.HELD for _, state in todo)
        states = {key: JobState.HELD if code == Code.SKIPPED else state for key, (_, state, code) in stored.items()}
        return Enrolled(already, len(todo) - held, held, states)

    def close_reading(self, run_id: int, reading: str, read_in_part: str) -> CatalogDiff:
        """Note what of the catalog is gone, see :func:`packshot.db.catalog_diff.close_reading`, and return what changed
        in it since earlier runs."""
        with self._ledger.write() as session:
            one_at_a_time(session, "enroll")
            run = session.get_one(Run, run_id)
            close_reading(session, run, reading, read_in_part)
            expect_many_rows(session.connection(), expect=False)
            session.add(run)
            return CatalogDiff.of(run)

    def set_counts(self, run_id: int, counts: Counts) -> None:
        """Store what reading the catalog came to. Raises if the records do not add up."""
        if not counts.balanced:
            raise AssertionError(f"the catalog's records do not add up: {counts}")
        with self._ledger.write() as session:
            session.execute(update(Run).where(col(Run.id) == run_id).values(**asdict(counts)))

    def size(self, run_id: int) -> int:
        """How many jobs the run has to see to; they have the positions 0 to size - 1."""
        return self._ledger.read(lambda session: _size(session, run_id))

    def work(self, run_id: int, first: int, count: int) -> list[WorkItem]:
        """The jobs at these positions that still have something to do; received images first, nearest end first."""
        query = (
            select_columns(*_OF_WORK)
            .join(RunJob, col(RunJob.job_id) == col(ImageJob.id))
            .join(Product, col(ImageJob.product_id) == col(Product.id))
            .outerjoin(
                Generation,
                (col(Generation.job_id) == col(ImageJob.id))
                & col(Generation.archived_at).is_(None)
                & col(Generation.lost_at).is_(None),
            )
            .where(col(RunJob.run_id) == run_id, col(RunJob.position).between(first, first + count - 1))
            .where(col(ImageJob.state).in_([JobState.PLANNED, JobState.GENERATED]))
            .order_by(col(RunJob.position))
        )
        rows = self._ledger.read(lambda session: session.execute(query).all())
        now = self._ledger.now()
        ordered = sorted(rows, key=lambda row: (row.state != JobState.GENERATED, row.expires_at or _FAR))
        return [WorkItem.of(row, now) for row in ordered]

    def progress(self, run_id: int) -> dict[str, int]:
        """Number of the run's jobs in each state, those archived before it left out.

        Asked every few seconds, so the jobs themselves are not read: those that are not archived are counted in the
        index of states, and fewer from look to look; the others are what is left of the run's size.
        """
        of_run = exists().where(col(RunJob.run_id) == run_id, col(RunJob.job_id) == col(ImageJob.id))
        query = (
            select(ImageJob.state, func.count())
            .where(col(ImageJob.state).in_([state for state in JobState if state is not JobState.ARCHIVED]), of_run)
            .group_by(ImageJob.state)
        )

        def count(session: Session) -> dict[str, int]:
            states = dict(session.exec(query).all())
            archived = _size(session, run_id) - sum(states.values())
            return states | ({JobState.ARCHIVED.value: archived} if archived else {})

        return self._ledger.read(count)

    def get(self, run_id: int) -> Run:
        with Session(self._ledger.engine) as session:
            return session.get_one(Run, run_id)

    def finish(self, run_id: int, state: RunState, code: Code | None = None, message: str = "") -> Run:
        """Write down what became of every job, and close the run. A run that is closed already stays as it is.

        A job that is neither archived nor failed nor held by now was held back: by ``code`` where the run was stopped,
        otherwise because it is in other hands, or because something broke while it was in ours.
        """
        done = col(ImageJob.state).in_([JobState.ARCHIVED, JobState.FAILED, JobState.HELD])
        became = case((done, col(ImageJob.state)), else_=JobState.HELD.value)
        ours = col(ImageJob.claimed_by).startswith(self._ledger.worker, autoescape=True)
        unexplained = case((ours, Code.UNEXPECTED.value), else_=Code.IN_PROGRESS.value)
        reason = case(
            (col(ImageJob.state) != JobState.ARCHIVED, func.coalesce(col(ImageJob.code), code or unexplained))
        )
        of_job = col(ImageJob.id) == col(RunJob.job_id)

        def close(session: Session) -> Run:
            run = session.exec(select(Run).where(Run.id == run_id).with_for_update()).one()
            if run.state != RunState.RUNNING:
                return run
            session.execute(
                update(RunJob)
                .where(col(RunJob.run_id) == run_id)
                .values(
                    outcome=select_columns(became).where(of_job).scalar_subquery(),
                    code=select_columns(reason).where(of_job).scalar_subquery(),
                )
                .execution_options(synchronize_session=False)
            )
            counted = select(RunJob.outcome, func.count()).where(RunJob.run_id == run_id).group_by(col(RunJob.outcome))
            totals = dict(session.exec(counted).all())
            run.state, run.code, run.message, run.ended_at = state, code, message, self._ledger.now()
            run.archived = run.already + totals.get("archived", 0)
            run.failed, run.held = totals.get("failed", 0), totals.get("held", 0)
            if run.planned != run.archived + run.failed + run.held:
                raise AssertionError(f"the jobs of run {run_id} do not add up: {run.planned} planned, {totals}")
            session.add(run)
            return run

        return self._ledger.lasting(close)
