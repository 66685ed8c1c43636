"""Column types and the states a job can be in."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import DateTime
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class JobState(StrEnum):
    """Where one image is on its way. See :data:`packshot.db.moves.ALLOWED` for the moves between them."""

    PLANNED = "planned"
    """To be made; not before ``retry_at``, where that is set."""
    CLAIMED = "claimed"
    """One worker has it until its lease ends; nothing was bought yet."""
    CALLING = "calling"
    """Committed before the call goes out: from here on money may be spent."""
    GENERATED = "generated"
    """Paid for and received: a temporary URL, or bytes in the spool."""
    ARCHIVED = "archived"
    """A permanent object, confirmed by the store."""
    FAILED = "failed"
    """Not made, see ``code``; a later run tries again where that costs nothing twice."""
    HELD = "held"
    """Waits for a person, see ``code``."""


class RunState(StrEnum):
    """How a run stands. ``stopped``: ended early for a reason that makes the rest hopeless (key, balance, budget)."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    CRASHED = "crashed"


class UtcDateTime(TypeDecorator[datetime]):
    """UTC-aware on the Python side everywhere; SQLite, which has no time zones, stores UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone: {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
