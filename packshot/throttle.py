"""How hard the provider may be pressed: fewer calls after a 429, none for a while when all fail, then no more at all.

A state machine without threads; the clock is handed in. :mod:`packshot.slots` makes threads obey it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

from packshot.errors import Billed, Code, PackshotError
from packshot.policy import rule_of
from packshot.settings import Settings

LONGEST_PAUSE = 300.0  # seconds; a longer PACKSHOT_PAUSE is obeyed, and does not grow
COSTLY_PAUSES = 3  # docs.apiyi.com: three answers in a row cut off by a stall mean that a whole stretch of time is bad

Ticket = NewType("Ticket", int)
"""A call that began. Later calls have greater tickets, so what it did not know when it began can be told."""


@dataclass(slots=True)
class _Streak:
    """What went wrong since the last answer. ``pause``: seconds of the next one."""

    pause: float
    pauses: int = 0
    costly_pauses: int = 0  # those in which a call may have cost its price
    in_a_row: int = 0  # failures that count for the next pause
    costly: bool = False  # one of these may have cost its price
    failures: int = 0  # all, for the message
    since: float = math.inf


class Throttle:
    """At most ``size`` calls in the air, as long as all goes well.

    - *Too many* (429): half as many calls from now on, and none at all for a while, longer each time. All the 429s of
      calls that began before that are the same news. Each time as many calls as are allowed were answered, one more
      is allowed.
    - *In trouble* (nothing came, or nothing one can use): ``failures_before_pause`` in a row stop all calls for
      ``pause`` seconds; without an answer the pause doubles. Calls that began before the pause tell nothing new. After
      it as few calls as make the next pause try the line, so that it costs little to learn that nothing has changed.
    - *Hopeless*: the third pause in which money may have been lost; nothing but failures for ``provider_patience``
      when a pause is due, or a 429 to a single call; a 429 that asks to wait longer than that. Then no call begins.

    An answer is an image, or any other word of the model, such as a refusal. What is neither (a bad key, a full disk)
    is no news about the provider.

    ``jitter`` gives 0..1 and stretches the wait after a 429 by up to half.
    """

    def __init__(
        self,
        size: int,
        settings: Settings,
        now: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.hopeless: PackshotError | None = None
        self._size = size
        self._settings = settings
        self._now = now
        self._jitter = jitter
        self._waits = rule_of(Code.RATE_LIMITED, settings).waits

        self._last = Ticket(0)
        self._air: set[Ticket] = set()
        self._not_before = -math.inf

        self._limit = size
        self._answers = 0  # since the limit changed
        self._bursts = 0  # of 429s, since a call was answered that began after the last of them
        self._burst_wait = 0.0
        self._last_before_burst = Ticket(0)

        self._streak = _Streak(settings.pause)
        self._last_before_pause = Ticket(0)

    @property
    def in_air(self) -> int:
        """Calls that began and have not landed."""
        return len(self._air)

    @property
    def allowed(self) -> int:
        """How many calls may be in the air now."""
        if not self._streak.pauses:
            return self._limit
        older = sum(ticket <= self._last_before_pause for ticket in self._air)
        return min(self._limit, older + self._settings.failures_before_pause - self._streak.in_a_row)

    @property
    def holds_back(self) -> bool:
        """Do a 429 or failures in a row keep calls back that would have a slot?"""
        return self._limit < self._size or self._streak.pauses > 0 or self.held_for > 0

    @property
    def held_for(self) -> float:
        """Seconds for which no call may begin because of a 429 or of failures in a row."""
        return max(0.0, self._not_before - self._now())

    def wait(self) -> float:
        """Seconds until the next call may begin: 0 is now, infinity is not before something has ended."""
        if self.hopeless or len(self._air) >= self.allowed:
            return math.inf
        return self.held_for

    def begin(self) -> Ticket:
        """A call begins; :meth:`wait` has just said 0."""
        self._last = Ticket(self._last + 1)
        self._air.add(self._last)
        return self._last

    def ended(self, ticket: Ticket, error: PackshotError | None) -> None:
        """How the call went; once a call, before it lands. A call that was not made after all has nothing to tell."""
        if self.hopeless:
            return
        if error is None or _is_answer(error.code):
            self._answered(ticket)
        elif error.code is Code.RATE_LIMITED:
            self._too_many(ticket, error)
        elif _is_trouble(error.code):
            self._in_trouble(ticket, error)

    def landed(self, ticket: Ticket) -> None:
        """The call is no longer in the air: another may take its place."""
        self._air.discard(ticket)

    # --- what ended calls tell --------------------------------------------------------------------------------
    def _answered(self, ticket: Ticket) -> None:
        self._streak = _Streak(self._settings.pause)
        if ticket <= self._last_before_burst:
            return  # it was let in when more were allowed
        self._bursts = 0
        self._answers += 1
        if self._answers >= self._limit:
            self._answers = 0
            self._limit = min(self._limit + 1, self._size)

    def _too_many(self, ticket: Ticket, error: PackshotError) -> None:
        self._note_failure()
        asked = float(error.details.get("retry_after") or 0)
        is_news = ticket > self._last_before_burst
        if asked > self._settings.provider_patience or (is_news and self._limit == 1 and self._patience_is_over):
            return self._give_up(error)
        if is_news:
            self._burst_wait = self._waits[min(self._bursts, len(self._waits) - 1)]
            self._bursts += 1
            self._limit = max(1, self._limit // 2)
            self._answers = 0
            self._last_before_burst = self._last
        return self._hold_back(max(self._burst_wait * (1 + self._jitter() / 2), asked))

    def _in_trouble(self, ticket: Ticket, error: PackshotError) -> None:
        self._note_failure()
        if ticket <= self._last_before_pause:
            return None
        streak = self._streak
        streak.in_a_row += 1
        streak.costly |= error.code.billed is not Billed.NO
        if streak.in_a_row < self._settings.failures_before_pause:
            return None
        streak.costly_pauses += streak.costly
        if streak.costly_pauses >= COSTLY_PAUSES or self._patience_is_over:
            return self._give_up(error)
        self._hold_back(streak.pause)
        self._last_before_pause = self._last
        streak.pauses += 1
        streak.pause = min(streak.pause * 2, max(streak.pause, LONGEST_PAUSE))
        streak.in_a_row = 0
        streak.costly = False
        return None

    def _note_failure(self) -> None:
        self._streak.failures += 1
        self._streak.since = min(self._streak.since, self._now())

    @property
    def _patience_is_over(self) -> bool:
        return self._now() - self._streak.since >= self._settings.provider_patience

    def _hold_back(self, seconds: float) -> None:
        self._not_before = max(self._not_before, self._now() + seconds)

    def _give_up(self, last: PackshotError) -> None:
        calls = "1 call" if self._streak.failures == 1 else f"{self._streak.failures} calls in a row"
        self.hopeless = PackshotError(
            Code.PROVIDER_FAILING,
            f"{calls} failed within {self._now() - self._streak.since:.0f} s, last with {last.code}: {last.message}",
        )


def _is_answer(code: Code) -> bool:
    return code.billed is Billed.YES or code is Code.MODERATION_BLOCKED


def _is_trouble(code: Code) -> bool:
    """The provider or the line may be in trouble. UNEXPECTED is our own bug, but it may cost a call's price each time,
    so a run must not go through a catalog with it."""
    return (code.retryable or code.billed is Billed.UNKNOWN) and not code.stops_run
