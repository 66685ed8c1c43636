"""Runs that go on: their signs of life, requests to stop them, and those whose process died."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import update
from sqlmodel import Session, col, select

from packshot.db.ledger import Ledger
from packshot.db.runs import Runs
from packshot.db.tables import ImageJob, Run
from packshot.db.types import JobState, RunState
from packshot.errors import Code, code_of
from packshot.worker import life_of

_TAKEN = (JobState.CLAIMED, JobState.CALLING, JobState.GENERATED)


def beat(ledger: Ledger) -> None:
    """Renew this worker's claims, and say that its runs go on."""
    mine = col(ImageJob.claimed_by).startswith(f"{ledger.worker}:", autoescape=True)
    going = (col(Run.worker) == ledger.worker) & (col(Run.state) == RunState.RUNNING)
    # The run first, as calls that begin do, and of the jobs those that nobody is changing at this moment: whoever holds
    # both a run and a job would be waited for in a circle. The next beat sees to the others.
    jobs = select(ImageJob.id).where(mine, col(ImageJob.state).in_(_TAKEN))
    jobs = jobs.with_for_update(skip_locked=True, key_share=True)
    with ledger.write() as session:
        session.execute(update(Run).where(going).values(seen_at=ledger.now()))
        session.execute(update(ImageJob).where(col(ImageJob.id).in_(jobs)).values(lease_until=ledger.lease_end()))


def request_stop(ledger: Ledger, run_id: int | None = None) -> list[int]:
    """Ask a run, or every one that goes on, to stop; returns the ids of those that were asked.

    A run whose process died is not asked: nobody would answer, and the next run closes it.
    """
    going = select(Run).where(Run.state == RunState.RUNNING)

    def ask(session: Session) -> list[int]:
        found = session.exec(going if run_id is None else going.where(Run.id == run_id)).all()
        runs = [run for run in found if not _is_dead(run, ledger)]
        for run in runs:
            run.stop_requested_at = run.stop_requested_at or ledger.now()
            session.add(run)
        return [run.id or 0 for run in runs]

    return ledger.lasting(ask)


def note_stop(ledger: Ledger, run_id: int, reason: tuple[Code, str]) -> None:
    """Write down why one process of a run stopped, for the one that closes the run. The first reason stays."""
    first = (col(Run.id) == run_id) & col(Run.stop_code).is_(None)
    values = {"stop_code": reason[0].value, "stop_message": reason[1]}
    ledger.lasting(lambda session: session.execute(update(Run).where(first).values(values)))


def noted_stop(ledger: Ledger, run_id: int) -> tuple[Code, str] | None:
    """Why a process of the run stopped; None if none did."""
    run = ledger.read(lambda session: session.get_one(Run, run_id))
    return (code_of(run.stop_code), run.stop_message) if run.stop_code else None


def stop_requested(ledger: Ledger, run_ids: Collection[int]) -> set[int]:
    """Those of the runs that were asked to stop, or are closed already: nobody would account for another call."""
    over = col(Run.stop_requested_at).is_not(None) | (col(Run.state) != RunState.RUNNING)
    asked = select(Run.id).where(col(Run.id).in_(run_ids), over)
    with Session(ledger.engine) as session:
        return {run_id for run_id in session.exec(asked) if run_id is not None}


def close_dead(ledger: Ledger) -> list[str]:
    """Close the runs whose process died; returns the ids of their flow runs, which Prefect may believe alive.

    Certain for a process of this machine. Of another one, two leases without a sign of life decide.
    """
    with Session(ledger.engine) as session:
        running = session.exec(select(Run).where(Run.state == RunState.RUNNING)).all()
    dead = [run for run in running if _is_dead(run, ledger)]
    for run in dead:
        Runs(ledger).finish(run.id or 0, RunState.CRASHED, Code.INTERRUPTED, "the process died")
    return [run.flow_run_id for run in dead if run.flow_run_id]


def _is_dead(run: Run, ledger: Ledger) -> bool:
    life = life_of(run.worker)
    silent = ledger.now() - (run.seen_at or run.started_at)
    return life == "dead" or (life == "unknown" and silent > 2 * ledger.lease)
