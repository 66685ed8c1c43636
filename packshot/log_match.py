"""The ledger beside the provider's log: which row is which call, and where the two disagree.

A row is a call's if it bears the call's request id. A call whose id never reached us (the process died, or the line
broke before any header) is looked for by model and time. Many such calls in parallel cannot be told apart, nor need
they be: each row explains one call, and as many rows as possible explain one, so the sum is right whichever is which.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from packshot.apiyi.account import LogRow
from packshot.db.tables import Attempt
from packshot.errors import Billed, code_of

TOLERANCE = timedelta(seconds=60)
"""How far the provider's clock may be from ours, and how late a row may be entered."""

GATEWAYS_OWN = "x-shellapi-request-id"
"""The header with the id that the log knows. What the others hold is, with some models, somebody else's."""

FOUND_IN_LOG = "log"
"""The name under which a call keeps the id of the row that was found for it by model and time."""

_OF_THE_MODEL = "responseId"  # Google's own, which the log does not know


class Kind(StrEnum):
    """How ledger and log disagree about one call."""

    UNKNOWN_BILLED = "unknown_billed"
    """Nobody knew whether it was billed; the log says it was."""
    UNKNOWN_NOT_BILLED = "unknown_not_billed"
    """Booked because nobody knew; the log has no charge for it, and would have it by now."""
    PRICE_DIFFERS = "price_differs"
    """Charged otherwise than booked: another group of the key served it, or the price list is old."""
    NOT_IN_LOG = "not_in_log"
    """Booked as billed, and not in the log."""
    BILLED_THOUGH_FREE = "billed_though_free"
    """Booked as not billed, and charged."""
    NOT_IN_LEDGER = "not_in_ledger"
    """A charge that no call of ours explains: another program uses this key, or a call was lost with its database."""
    TOO_EARLY = "too_early"
    """Not in the log yet, which says nothing so soon."""

    @property
    def applicable(self) -> bool:
        """Can the ledger be corrected by it?"""
        return self not in (Kind.NOT_IN_LEDGER, Kind.TOO_EARLY)


@dataclass(frozen=True, slots=True)
class Difference:
    """One disagreement. ``attempt`` is None for NOT_IN_LEDGER, ``row`` is None where the log has none."""

    kind: Kind
    attempt: Attempt | None
    row: LogRow | None
    by_time: bool = False
    """The row was found by model and time, not by its id."""

    @property
    def booked_micro(self) -> int:
        return self.attempt.cost_micro if self.attempt else 0

    @property
    def charged_micro(self) -> int:
        return self.row.cost_micro if self.row else 0


@dataclass(frozen=True, slots=True)
class Differences:
    """All of a period. ``ledger_micro - log_micro`` is what the differences add up to.

    Calls still in the air are in neither sum (``in_the_air`` of them), nor what other keys of the account spent
    (``other_keys`` calls, ``other_keys_micro``). ``images`` calls brought an image and are old enough to be in the log;
    ``images_in_log`` of them are.
    """

    found: tuple[Difference, ...]
    ledger_micro: int
    log_micro: int
    in_the_air: int
    other_keys: int
    other_keys_micro: int
    images: int
    images_in_log: int

    @property
    def by_kind(self) -> Counter[Kind]:
        return Counter(difference.kind for difference in self.found)


def match(
    attempts: Iterable[Attempt],
    log_rows: Iterable[LogRow],
    *,
    since: datetime,
    until: datetime,
    now: datetime,
    longest_call: timedelta,
) -> Differences:
    """Compare the calls that began in ``since <= time < until`` with the log.

    Both lists may reach beyond that period, and should, by ``longest_call`` and some tolerance: a call at its edge is
    in the log on the other side of it. What lies outside helps to explain, and is not reported.
    """
    calls = sorted(attempts, key=lambda attempt: (attempt.started_at, attempt.id or 0))
    rows = sorted(log_rows, key=lambda row: (row.created_at, row.request_id))
    row_of = _by_request_id(calls, rows)
    named = set(row_of.values())
    tokens = {rows[place].token_name for place in named}
    own = [place for place, row in enumerate(rows) if not tokens or row.token_name in tokens]
    by_time = _by_time(calls, rows, [place for place in own if place not in named], row_of, longest_call)
    row_of |= by_time

    def within(moment: datetime) -> bool:
        return since <= moment < until

    found: list[Difference] = []
    ledger = log = in_the_air = images = images_in_log = 0
    for number, call in enumerate(calls):
        if not within(call.started_at):
            continue
        if call.settled_at is None:
            in_the_air += 1
            continue
        row = rows[row_of[number]] if number in row_of else None
        in_log_by_now = call.started_at + longest_call + TOLERANCE < now
        kind = _judge(call, row, in_log_by_now)
        if kind:
            found.append(Difference(kind, call, row, number in by_time))
        ledger += call.cost_micro
        log += row.cost_micro if row else 0
        images += call.code is None and (in_log_by_now or row is not None)
        images_in_log += call.code is None and row is not None
    explained = set(row_of.values())
    for place in own:
        row = rows[place]
        if place not in explained and row.cost_micro and within(row.created_at):
            found.append(Difference(Kind.NOT_IN_LEDGER, None, row))
            log += row.cost_micro
    others = [row for row in rows if tokens and row.token_name not in tokens and within(row.created_at)]
    return Differences(
        found=tuple(found),
        ledger_micro=ledger,
        log_micro=log,
        in_the_air=in_the_air,
        other_keys=len(others),
        other_keys_micro=sum(row.cost_micro for row in others),
        images=images,
        images_in_log=images_in_log,
    )


def _judge(call: Attempt, row: LogRow | None, in_log_by_now: bool) -> Kind | None:
    if row is None:
        if call.billed == Billed.NO:
            return None
        if not in_log_by_now:
            return Kind.TOO_EARLY
        return Kind.UNKNOWN_NOT_BILLED if call.billed == Billed.UNKNOWN else Kind.NOT_IN_LOG
    if call.billed == Billed.UNKNOWN:
        return Kind.UNKNOWN_BILLED if row.cost_micro else Kind.UNKNOWN_NOT_BILLED
    if call.cost_micro == row.cost_micro:
        return None
    return Kind.BILLED_THOUGH_FREE if call.billed == Billed.NO else Kind.PRICE_DIFFERS


def _by_request_id(calls: Sequence[Attempt], rows: Sequence[LogRow]) -> dict[int, int]:
    """Call -> row, both by their places. An id that came with the answer counts more than one found by time."""
    place_of = {row.request_id: place for place, row in enumerate(rows) if row.request_id}
    row_of: dict[int, int] = {}
    taken: set[int] = set()
    for guessed in (False, True):
        for number, call in enumerate(calls):
            for name, value in call.request_ids.items():
                place = place_of.get(value)
                right_turn = (name == FOUND_IN_LOG) is guessed and name != _OF_THE_MODEL
                if right_turn and place is not None and place not in taken and number not in row_of:
                    row_of[number] = place
                    taken.add(place)
    return row_of


def _by_time(
    calls: Sequence[Attempt],
    rows: Sequence[LogRow],
    free: Sequence[int],
    row_of: dict[int, int],
    longest_call: timedelta,
) -> dict[int, int]:
    """Call -> row for calls that the log cannot know by an id we have, from the rows at the places ``free``."""
    log_names: dict[str, set[str]] = defaultdict(set)  # the gateway may log a model under another name than we ask for
    for number, place in row_of.items():
        log_names[calls[number].model].add(rows[place].model)
    times = [rows[place].created_at for place in free]

    def candidates(number: int) -> Iterator[tuple[float, int]]:
        call = calls[number]
        names = log_names[call.model] | {call.model}
        first = bisect_left(times, call.started_at - TOLERANCE)
        last = bisect_right(times, call.started_at + longest_call + TOLERANCE)
        for place in free[first:last]:
            if rows[place].model in names:
                yield _distance(call, rows[place]), place

    # Those that must be in the log come first, then those that may be.
    tiers: dict[int, list[int]] = defaultdict(list)
    for number, call in enumerate(calls):
        tier = _tier(call)
        if tier is not None and number not in row_of:
            tiers[tier].append(number)
    pairing = _Pairing()
    for tier in sorted(tiers):
        pairing.add({number: sorted(candidates(number)) for number in tiers[tier]})
    return pairing.row_of


def _tier(call: Attempt) -> int | None:
    """How surely a row without a known id may be this call's: 0 most, None not at all."""
    if GATEWAYS_OWN in call.request_ids:
        return None
    if call.settled_at is None:
        return 2
    if call.billed == Billed.YES:
        return 0
    if call.billed == Billed.UNKNOWN:
        return 1
    # Taken for not billed by an earlier comparison: a row that came very late sets it right.
    return 3 if call.code and code_of(call.code).billed is Billed.UNKNOWN else None


def _distance(call: Attempt, row: LogRow) -> float:
    """Seconds between the call's beginning and the row's, which is its time or lies as long before it as it took."""
    after = (row.created_at - call.started_at).total_seconds()
    return min(abs(after), abs(after - (row.seconds or 0.0)))


class _Pairing:
    """Pairs as many calls with a row each as possible, near ones rather than far ones. What has a pair keeps one."""

    def __init__(self) -> None:
        self.row_of: dict[int, int] = {}
        self._call_of: dict[int, int] = {}
        self._near_first: dict[int, list[int]] = {}
        self._dead: set[int] = set()

    def add(self, candidates: dict[int, list[tuple[float, int]]]) -> None:
        """Pair these calls with rows; ``candidates``: call -> (distance, row), nearest first."""
        self._near_first |= {call: [row for _, row in near] for call, near in candidates.items()}
        for _, call, row in sorted((far, call, row) for call, near in candidates.items() for far, row in near):
            if call not in self.row_of and row not in self._call_of:
                self._pair(call, row)
        for call in candidates:
            if call not in self.row_of:
                self._make_room(call)

    def _make_room(self, call: int) -> None:
        """Let paired calls move on to other rows, if that leaves one for this call (an augmenting path)."""
        came_from: dict[int, int] = {}  # row -> the call that looked at it
        waiting = [call]
        for looking in waiting:
            for row in self._near_first[looking]:
                if row in came_from or row in self._dead:
                    continue
                came_from[row] = looking
                if row in self._call_of:
                    waiting.append(self._call_of[row])
                    continue
                while True:
                    mover = came_from[row]
                    left = self.row_of.get(mover)
                    self._pair(mover, row)
                    if left is None:
                        return
                    row = left
        # From these rows no way leads to a free one, now or later: nobody needs to look again.
        self._dead.update(came_from)

    def _pair(self, call: int, row: int) -> None:
        self.row_of[call] = row
        self._call_of[row] = call
