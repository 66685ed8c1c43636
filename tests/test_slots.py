"""Call slots: threads obey the throttle, calls that begin go before other work, and a stop ends all waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from packshot.errors import Code, PackshotError
from packshot.settings import Settings
from packshot.slots import CallSlots
from packshot.throttle import Throttle


def throttle(size: int, **values: Any) -> Throttle:
    return Throttle(size, Settings(_env_file=None, **values), jitter=lambda: 0.0)


def slots_for(size: int, stopped: Callable[[], bool] = lambda: False, **values: Any) -> CallSlots:
    return CallSlots(throttle(size, **values), stopped)


def failed(code: Code, **details: Any) -> PackshotError:
    return PackshotError(code, "words of the error", **details)


@contextmanager
def slots_of_a_failing_provider(size: int, waiting: int, stopped: Callable[[], bool]) -> Iterator[list[Any]]:
    """All calls are held back for minutes; so many threads wait. Yields what they were given, which grows."""
    slots = slots_for(size, stopped)
    with slots.take() as slot:
        assert slot
        slot.ended(failed(Code.RATE_LIMITED, retry_after=600))
    given: list[Any] = []

    def wait() -> None:
        with slots.take() as slot:
            given.append(slot)

    threads = [threading.Thread(target=wait) for _ in range(waiting)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    assert given == []
    yield given
    for thread in threads:
        thread.join(1)
    assert not any(thread.is_alive() for thread in threads)


# --- who may call ---------------------------------------------------------------------------------------------------
def test_never_more_calls_than_slots() -> None:
    slots = slots_for(3)
    together = threading.Barrier(3)  # breaks unless three are in at once

    def call(_: int) -> int:
        with slots.take() as slot:
            assert slot
            together.wait(5)
            return slots.taken

    with ThreadPoolExecutor(20) as pool:
        assert max(pool.map(call, range(300))) == 3
    assert slots.taken == 0


def test_first_come_first_served() -> None:
    slots = slots_for(1)
    order: list[int] = []

    def call(number: int) -> None:
        with slots.take():
            order.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(10)]
    with slots.take():
        for thread in threads:
            thread.start()
            time.sleep(0.01)
    for thread in threads:
        thread.join(5)
    assert order == list(range(10))


def test_a_free_slot_goes_to_the_next_without_delay() -> None:
    """1,000 calls of 20 ms, 100 at once, 8 threads to spare: within a few percent of 10 rounds of 20 ms."""
    slots = slots_for(100)

    def call(_: int) -> None:
        with slots.take() as slot:
            assert slot
            slots.sent()
            time.sleep(0.02)
            slot.ended(None)

    with ThreadPoolExecutor(108) as pool:
        list(pool.map(call, range(108)))  # all threads are there
        start = time.monotonic()
        list(pool.map(call, range(1000)))
        seconds = time.monotonic() - start
    assert 0.2 <= seconds < 0.6


def test_after_a_429_fewer_calls_begin_and_none_before_the_wait_is_over() -> None:
    slots = slots_for(8, retry={"rate_limited": {"waits": (0.3,)}})
    most = 0
    begun: list[float] = []
    start = threading.Barrier(8)

    def refused() -> None:
        with slots.take() as slot:
            assert slot
            start.wait(5)
            slot.ended(failed(Code.RATE_LIMITED))

    def call() -> None:
        nonlocal most
        with slots.take() as slot:
            assert slot
            begun.append(time.monotonic())
            most = max(most, slots.taken)
            time.sleep(0.02)

    with ThreadPoolExecutor(8) as pool:
        for refusal in [pool.submit(refused) for _ in range(8)]:
            refusal.result(5)
        ended = time.monotonic()
        for waiting in [pool.submit(call) for _ in range(16)]:
            waiting.result(5)
    assert most == 4
    assert 0.25 < begun[0] - ended < 1


def test_what_a_call_tells_is_obeyed_while_it_still_holds_its_slot() -> None:
    slots = slots_for(2, retry={"rate_limited": {"waits": (0.5,)}})
    began = threading.Event()

    def call() -> None:
        with slots.take():
            began.set()

    with slots.take() as slot:
        assert slot
        slot.ended(failed(Code.RATE_LIMITED))
        other = threading.Thread(target=call)
        other.start()
        assert not began.wait(0.2)
    assert began.wait(1)
    other.join(5)


def test_a_call_that_was_not_made_is_no_news() -> None:
    limits = throttle(1, failures_before_pause=2, pause=600)
    slots = CallSlots(limits, lambda: False)
    for told in (True, False, False, True):
        with slots.take() as slot:
            assert slot
            assert limits.held_for == 0
            if told:
                slot.ended(failed(Code.CONNECT_FAILED))
    assert limits.held_for > 500


# --- stopping -------------------------------------------------------------------------------------------------------
def test_a_stop_ends_all_waiting_within_a_moment() -> None:
    stop = threading.Event()
    with slots_of_a_failing_provider(50, 30, stop.is_set) as given:
        stop.set()
    assert given == [None] * 30


def test_once_stopped_no_slot_is_given() -> None:
    slots = slots_for(5, lambda: True)
    with slots.take() as slot:
        assert slot is None
    assert slots.taken == 0


def test_those_who_wait_for_a_busy_slot_notice_the_stop_too() -> None:
    stop = threading.Event()
    slots = slots_for(1, stop.is_set)
    given: list[Any] = []

    def wait() -> None:
        with slots.take() as slot:
            given.append(slot)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    with slots.take():
        for thread in threads:
            thread.start()
        stop.set()
        for thread in threads:
            thread.join(1)
        assert given == [None] * 5


def test_a_hopeless_provider_ends_all_waiting_and_gets_no_call() -> None:
    limits = throttle(3, failures_before_pause=2, provider_patience=0)
    slots = CallSlots(limits, lambda: False)
    given: list[Any] = []

    def wait() -> None:
        with slots.take() as slot:
            given.append(slot)

    with slots.take() as first, slots.take() as second, slots.take() as third:
        threads = [threading.Thread(target=wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        assert first
        assert second
        assert third
        first.ended(failed(Code.TIMEOUT))
        second.ended(failed(Code.TIMEOUT))
        assert limits.hopeless
        for thread in threads:
            thread.join(1)
        assert given == [None] * 5


def test_many_who_wait_cost_next_to_nothing() -> None:
    asked = 0
    stop = threading.Event()

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return stop.is_set()

    with slots_of_a_failing_provider(100, 50, stopped):
        asked = 0
        time.sleep(0.6)
        assert 1 <= asked <= 5
        stop.set()


# --- calls go before other work -------------------------------------------------------------------------------------
def test_other_work_waits_until_the_call_has_gone_out() -> None:
    slots = slots_for(1)
    order: list[str] = []
    taken, go = threading.Event(), threading.Event()

    def call() -> None:
        with slots.take():
            taken.set()
            go.wait(5)
            order.append("sent")
            slots.sent()

    def archive() -> None:
        slots.calls_first()
        order.append("archived")

    with ThreadPoolExecutor(2) as pool:
        calling = pool.submit(call)
        assert taken.wait(5)
        archiving = pool.submit(archive)
        go.set()
        calling.result(5)
        archiving.result(0.7)  # told at once, not after its second of courtesy
    assert order == ["sent", "archived"]


def test_a_slot_given_back_without_a_call_holds_nobody_up() -> None:
    slots = slots_for(1)
    with pytest.raises(ZeroDivisionError), slots.take():
        raise ZeroDivisionError
    waiter = threading.Thread(target=slots.calls_first)
    waiter.start()
    waiter.join(0.5)
    assert not waiter.is_alive()
    assert slots.taken == 0


def test_those_who_are_held_back_hold_no_other_work_up() -> None:
    stop = threading.Event()
    slots = slots_for(2, stop.is_set)
    with slots.take() as slot:
        assert slot
        slot.ended(failed(Code.RATE_LIMITED, retry_after=600))

    def call() -> None:
        with slots.take():
            pass

    held = threading.Thread(target=call)
    held.start()
    time.sleep(0.05)
    start = time.monotonic()
    slots.calls_first()
    assert time.monotonic() - start < 0.3
    stop.set()
    held.join(5)
