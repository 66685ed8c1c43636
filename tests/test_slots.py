"""Call slots: never more than allowed, and calls that begin go before other work."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from packshot.slots import CallSlots


def test_never_more_calls_than_slots() -> None:
    slots = CallSlots(3)
    together = threading.Barrier(3)  # breaks unless three are in at once

    def call(_: int) -> int:
        with slots.take():
            together.wait(5)
            return slots.taken

    with ThreadPoolExecutor(20) as pool:
        assert max(pool.map(call, range(300))) == 3
    assert slots.taken == 0


def test_other_work_waits_until_the_call_has_gone_out() -> None:
    slots = CallSlots(1)
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
        archiving.result(5)
    assert order == ["sent", "archived"]


def test_a_slot_given_back_without_a_call_holds_nobody_up() -> None:
    slots = CallSlots(1)
    with pytest.raises(ZeroDivisionError), slots.take():
        raise ZeroDivisionError
    waiter = threading.Thread(target=slots.calls_first)
    waiter.start()
    waiter.join(0.5)
    assert not waiter.is_alive()
    assert slots.taken == 0
