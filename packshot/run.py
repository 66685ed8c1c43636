"""A run from its first check to its report. Used by the flow; knows nothing of Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Engine

from packshot.catalog.model import Reject
from packshot.db.catalog_changes import FIRST, Comparison, changes
from packshot.db.catalog_diff import Identity, Picture
from packshot.db.clock import database_clock
from packshot.db.engine import check_revision, is_empty, open_engine, upgrade
from packshot.db.ledger import Ledger, register_store
from packshot.db.patience import patiently
from packshot.db.queries import job_states
from packshot.db.running import close_dead
from packshot.db.runs import PlannedProduct, Runs
from packshot.db.types import JobState, RunState
from packshot.errors import Code, PackshotError
from packshot.inputs.address import read_address
from packshot.memory import give_back
from packshot.options import RunOptions
from packshot.photo_shelf import PhotoShelf
from packshot.plan import Planner
from packshot.plan_result import Plan, foresee
from packshot.recovery import Recovered, recover
from packshot.report import Report, make_report
from packshot.settings import Settings
from packshot.stopping import SWITCH
from packshot.storage import ObjectStore

LAST_PATIENCE = 5.0  # seconds for a database that is away, when the process is to end at once


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run whose jobs stand in the database: ``size`` of them to see to, at the positions 0 to size - 1."""

    run_id: int
    size: int
    plan: Plan
    recovered: Recovered
    dead_flow_runs: list[str]
    """Flow runs whose process died, which Prefect may believe alive."""

    @property
    def notes(self) -> list[str]:
        """What a person should know before the images begin: what dead processes left, and what planning found."""
        return [*filter(None, [self.recovered.headline]), *self.plan.notes]


def ready_engine(settings: Settings) -> Engine:
    """The database, with its tables in place. An empty one gets them; an outdated one is left to a person.

    Raises:
        ConfigError: it cannot be reached, or is at another revision.
    """
    engine = open_engine(settings.db_url)
    if is_empty(engine):
        upgrade(engine)
    check_revision(engine)
    return engine


def open_ledger(settings: Settings) -> Ledger:
    """The ledger of a database that is in place, see :func:`ready_engine`."""
    ready_engine(settings)
    return _ledger(settings, settings.database_patience)


def _ledger(settings: Settings, patience: float) -> Ledger:
    """The ledger, unchecked: for a run that has begun, the database may be away at this moment."""
    engine = open_engine(settings.db_url)
    return Ledger(engine, lease=settings.lease, patience=patience, now=database_clock(engine))


def preflight(settings: Settings, options: RunOptions) -> Planner:
    """Everything that can be known to be wrong before a run begins: one clear error, and nothing was touched.

    Raises:
        ConfigError, ArchiveError: key, storage, bucket, shot list or catalog cannot be used.
    """
    settings.require_key()
    planner = Planner(settings, options)
    ObjectStore(settings).check_bucket()
    return planner


def plan_only(settings: Settings, options: RunOptions) -> Plan:
    """What a run would make and cost. Reads only; needs neither key nor bucket."""
    engine = ready_engine(settings)
    planner = Planner(settings, options)
    comparison = Comparison(engine, planner.reader.name)

    def compare(
        planned: Sequence[PlannedProduct], rejects: Sequence[Reject], pictures: Mapping[Identity, Picture]
    ) -> None:
        comparison.add([product for product, _ in planned], rejects, pictures)

    plan = planner.plan(lambda keys: job_states(engine, keys), compare)
    plan.diff = comparison.result(planner.reading, plan.read_in_part)
    plan.first_changes = comparison.first
    return foresee(plan, engine, settings, options.max_cost_usd)


def start_run(settings: Settings, options: RunOptions, flow_run_id: str | None) -> StartedRun:
    """Check everything, settle what dead processes left, and write the plan into the database."""
    planner = preflight(settings, options)
    ledger = open_ledger(settings)
    runs = Runs(ledger)
    recovered = recover(settings, ledger)
    dead_flow_runs = close_dead(ledger)
    limit = Decimal(str(options.max_cost_usd)) or settings.max_cost_usd
    source = read_address(options.catalog).label  # a URL's query may be a signature
    run_id = runs.open(
        catalog=planner.reader.name,
        source=source,
        parameters=options.model_dump(mode="json") | {"catalog": source},
        flow_run_id=flow_run_id,
        max_cost_micro=None if limit is None else int(limit * 1_000_000),
    )

    def enroll(
        planned: Sequence[PlannedProduct], rejects: Sequence[Reject], pictures: Mapping[Identity, Picture]
    ) -> Mapping[str, JobState]:
        if SWITCH.reason:
            raise PackshotError(*SWITCH.reason)
        return runs.enroll(run_id, planned, rejects, pictures).states

    try:
        store = ObjectStore(settings)
        planner.photos.shelf = PhotoShelf.of(settings)
        with ledger.write() as session:
            register_store(session, store.bucket, settings.s3_endpoint_url, store.public_base_url)
        plan = planner.plan(lambda keys: job_states(ledger.engine, keys), enroll)
        runs.set_counts(run_id, plan.counts)
        plan.diff = runs.close_reading(run_id, planner.reading, plan.read_in_part)
        plan.first_changes = changes(ledger.engine, run_id, FIRST)
        foresee(plan, ledger.engine, settings, options.max_cost_usd)
    except Exception as error:
        code = error.code if isinstance(error, PackshotError) else Code.UNEXPECTED
        stopped = code is Code.STOP_REQUESTED
        message = "stopped while it was planned" if stopped else f"planning failed: {error}"
        runs.finish(run_id, RunState.STOPPED if stopped else RunState.CRASHED, code, message)
        raise
    give_back()  # what planning is done with, before hundreds of threads take pieces of it
    return StartedRun(run_id, runs.size(run_id), plan, recovered, dead_flow_runs)


def finish_run(
    settings: Settings, run_id: int, stop: tuple[Code, str] | None = None, notes: list[str] | None = None
) -> Report:
    """Write down what became of every job. ``stop``: why the run ended early."""
    ledger = _ledger(settings, settings.database_patience)
    # Every thread of the run has ended: what is still claimed here broke while it was in our hands.
    recover(settings, ledger, given_up=run_id)
    runs = Runs(ledger)
    run = runs.finish(run_id, RunState.STOPPED, *stop) if stop else runs.finish(run_id, RunState.COMPLETED)
    return patiently(lambda _: make_report(ledger.engine, run, notes or []), ledger.patience)


def give_up_run(settings: Settings, run_id: int) -> None:
    """End a run at once: what is in the air is settled as unknown, in this process's last moments."""
    ledger = _ledger(settings, LAST_PATIENCE)
    recover(settings, ledger, given_up=run_id)
    Runs(ledger).finish(run_id, RunState.STOPPED, Code.STOP_REQUESTED, "stopped at once, with calls in flight")


def break_off(settings: Settings, run_id: int, code: Code, reason: str) -> None:
    """Note that the run ended while threads of it may still be at work; the next run sorts out what they leave."""
    state = RunState.STOPPED if code is Code.STOP_REQUESTED else RunState.CRASHED
    Runs(_ledger(settings, settings.database_patience)).finish(run_id, state, code, reason)
