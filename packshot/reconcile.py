"""The ledger against the provider's own log: report each difference, and correct the ledger if that is wanted.

The log is the truth: what is not in it was not billed, what is in it was billed at the price it shows. Corrected are
the money of calls, runs and days, and whether a call was billed. The call's history and the job stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from packshot.apiyi.account import AccountClient
from packshot.db import spending
from packshot.db.costs import attempts_between
from packshot.db.ledger import Ledger
from packshot.db.tables import Attempt, Run
from packshot.db.upsert import chunks
from packshot.errors import Billed, Code, ConfigError
from packshot.log_match import FOUND_IN_LOG, TOLERANCE, Difference, Differences, match
from packshot.run import open_ledger
from packshot.settings import Settings

USUAL_PERIOD = timedelta(days=1)
MONTHS_KEPT = 2  # besides the current one: docs.apiyi.com, page on the log


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A comparison, and what of it was written into the ledger."""

    since: datetime
    until: datetime
    differences: Differences
    applied: frozenset[int] = field(default_factory=frozenset)
    """Ids of the attempts that were corrected."""

    @property
    def left(self) -> list[Difference]:
        """The differences that are still there."""
        return [d for d in self.differences.found if d.attempt is None or d.attempt.id not in self.applied]

    @property
    def difference_left_micro(self) -> int:
        """Micro-dollars by which the ledger's sum is above the log's now."""
        return sum(difference.booked_micro - difference.charged_micro for difference in self.left)


def reconcile(
    settings: Settings,
    since: datetime | None = None,
    until: datetime | None = None,
    apply: bool = False,
    *,
    now: datetime | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Reconciliation:
    """Compare the calls that began in ``since <= time < until`` (usually the last 24 hours) with the log.

    ``apply`` corrects the ledger by every difference but those that are no call of ours, or too young to be judged.
    Safe to run at any moment and to repeat; calls in the air are left alone. ``now`` is the ledger's time if not given.

    Raises:
        ConfigError: no system token; the period is empty or older than the log; or, with ``apply``, the log knows none
            of our images, so that it is hardly ours.
        ProviderError: the log cannot be read. Nothing was changed.
    """
    ledger = open_ledger(settings)
    began = now or ledger.now()
    until = min(until or began, began)
    since = since or until - USUAL_PERIOD
    _check_period(since, until, began)
    longest_call = timedelta(seconds=settings.total_timeout)
    margin = longest_call + 2 * TOLERANCE
    with AccountClient(settings, sleep) as account:
        # The log first: what is in it by now is in the ledger since before its call went out.
        rows = list(account.log_rows(since - margin, min(until + margin, began)))
    attempts = attempts_between(ledger.engine, since - margin, until + margin)
    found = match(attempts, rows, since=since, until=until, now=began, longest_call=longest_call)
    if not apply:
        return Reconciliation(since, until, found)
    if found.images and not found.images_in_log:
        raise ConfigError(
            Code.SETTINGS_INVALID,
            f"the log has none of the {found.images} images that came in this period, so it is hardly the log of this "
            "key, and nothing was changed: is PACKSHOT_APIYI_SYSTEM_TOKEN of the same account as PACKSHOT_APIYI_KEY?",
        )
    return Reconciliation(since, until, found, frozenset(correct(ledger, found.found, began)))


def _check_period(since: datetime, until: datetime, now: datetime) -> None:
    if since >= until:
        raise ConfigError(Code.SETTINGS_INVALID, f"there is no time between {_iso(since)} and {_iso(until)}")
    month = now.astimezone(UTC).date().replace(day=1)
    for _ in range(MONTHS_KEPT):
        month = (month - timedelta(days=1)).replace(day=1)
    if since.astimezone(UTC).date() < month:
        raise ConfigError(
            Code.SETTINGS_INVALID,
            f"the provider keeps its log for this month and the {MONTHS_KEPT} before it, so calls of {_iso(since)} are "
            f"not in it any more; the earliest is {month}",
        )


def correct(ledger: Ledger, found: Sequence[Difference], stamp: datetime) -> Iterator[int]:
    """Correct the ledger, a batch in a transaction; yields the ids of the attempts that were corrected."""
    for batch in chunks([difference for difference in found if difference.kind.applicable]):
        ids = [difference.attempt.id for difference in batch if difference.attempt]
        stamped = select(Attempt.id).where(col(Attempt.id).in_(ids), col(Attempt.reconciled_at) == stamp)

        def act(session: Session, batch: Sequence[Difference] = batch) -> list[int]:
            return _correct(session, batch, stamp)

        def done(session: Session, stamped: Any = stamped) -> list[int] | None:
            return list(session.exec(stamped).all()) or None

        yield from ledger.lasting(act, done)


def _correct(session: Session, batch: Sequence[Difference], stamp: datetime) -> list[int]:
    """Set the calls right, and what their runs and days spent. Leaves out calls that changed since they were read."""
    pairs = [(difference, difference.attempt) for difference in batch if difference.attempt]
    # Whoever books money locks the run first, then the day; with all the runs locked nobody waits in a circle.
    runs = select(Run.id).where(col(Run.id).in_({call.run_id for _, call in pairs})).order_by(col(Run.id))
    session.exec(runs.with_for_update()).all()
    corrected = []
    for difference, call in pairs:
        charged = difference.charged_micro
        values: dict[str, Any] = {
            "cost_micro": charged, "billed": Billed.YES if charged else Billed.NO, "reconciled_at": stamp,
        }  # fmt: skip
        if difference.by_time and difference.row and difference.row.request_id:
            values["request_ids"] = call.request_ids | {FOUND_IN_LOG: difference.row.request_id}
        as_read = (
            (col(Attempt.id) == call.id)
            & col(Attempt.settled_at).is_not(None)
            & (col(Attempt.cost_micro) == call.cost_micro)
            & (col(Attempt.billed) == call.billed)
        )
        if session.connection().execute(update(Attempt).where(as_read).values(**values)).rowcount:
            spending.give_back(session.connection(), call.run_id, call.started_at, call.cost_micro - charged)
            corrected.append(call.id or 0)
    return corrected


def facts(found: Reconciliation) -> dict[str, Any]:
    """All of it as plain values; money in US dollars, times as ISO text."""
    compared = found.differences
    return {
        "since": _iso(found.since),
        "until": _iso(found.until),
        "ledger_usd": compared.ledger_micro / 1e6,
        "log_usd": compared.log_micro / 1e6,
        "difference_usd": (compared.ledger_micro - compared.log_micro) / 1e6,
        "difference_left_usd": found.difference_left_micro / 1e6,
        "applied": len(found.applied),
        "left": len(found.left),
        "in_the_air": compared.in_the_air,
        "other_keys": compared.other_keys,
        "other_keys_usd": compared.other_keys_micro / 1e6,
        "differences": [_difference_facts(difference, found) for difference in compared.found],
    }


def _difference_facts(difference: Difference, found: Reconciliation) -> dict[str, Any]:
    call, row = difference.attempt, difference.row
    moment = call.started_at if call else row.created_at if row else found.since
    return {
        "kind": difference.kind,
        "time": _iso(moment),
        "booked_usd": difference.booked_micro / 1e6,
        "charged_usd": difference.charged_micro / 1e6,
        "model": call.model if call else row.model if row else "",
        "code": call.code if call else None,
        "attempt_id": call.id if call else None,
        "run_id": call.run_id if call else None,
        "request_id": row.request_id if row else next(iter(call.request_ids.values()), "") if call else "",
        "found_by": None if row is None else "time" if difference.by_time else "request id",
        "token": row.token_name if row else None,
        "group": row.token_group if row else None,
        "applied": call is not None and call.id in found.applied,
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
