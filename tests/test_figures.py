"""From time sheets to figures, and from figures to a sentence that says what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from packshot.advice import advice, says_something, sentence
from packshot.db.tables import Timesheet
from packshot.figures import Figures, duration, facts, figures_of, slot_rows, step_rows
from packshot.run_figures import as_facts, as_lines, short_facts
from packshot.stopwatch import Step, Use, length_class

BEGAN = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def step(*lengths: float) -> dict[str, Any]:
    classes: dict[str, int] = {}
    for length in lengths:
        number = str(length_class(length))
        classes[number] = classes.get(number, 0) + 1
    return {"times": len(lengths), "seconds": sum(lengths), "classes": classes}


def sheet(use: tuple[float, ...] = (95, 1, 0, 3, 1), steps: dict[str, Any] | None = None, **values: Any) -> Timesheet:
    """Of a process with 10 slots that worked for 10 s and made 100 calls of a second each."""
    usual: dict[str, Any] = {
        "name": "m:1:1:a", "run_id": 7, "began_at": BEGAN, "seen_at": BEGAN + timedelta(seconds=10), "seconds": 10.0,
        "cpu_seconds": 2.0, "slots": 10, "images": 100, "rate_limited": 0,
        "slot_seconds": dict(zip(Use, use, strict=True)),
        "steps": {"call": step(*[1.0] * 100), "work": step(10.0), "database": step(*[0.01] * 400)} | (steps or {}),
    }  # fmt: skip
    return Timesheet(**usual | values)


def figures(*args: Any, database: str = "sqlite", **values: Any) -> Figures:
    found = figures_of([sheet(*args, **values)], database)
    assert found
    return found


# --- adding up ------------------------------------------------------------------------------------------------
def test_a_run_without_sheets_has_no_figures() -> None:
    assert figures_of([], "sqlite") is None
    waited = {"steps": {"limit": step(3.0), "work": step(0.1)}, "slot_seconds": {"calls": 0.0, "no_image": 1.0}}
    assert figures_of([Timesheet(**sheet().model_dump() | waited)], "sqlite") is None
    assert as_facts(None) is None


def test_two_workers_add_up() -> None:
    later = {"began_at": BEGAN + timedelta(seconds=5), "seen_at": BEGAN + timedelta(seconds=15)}
    parts = [
        sheet((90, 0, 0, 10, 0), images=90, rate_limited=1),
        sheet((60, 0, 40, 0, 0), {"call": step(*[3.0] * 20)}, images=20, rate_limited=2, name="n:2:2:b", **later),
    ]
    found = figures_of(parts, "postgresql")
    assert found
    assert (found.seconds, found.images, found.rate_limited, found.slots) == (15, 110, 3, 10)
    assert found.images_a_minute == pytest.approx(440)
    assert found.share(Use.CALLS) == pytest.approx(0.75)
    assert found.share(Use.HELD_BACK) == pytest.approx(0.2)
    call = found.steps[Step.CALL]
    assert (call.times, call.seconds) == (120, 160)
    assert call.mean == pytest.approx(4 / 3)
    assert 3.0 <= call.p95 <= 3.3
    assert found.processors == pytest.approx(0.2)


@pytest.mark.parametrize(("parts", "processes"), [(1, 1), (2, 2), (8, 8)])
def test_processes_are_those_at_work_at_the_same_time(parts: int, processes: int) -> None:
    at_once = figures_of([sheet(name=f"m:{n}:1:a") for n in range(parts)], "sqlite")
    assert at_once
    assert at_once.processes == processes
    in_turn = figures_of(
        [
            sheet(began_at=BEGAN + timedelta(seconds=10 * n), seen_at=BEGAN + timedelta(seconds=10 * n + 10))
            for n in range(parts)
        ],
        "sqlite",
    )
    assert in_turn
    assert in_turn.processes == 1


def test_a_process_that_only_waits_for_the_others_is_no_worker() -> None:
    """Who shares a run out has slots of its own, and no use for them."""
    waits = sheet((0, 0, 0, 0, 0), slots=50, images=2, cpu_seconds=0, seconds=1000)
    waits.steps = {"image": step(0.5, 0.5)}
    found = figures_of([waits, sheet()], "sqlite")
    assert found
    assert (found.slots, found.images, found.processors) == (10, 102, 0.2)
    assert found.share(Use.CALLS) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("lengths", "low", "high"),
    [([2.0], 2.0, 2.2), ([1.0] * 95 + [9.0] * 5, 1.0, 1.1), ([1.0] * 94 + [9.0] * 6, 9.0, 9.9), ([0.0], 0, 0.00012)],
)
def test_95_percent_stay_below(lengths: list[float], low: float, high: float) -> None:
    found = figures(steps={"call": step(*lengths)}).steps[Step.CALL].p95
    assert low <= found <= high


# --- what to do -----------------------------------------------------------------------------------------------
HOME = {"archiver": step(50.0), "download": step(5.0), "check": step(1.0), "upload": step(1.0)}
SLOW = {"database": step(*[0.5] * 400)}


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (figures(), ["The provider is the limit", "PACKSHOT_CONCURRENCY (now 10)"]),
        (figures((91, 3, 3, 3, 0)), ["The provider is the limit"]),
        (figures(rate_limited=1), ["is the limit", "429 once", "ask it for more before you raise"]),
        (figures((70, 0, 30, 0, 0), rate_limited=1200), ["429 1,200 times", "30 %", "lower PACKSHOT_CONCURRENCY"]),
        (figures((70, 0, 30, 0, 0)), ["failed again and again", "30 %"]),
        (figures((70, 0, 0, 30, 0), HOME), ["Downloads are slow, 5.0 s each", "30 %", "--workers"]),
        (figures((70, 0, 0, 30, 0), HOME | {"upload": step(7.0)}), ["The bucket is slow, 7.0 s for an image"]),
        (figures((70, 0, 0, 30, 0), HOME | {"check": step(7.0)}), ["Checking images is slow, 7.0 s each"]),
        (figures((70, 0, 0, 30, 0), HOME, cpu_seconds=9.5), ["The processor is the limit", "30 %", "--workers"]),
        (figures((70, 0, 0, 30, 0), HOME | SLOW), ["The database is slow, 0.5 s for each write", "use PostgreSQL"]),
        (figures((70, 0, 0, 30, 0), SLOW, database="postgresql"), ["The database is slow", "nearer"]),
        (figures((70, 30, 0, 0, 0), {"taken": step(125.0)}), ["The database is slow", "30 %", "use PostgreSQL"]),
        (figures((70, 30, 0, 0, 0), {"taken": step(101.0)}), ["The processor is the limit", "30 %"]),
        (figures((70, 0, 0, 0, 30)), ["Images were started too slowly", "30 %", "--workers"]),
        (figures((70, 0, 0, 0, 30), slots=11), ["Too short to tell", "100 calls in 11 slots"]),
        (figures((70, 0, 0, 0, 30), cpu_seconds=9.5), ["The processor is the limit"]),
        (figures(steps={"limit": step(12.0)}), ["It waited 12.0 s for slots of the limit", "prefect gcl update"]),
    ],
)  # fmt: skip
def test_the_advice_names_the_limit_and_what_to_change(made: Figures, says: list[str]) -> None:
    text = advice(made)
    assert [part for part in says if part not in text] == [], text
    assert text.endswith(".")
    assert text.count("\n") == 0


def test_several_processes_are_named() -> None:
    found = figures_of([sheet(name="m:1:1:a"), sheet(name="n:1:1:b")], "sqlite")
    assert found
    assert "(now 10 in each of 2 processes)" in advice(found)


def test_one_call_in_each_slot_says_nothing_of_a_limit() -> None:
    assert not says_something(figures((10, 0, 0, 90, 0), slots=51))
    assert advice(figures((10, 0, 0, 90, 0), slots=51)) == ""
    assert says_something(figures((10, 0, 0, 90, 0), slots=50))


def test_without_calls_there_is_nothing_to_advise() -> None:
    home = sheet((0, 0, 0, 0, 0), images=5)
    home.steps = {"image": step(1.0)}
    found = figures_of([home], "sqlite")
    assert found
    assert sentence(found) == "30.0 images a minute."
    assert [*slot_rows(found)] == []
    assert short_facts(found) == {"images_a_minute": "30.0", "slots_busy": None}


# --- for people and programs ----------------------------------------------------------------------------------
def test_the_sentence() -> None:
    assert sentence(figures()) == (
        "600.0 images a minute, call slots busy 95 % of the time. The provider is the limit: for more, raise "
        "PACKSHOT_CONCURRENCY (now 10) and the limit that all runs share."
    )


def test_the_rows_leave_out_what_did_not_happen() -> None:
    assert next(slot_rows(figures())) == ("calls", "95.0 %")
    assert [(row[0], row[1], row[2], row[4]) for row in step_rows(figures())] == [
        ("provider (the call)", 100, "1.0 s", "1 min 40 s"),
        ("database (each change)", 400, "10 ms", "4.0 s"),
    ]


def test_the_facts_for_programs() -> None:
    found = facts(figures())
    assert (found["images_a_minute"], found["slots_busy"], found["slots"]) == (600.0, 0.95, 10)
    assert found["slot_seconds"] == {"calls": 95, "starting": 1, "held_back": 0, "homeward": 3, "no_image": 1}
    assert found["steps"]["call"] | {"p95": 0} == {"times": 100, "mean": 1.0, "p95": 0, "seconds": 100.0}
    assert found["steps"]["upload"]["times"] == 0


def test_the_lines_for_a_terminal_are_aligned() -> None:
    lines = [*as_lines(figures())]
    assert lines[0].startswith("600.0 images a minute")
    tables = [lines[2:8], lines[9:]]
    for table in tables:
        assert len({len(line) for line in table}) == 1
    assert tables[0][1].split() == ["calls", "95.0", "%"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"), (0.0042, "4 ms"), (0.0999, "100 ms"), (0.1, "0.1 s"), (2.44, "2.4 s"), (99.94, "99.9 s"),
        (99.96, "1 min 40 s"), (200, "3 min 20 s"), (5999.6, "1 h 40 min"), (7500, "2 h 5 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
