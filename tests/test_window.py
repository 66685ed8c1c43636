"""The window of submissions: bounded, patient, and quick to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from packshot.window import Room, Window


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class ByHand:
    """Futures that end when told, in the thread that tells: what happens when is up to the test."""

    def __init__(self) -> None:
        self.submitted: list[int] = []
        self.open: dict[int, Future[int]] = {}

    def __call__(self, item: int) -> Future[int]:
        self.submitted.append(item)
        self.open[item] = Future()
        return self.open[item]

    def end(self, *items: int) -> None:
        for item in items:
            self.open.pop(item).set_result(item)


def fill(window: Window[Any], items: range | list[int]) -> Window[Any]:
    for item in items:
        window.put(item)
    return window


def test_everything_is_worked_through_once_in_order(pool: ThreadPoolExecutor) -> None:
    started: list[int] = []

    def submit(item: int) -> Future[int]:
        started.append(item)
        return pool.submit(lambda: item * 2)

    results = {item: future.result() for item, future in fill(Window(submit, Room(3)), range(200)).run()}
    assert results == {item: item * 2 for item in range(200)}
    assert started == list(range(200))


def test_an_empty_window_ends_at_once(pool: ThreadPoolExecutor) -> None:
    window: Window[Future[int]] = Window(lambda item: pool.submit(int), Room(3))
    assert list(window.run()) == []


def test_never_more_than_size_are_unfinished(pool: ThreadPoolExecutor) -> None:
    lock = threading.Lock()
    unfinished = most = 0

    def submit(item: int) -> Future[None]:
        nonlocal unfinished, most
        with lock:
            unfinished += 1
            most = max(most, unfinished)
        return pool.submit(lambda: None)

    for _ in fill(Window(submit, Room(6)), range(100)).run():
        with lock:
            unfinished -= 1
    assert most == 6


def test_a_failed_future_is_handed_over_like_any_other(pool: ThreadPoolExecutor) -> None:
    window: Window[Future[float]] = fill(Window(lambda item: pool.submit(lambda: 1 / item), Room(2)), [0, 1])
    found = {item: future.exception() for item, future in window.run()}
    assert isinstance(found[0], ZeroDivisionError)
    assert found[1] is None


def test_a_retry_waits_for_its_time_and_holds_no_place_meanwhile() -> None:
    clock, work = Clock(), ByHand()
    window = fill(Window(work, Room(1), now=clock), [1, 2, 3])
    running = window.run()
    work_done: list[int] = []

    threading.Timer(0.05, work.end, [1]).start()
    work_done.append(next(running)[0])
    window.put(1, delay=30)
    for item in (2, 3):
        threading.Timer(0.05, work.end, [item]).start()
        work_done.append(next(running)[0])
    assert work.submitted == [1, 2, 3]
    clock.time = 30
    threading.Timer(0.05, work.end, [1]).start()
    work_done.append(next(running)[0])
    assert work.submitted == [1, 2, 3, 1]
    assert work_done == [1, 2, 3, 1]
    assert next(running, None) is None


def test_a_retry_that_is_due_goes_before_what_was_not_begun() -> None:
    clock, work = Clock(), ByHand()
    window = fill(Window(work, Room(1), now=clock), [1, 2, 3])
    running = window.run()
    threading.Timer(0.05, work.end, [1]).start()
    next(running)
    window.put(1, delay=30)
    clock.time = 31
    threading.Timer(0.05, work.end, [1]).start()
    next(running)
    assert work.submitted == [1, 1]


def test_retries_become_due_while_others_are_in_the_air(pool: ThreadPoolExecutor) -> None:
    """One long call must not keep a retry waiting when there is room."""
    release = threading.Event()
    tries: dict[int, int] = {}

    def submit(item: int) -> Future[bool]:
        tries[item] = tries.get(item, 0) + 1
        return pool.submit(release.wait, 10) if item == 0 else pool.submit(bool)

    window = fill(Window(submit, Room(2)), [0, 1])
    order = []
    for item, _ in window.run():
        order.append(item)
        if item == 1 and tries[1] < 3:
            window.put(1, delay=0.05)
        elif item == 1:
            release.set()
    assert order == [1, 1, 1, 0]


def test_waiting_for_a_retry_burns_no_processor(pool: ThreadPoolExecutor) -> None:
    window: Window[Future[int]] = Window(lambda item: pool.submit(int), Room(2))
    window.put(1, delay=0.5)
    began = time.process_time()
    assert len(list(window.run())) == 1
    assert time.process_time() - began < 0.25


def test_stopping_drains_what_is_in_the_air_and_submits_nothing_new() -> None:
    work = ByHand()
    stopped = False
    window = fill(Window(work, Room(3), stopped=lambda: stopped), range(10))
    window.put(99, delay=10_000)
    running = window.run()

    threading.Timer(0.05, work.end, [0]).start()
    assert next(running)[0] == 0
    stopped = True
    assert sorted(work.open) == [1, 2]
    threading.Timer(0.05, work.end, [2, 1]).start()
    assert [item for item, _ in running] == [2, 1]
    assert work.submitted == [0, 1, 2]


def test_stopped_from_the_start_submits_nothing() -> None:
    work = ByHand()
    assert list(fill(Window(work, Room(3), stopped=lambda: True), range(5)).run()) == []
    assert work.submitted == []


def test_items_put_in_while_iterating_are_taken_up(pool: ThreadPoolExecutor) -> None:
    window: Window[Future[int]] = fill(Window(lambda item: pool.submit(int), Room(2)), [1])
    seen = []
    for item, _ in window.run():
        seen.append(item)
        if item < 5:
            window.put(item + 1)
    assert seen == [1, 2, 3, 4, 5]


def test_spare_items_are_added_one_by_one_while_nothing_finishes(pool: ThreadPoolExecutor) -> None:
    release = threading.Event()
    submitted: list[float] = []

    def submit(item: int) -> Future[int]:
        submitted.append(time.monotonic())
        if len(submitted) == 5:
            release.set()  # the three spare ones came although the first two have not finished
        return pool.submit(lambda: (release.wait(10), item)[1])

    assert len(list(fill(Window(submit, Room(2, spare=3)), range(20)).run())) == 20
    assert release.is_set()
    assert submitted[1] - submitted[0] < submitted[4] - submitted[1]


def test_a_due_retry_without_room_does_not_spin(pool: ThreadPoolExecutor) -> None:
    """A retry that is due while the pool is full must wait for a result, not burn a core."""
    release = threading.Event()
    window: Window[Future[int]] = Window(lambda item: pool.submit(lambda: (release.wait(10), item)[1]), Room(1))
    window.put(0)
    window.put(1, delay=0.01)
    threading.Timer(0.4, release.set).start()
    before = time.thread_time()
    assert [item for item, _ in window.run()] == [0, 1]
    assert time.thread_time() - before < 0.1


def test_windows_that_share_a_room_never_fill_it_twice() -> None:
    first, second, room = ByHand(), ByHand(), Room(3)
    running = [
        fill(Window(first, room, name=0), range(4)).run(),
        fill(Window(second, room, name=10), range(10, 13)).run(),
    ]
    threading.Timer(0.05, first.end, [0]).start()
    assert next(running[0])[0] == 0
    assert not room.drained(0).is_set()  # one of its items waits for a place
    threading.Timer(0.05, first.end, [1, 2]).start()
    assert [next(running[0])[0] for _ in range(2)] == [1, 2]
    assert room.drained(0).is_set()
    assert first.submitted == [0, 1, 2, 3]
    threading.Timer(0.05, second.end, [10]).start()
    assert next(running[1])[0] == 10
    assert second.submitted == [10, 11]  # the third place is still taken by the other window
    assert room.taken == 2


def test_a_window_finds_the_places_that_another_one_leaves(pool: ThreadPoolExecutor) -> None:
    """Nobody tells it of them, so it looks."""
    first, second, room = ByHand(), ByHand(), Room(1)
    leaving = pool.submit(lambda: list(fill(Window(first, room, name=0), [0]).run()))
    _until(lambda: first.submitted == [0])
    coming = pool.submit(lambda: list(fill(Window(second, room, name=1), [1]).run()))
    assert not room.drained(1).wait(0.2)
    assert second.submitted == []
    first.end(0)
    assert leaving.result(5)
    assert room.drained(1).wait(5)
    second.end(1)
    assert [item for item, _ in coming.result(5)] == [1]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
