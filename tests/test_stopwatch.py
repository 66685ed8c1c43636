"""What the slots did at each moment, and how long each step took: by a clock that moves when it is told."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from packshot.stopwatch import Step, Stopwatch, Use, class_end, length_class, slot_use, untimed


class Watch:
    """A stopwatch with two slots, its clock, and its throttle."""

    def __init__(self) -> None:
        self.time = 100.0
        self.held_back = False
        self.watch = Stopwatch(2, lambda: self.held_back, lambda: self.time, lambda: self.time / 4)

    def used(self) -> dict[str, float]:
        return {use: seconds for use, seconds in self.watch.read().slot_seconds.items() if seconds}


@pytest.mark.parametrize(
    ("image", "slot", "taken", "call", "held_back", "expected"),
    [
        (0, 0, 0, 0, False, (0, 0, 0, 0, 4)),  # nothing to do
        (9, 5, 4, 4, False, (4, 0, 0, 0, 0)),  # every slot calls
        (9, 5, 4, 3, False, (3, 1, 0, 0, 0)),  # one call is being written down
        (9, 5, 2, 2, False, (2, 2, 0, 0, 0)),  # two are free, and somebody is about to take them
        (9, 5, 2, 2, True, (2, 0, 2, 0, 0)),  # two are free, and the throttle says no
        (9, 1, 0, 0, True, (0, 0, 1, 3, 0)),  # one image is ready, the others are on their way home
        (9, 0, 0, 0, False, (0, 0, 0, 4, 0)),  # all are on their way home
        (3, 0, 2, 2, False, (2, 0, 0, 1, 1)),  # the end: one slot has nothing left
        (5, 1, 4, 4, True, (4, 0, 0, 0, 0)),  # held back, but no slot is free anyway
    ],
)
def test_each_slot_is_in_one_use(
    image: int, slot: int, taken: int, call: int, held_back: bool, expected: tuple[int, ...]
) -> None:
    inside = Counter({Step.IMAGE: image, Step.SLOT: slot, Step.TAKEN: taken, Step.CALL: call})
    used = slot_use(4, inside, held_back)
    assert used == expected
    assert sum(used) == 4


def test_slots_are_booked_while_they_are_the_runs() -> None:
    this = Watch()
    with this.watch.of(Step.LIMIT) as waiting:
        this.time += 30
        assert this.used() == {}
        waiting.then(Step.WORK)
        this.time += 1
        with this.watch.of(Step.IMAGE), this.watch.of(Step.SLOT) as turn:
            this.time += 2
            turn.then(Step.TAKEN)
            this.time += 0.5
            with this.watch.of(Step.CALL):
                this.time += 10
                assert this.used()["calls"] == 10, "a call counts while it is in the air"
            turn.end()
            this.time += 4
    this.time += 50
    assert this.used() == {"calls": 10, "starting": 2.5, "homeward": 4, "no_image": 2 + 2 + 0.5 + 10 + 4}
    assert sum(this.used().values()) == 2 * 17.5
    reading = this.watch.read()
    assert (reading.seconds, reading.cpu_seconds, reading.slots) == (97.5, 24.375, 2)
    assert {step: (of["times"], of["seconds"]) for step, of in reading.steps.items()} == {
        "limit": (1, 30), "work": (1, 17.5), "image": (1, 16.5), "slot": (1, 2), "taken": (1, 10.5), "call": (1, 10),
    }  # fmt: skip


def test_what_the_throttle_takes_is_booked_as_such() -> None:
    this = Watch()
    with this.watch.of(Step.WORK), this.watch.of(Step.IMAGE):
        with this.watch.of(Step.CALL):
            this.held_back = True  # the call ends with a 429
        with this.watch.of(Step.SLOT):
            this.time += 7
            this.held_back = False  # the wait has just ended: until now it held
    assert this.used() == {"held_back": 7, "no_image": 7}


def test_a_step_ends_once_also_with_an_exception() -> None:
    this = Watch()

    def broken(ended: bool) -> None:
        with this.watch.of(Step.UPLOAD) as upload:
            this.time += 2
            if ended:
                upload.end()
            this.time += 5
            raise ZeroDivisionError

    for ended in (True, False):
        with pytest.raises(ZeroDivisionError):
            broken(ended)
    assert this.watch.read().steps["upload"]["times"] == 2
    assert this.watch.read().steps["upload"]["seconds"] == 2 + 7


@pytest.mark.parametrize("seconds", [0.0, 0.0001, 0.004, 0.99, 1.0, 1.01, 61.0, 900.0])
def test_a_length_is_told_to_the_tenth(seconds: float) -> None:
    number = length_class(seconds)
    assert seconds <= class_end(number) * (1 + 1e-9)
    assert class_end(number) <= max(seconds, 0.0001) * 1.1 * (1 + 1e-9)


def test_many_threads_lose_nothing() -> None:
    watch = Stopwatch(4)

    def work() -> None:
        for _ in range(500):
            with watch.of(Step.IMAGE), watch.of(Step.DATABASE):
                watch.count("images")

    threads = [threading.Thread(target=work) for _ in range(8)]
    with watch.of(Step.WORK):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reading = watch.read()
    assert (reading.images, reading.steps["database"]["times"]) == (4000, 4000)
    assert sum(reading.steps["database"]["classes"].values()) == 4000
    assert sum(reading.slot_seconds.values()) == pytest.approx(4 * reading.steps["work"]["seconds"], abs=0.01)
    assert set(reading.slot_seconds) == set(Use)


def test_nobody_has_to_measure() -> None:
    with untimed(Step.CHECK):
        pass
