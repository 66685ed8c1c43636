"""How calls are held back: after a 429, after failures in a row, and for good. The clock moves by hand."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import given as given_any
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from packshot.errors import Billed, Code, PackshotError
from packshot.settings import Settings
from packshot.throttle import Throttle, Ticket


def failure(code: Code | None, **details: Any) -> PackshotError | None:
    return None if code is None else PackshotError(code, "words of the error", **details)


class Line:
    """A throttle, its clock, and the calls in the air."""

    def __init__(self, size: int = 100, jitter: float = 0.0, **values: Any) -> None:
        self.time = 1000.0
        self.throttle = Throttle(size, Settings(_env_file=None, **values), lambda: self.time, lambda: jitter)
        self.air: list[Ticket] = []
        self.begun = 0

    def begin(self, most: int = 1000) -> int:
        """Begin as many calls as may begin now, at most ``most``. Returns how many."""
        count = 0
        while count < most and self.throttle.wait() == 0:
            self.air.append(self.throttle.begin())
            count += 1
        self.begun += count
        return count

    def end(self, code: Code | None, count: int = 1, **details: Any) -> None:
        """The oldest calls end so."""
        for _ in range(count):
            ticket = self.air.pop(0)
            self.throttle.ended(ticket, failure(code, **details))
            self.throttle.landed(ticket)

    def one(self, code: Code | None, **details: Any) -> None:
        assert self.begin(1) == 1
        self.end(code, **details)

    def fail_until_paused(self, code: Code) -> float:
        """Wait, begin what may begin, and fail it all, until a pause is made. Returns how long that one is."""
        self.skip()
        while not self.throttle.hopeless:
            self.begin()
            self.end(code)
            if self.pause:
                self.end(code, len(self.air))
                return self.pause
        return math.inf

    def skip(self) -> None:
        """Time passes until a call may begin."""
        self.time += self.pause

    @property
    def pause(self) -> float:
        return math.inf if self.throttle.hopeless else self.throttle.held_for

    @property
    def allowed(self) -> int:
        return self.throttle.allowed


# --- all is well ----------------------------------------------------------------------------------------------------
def test_without_trouble_all_slots_are_used_and_nothing_waits() -> None:
    line = Line(7)
    assert line.begin() == 7
    assert line.throttle.wait() == math.inf
    for _ in range(100):
        line.end(None)
        assert line.begin() == 1
    assert line.throttle.in_air == line.allowed == 7


def test_a_call_that_was_not_made_tells_nothing() -> None:
    line = Line(3, failures_before_pause=2)
    line.one(Code.TIMEOUT)
    for _ in range(5):
        line.begin(1)
        line.throttle.landed(line.air.pop())
    line.one(Code.TIMEOUT)
    assert line.pause == 30


# --- too many -------------------------------------------------------------------------------------------------------
def test_a_429_halves_what_is_allowed_and_stops_all_calls_for_a_while() -> None:
    line = Line(100)
    line.begin()
    line.end(Code.RATE_LIMITED)
    assert (line.allowed, line.pause) == (50, 5)
    line.end(None, 99)
    assert line.begin() == 0
    line.time += 4.9
    assert line.begin() == 0
    line.time += 0.1
    assert line.begin() == 50


def test_a_burst_of_429s_halves_once_and_its_late_ones_prolong_the_wait() -> None:
    line = Line(100)
    line.begin()
    line.end(Code.RATE_LIMITED, 60)
    assert (line.allowed, line.pause) == (50, 5)
    line.time += 3
    line.end(Code.RATE_LIMITED, 40)
    assert (line.allowed, line.pause) == (50, 5)


def test_bursts_in_a_row_wait_longer_each_time_and_the_last_wait_repeats() -> None:
    line = Line(100)
    seen = []
    for _ in range(9):
        line.skip()
        line.begin()
        line.end(Code.RATE_LIMITED, len(line.air))
        seen.append((line.allowed, line.pause))
    assert seen == [(50, 5), (25, 15), (12, 45), (6, 45), (3, 45), (1, 45), (1, 45), (1, 45), (1, 45)]


def test_waits_come_from_the_settings_of_that_code() -> None:
    line = Line(8, backoff=(1, 2), retry={"rate_limited": {"waits": (7, 70)}})
    for wait in (7, 70, 70):
        line.skip()
        line.one(Code.RATE_LIMITED)
        assert line.pause == wait


@pytest.mark.parametrize(
    ("jitter", "asked", "wait"), [(0, None, 5), (1, None, 7.5), (0, 60, 60), (1, 2, 7.5), (0, "20", 20)]
)
def test_jitter_stretches_the_wait_and_the_longer_of_it_and_retry_after_wins(
    jitter: float, asked: float | None, wait: float
) -> None:
    line = Line(8, jitter)
    line.one(Code.RATE_LIMITED, retry_after=asked)
    assert line.pause == wait


def test_an_answer_ends_the_row_of_bursts_unless_it_was_let_in_before() -> None:
    line = Line(100)
    line.begin()
    line.end(Code.RATE_LIMITED)
    line.end(None)  # began with the burst
    line.skip()
    line.end(None, len(line.air))
    line.one(Code.RATE_LIMITED)
    assert line.pause == 15
    line.skip()
    line.one(None)
    line.one(Code.RATE_LIMITED)
    assert line.pause == 5


def test_a_late_429_after_an_answer_waits_as_its_burst_did() -> None:
    line = Line(4)
    line.begin()
    line.end(Code.RATE_LIMITED)
    line.skip()
    late = line.air
    line.air = []
    line.throttle.landed(late[0])
    line.throttle.landed(late[1])
    line.one(None)
    line.air = late[2:]
    line.end(Code.RATE_LIMITED)
    assert (line.allowed, line.pause) == (2, 5)


def test_what_is_allowed_grows_by_one_with_as_many_answers_up_to_the_size() -> None:
    line = Line(5)
    line.begin()
    line.end(Code.RATE_LIMITED, 5)
    line.skip()
    grown = [line.allowed]
    for _ in range(12):
        line.one(None)
        grown.append(line.allowed)
    assert grown == [2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5]


def test_answers_to_calls_let_in_before_the_burst_do_not_grow_it() -> None:
    line = Line(10)
    line.begin()
    line.end(Code.RATE_LIMITED)
    line.end(None, 9)
    assert line.allowed == 5


def test_a_second_burst_begins_the_count_of_answers_anew() -> None:
    line = Line(8)
    line.one(Code.RATE_LIMITED)
    line.skip()
    for _ in range(3):  # of the four that would allow a fifth
        line.one(None)
    line.one(Code.RATE_LIMITED)
    line.skip()
    line.one(None)
    assert line.allowed == 2
    line.one(None)
    assert line.allowed == 3


def test_a_provider_with_a_limit_is_soon_pressed_no_harder_than_it_bears() -> None:
    """100 wanted, 30 borne: after the first bursts next to no call is refused, and most of the 30 are used."""
    line = Line(100)
    refused = used = rounds = 0
    for turn in range(300):
        line.skip()
        line.begin()
        count = len(line.air)
        line.end(None, min(count, 30))
        line.end(Code.RATE_LIMITED, max(0, count - 30))
        if turn >= 20:
            refused, used, rounds = refused + max(0, count - 30), used + min(count, 30), rounds + 1
    assert refused <= rounds / 10
    assert used / rounds > 20


# --- in trouble -----------------------------------------------------------------------------------------------------
def test_failures_in_a_row_pause_all_calls() -> None:
    line = Line(100)
    for _ in range(4):
        line.one(Code.CONNECT_FAILED)
    assert line.pause == 0
    line.one(Code.OVERLOADED)
    assert line.pause == 30
    line.time += 29.9
    assert line.begin() == 0


ANSWERS = [code for code in Code if code.billed is Billed.YES] + [Code.MODERATION_BLOCKED, None]
TROUBLES = [
    Code.OVERLOADED, Code.BAD_GATEWAY, Code.WRITE_FAILED, Code.CONNECT_FAILED, Code.SERVER_ERROR,
    Code.GATEWAY_TIMEOUT, Code.TIMEOUT, Code.CONNECTION_LOST, Code.ANSWER_CUT, Code.NOT_JSON, Code.UNEXPECTED,
]  # fmt: skip
NO_NEWS = [
    Code.BAD_REQUEST, Code.BAD_KEY, Code.BALANCE_EMPTY, Code.MODEL_UNAVAILABLE, Code.FORBIDDEN, Code.DISK_FULL,
    Code.REFERENCE_UNAVAILABLE, Code.BUDGET_REACHED, Code.STOP_REQUESTED, Code.PROVIDER_FAILING,
]  # fmt: skip


@pytest.mark.parametrize("code", TROUBLES)
def test_what_says_that_provider_or_line_are_in_trouble(code: Code) -> None:
    line = Line(failures_before_pause=2)
    line.one(code)
    line.one(code)
    assert line.pause == 30


@pytest.mark.parametrize("code", ANSWERS)
def test_any_answer_of_the_model_ends_the_row(code: Code | None) -> None:
    line = Line(failures_before_pause=2)
    for _ in range(20):
        line.one(Code.TIMEOUT)
        line.one(code)
    assert line.pause == 0


@pytest.mark.parametrize("code", NO_NEWS)
def test_what_is_no_news_about_the_provider_neither_counts_nor_ends_the_row(code: Code) -> None:
    line = Line(failures_before_pause=2)
    for _ in range(20):
        line.one(code)
    assert line.pause == 0
    line.one(Code.TIMEOUT)
    line.one(code)
    line.one(Code.TIMEOUT)
    assert line.pause == 30


def test_a_429_does_not_count_for_a_pause() -> None:
    line = Line(failures_before_pause=3)
    line.one(Code.TIMEOUT)
    line.one(Code.TIMEOUT)
    line.one(Code.RATE_LIMITED)
    assert line.pause == 5
    line.skip()
    line.one(Code.TIMEOUT)
    assert line.pause == 30


def test_a_short_wait_does_not_cut_a_long_one_short() -> None:
    line = Line(10)
    line.begin()
    line.end(Code.CONNECT_FAILED, 5)
    line.end(Code.RATE_LIMITED)
    assert line.pause == 30
    line.end(Code.RATE_LIMITED, retry_after=40)
    assert line.pause == 40


def test_an_outage_that_kills_a_hundred_calls_is_one_pause() -> None:
    line = Line(100)
    line.begin()
    line.end(Code.CONNECTION_LOST, 100)
    assert (line.pause, line.throttle.hopeless) == (30, None)
    line.time += 31
    line.one(None)
    assert (line.pause, line.begin()) == (0, 100)


def test_the_pause_doubles_up_to_five_minutes_until_an_answer_comes() -> None:
    line = Line()
    assert [line.fail_until_paused(Code.BAD_GATEWAY) for _ in range(6)] == [30, 60, 120, 240, 300, 300]
    line.skip()
    line.one(Code.NO_IMAGE)
    assert line.fail_until_paused(Code.BAD_GATEWAY) == 30


@pytest.mark.parametrize(("pause", "pauses"), [(0, [0, 0, 0]), (200, [200, 300, 300]), (400, [400, 400, 400])])
def test_other_pauses(pause: float, pauses: list[float]) -> None:
    line = Line(5, pause=pause, failures_before_pause=5)
    seen = []
    for _ in pauses:
        line.begin()
        line.end(Code.OVERLOADED, 5)
        seen.append(line.pause)
        line.skip()
    assert seen == pauses


def test_after_a_pause_few_calls_try_the_line_until_one_is_answered() -> None:
    line = Line(100, failures_before_pause=5)
    line.fail_until_paused(Code.TIMEOUT)
    line.skip()
    assert line.begin() == 5
    line.end(Code.TIMEOUT)
    assert line.begin() == 0  # what failed is not replaced: five failures make the next pause
    line.end(Code.BAD_REQUEST)
    assert line.begin() == 1  # what told nothing is
    line.end(None)
    assert line.begin() == 97


def test_calls_from_before_the_pause_leave_room_for_those_that_try_the_line() -> None:
    line = Line(100, failures_before_pause=5)
    line.begin()
    line.end(Code.CONNECTION_LOST, 40)
    line.skip()
    assert line.begin() == 5
    assert line.throttle.in_air == 65


def test_trying_the_line_keeps_to_what_a_429_left() -> None:
    line = Line(4, failures_before_pause=5)
    line.one(Code.RATE_LIMITED)
    line.skip()
    line.fail_until_paused(Code.TIMEOUT)
    line.skip()
    assert line.begin() == 2


# --- hopeless -------------------------------------------------------------------------------------------------------
def test_the_third_costly_pause_in_a_row_gives_up() -> None:
    line = Line(5)
    assert [line.fail_until_paused(Code.ANSWER_CUT) for _ in range(3)] == [30, 60, math.inf]
    error = line.throttle.hopeless
    assert error is not None
    assert error.code is Code.PROVIDER_FAILING
    assert error.message == "19 calls in a row failed within 90 s, last with answer_cut: words of the error"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    line.time += 100_000
    assert line.begin() == 0


def test_a_hundred_calls_at_once_buy_little_before_it_gives_up() -> None:
    line = Line(100)
    while line.fail_until_paused(Code.TIMEOUT) < math.inf:
        pass
    assert line.begun == 100 + 4 + 5 + 5


def test_an_answer_begins_the_count_of_costly_pauses_anew() -> None:
    line = Line()
    for _ in range(4):
        line.fail_until_paused(Code.TIMEOUT)
        line.fail_until_paused(Code.TIMEOUT)
        line.skip()
        line.one(None)
    assert line.throttle.hopeless is None


def test_one_costly_failure_makes_a_pause_costly() -> None:
    line = Line(1)
    for _ in range(3):
        line.skip()
        for code in (Code.OVERLOADED, Code.OVERLOADED, Code.SERVER_ERROR, Code.OVERLOADED, Code.OVERLOADED):
            line.one(code)
    assert line.throttle.hopeless is not None


def test_pauses_that_cost_nothing_do_not_give_up_before_patience_ends() -> None:
    line = Line(provider_patience=1800)
    passed = 0.0
    while (pause := line.fail_until_paused(Code.OVERLOADED)) < math.inf:
        passed += pause
        assert passed - pause < 1800
    assert passed >= 1800
    error = line.throttle.hopeless
    assert error is not None
    assert "calls in a row failed within 1950 s, last with overloaded: words of the error" in error.message


def test_a_free_pause_between_costly_ones_does_not_give_up_itself() -> None:
    line = Line()
    line.fail_until_paused(Code.TIMEOUT)
    line.fail_until_paused(Code.TIMEOUT)
    assert line.fail_until_paused(Code.OVERLOADED) == 120
    assert line.fail_until_paused(Code.TIMEOUT) == math.inf


def test_patience_counts_from_the_first_failure_after_an_answer() -> None:
    line = Line(provider_patience=100)
    line.one(Code.OVERLOADED)
    line.time += 99
    line.one(None)
    line.time += 99
    assert line.fail_until_paused(Code.OVERLOADED) == 30
    line.time += 99
    assert line.fail_until_paused(Code.OVERLOADED) == 60
    assert line.fail_until_paused(Code.OVERLOADED) == math.inf


def test_nothing_but_429s_end_with_patience_once_one_call_is_too_many() -> None:
    line = Line(100, provider_patience=600)
    while not line.throttle.hopeless:
        line.skip()
        line.begin()
        line.end(Code.RATE_LIMITED, len(line.air))
        assert line.time < 3000
    assert line.allowed == 1
    assert line.time >= 1600
    assert "rate_limited" in line.throttle.hopeless.message


def test_a_429_while_calls_can_still_be_fewer_is_never_the_end() -> None:
    line = Line(100, provider_patience=0)
    line.begin()
    line.end(Code.RATE_LIMITED, 100)
    assert line.throttle.hopeless is None


def test_a_429_that_asks_for_more_than_our_patience_ends_the_run_at_once() -> None:
    line = Line(100, provider_patience=1800)
    line.begin()
    line.end(Code.RATE_LIMITED, retry_after=1800)
    assert (line.throttle.hopeless, line.pause) == (None, 1800)
    line.end(Code.RATE_LIMITED, retry_after=86_400)
    assert line.throttle.hopeless is not None


def test_once_hopeless_it_stays_so_and_says_the_same() -> None:
    line = Line(10, failures_before_pause=2, provider_patience=0)
    line.begin()
    line.end(Code.OVERLOADED, 2)
    first = line.throttle.hopeless
    assert first is not None
    line.end(None)
    line.end(Code.TIMEOUT, 3)
    assert line.throttle.hopeless is first
    assert line.begin() == 0


# --- whatever happens -----------------------------------------------------------------------------------------------
@hypothesis_settings(max_examples=150, deadline=None)
@given_any(
    size=st.integers(1, 12),
    failures=st.integers(2, 6),
    pause=st.sampled_from([0, 1, 30, 400]),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["begin", "end", "drop", "wait"]),
            st.sampled_from([*Code, None]),
            st.integers(0, 11),
            st.sampled_from([0, 0, 3, 1e9]),
        ),
        max_size=120,
    ),
)
def test_limits_hold_and_the_line_never_stays_closed(
    size: int, failures: int, pause: float, steps: list[tuple[str, Code | None, int, float]]
) -> None:
    """Never more in the air than allowed, 1 to ``size`` allowed, and with all calls landed it opens by itself."""
    line = Line(size, jitter=0.5, failures_before_pause=failures, pause=pause)
    for what, code, which, seconds in steps:
        if what == "begin" and line.throttle.wait() == 0:
            line.begin(1)
            assert line.throttle.in_air <= line.allowed
        elif what == "wait":
            line.time += which * 7
        elif what in ("end", "drop") and line.air:
            ticket = line.air.pop(which % len(line.air))
            if what == "end":
                details = {"retry_after": seconds} if seconds and code is Code.RATE_LIMITED else {}
                line.throttle.ended(ticket, failure(code, **details))
            line.throttle.landed(ticket)
        assert 1 <= line.allowed <= size
        assert line.throttle.in_air == len(line.air)
        assert line.throttle.wait() >= 0
    for ticket in line.air:
        line.throttle.landed(ticket)
    wait = line.throttle.wait()
    assert (wait == math.inf) == (line.throttle.hopeless is not None)
    if wait < math.inf:
        line.time += wait
        assert line.begin() >= 1
