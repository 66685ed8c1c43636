"""Which row of the provider's log is which call: pure, with made-up rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.apiyi.account import LogRow
from packshot.db.tables import Attempt
from packshot.errors import Billed
from packshot.log_match import FOUND_IN_LOG, GATEWAYS_OWN, TOLERANCE, Differences, Kind, match
from tests.db.ledger_cases import PRICE, START

LONGEST = timedelta(seconds=900)
LATER = START + timedelta(days=1)
_NUMBERS = iter(range(1, 10**9))


def call(seconds: float = 0, billed: Billed = Billed.UNKNOWN, **fields: Any) -> Attempt:
    usual: dict[str, Any] = {
        "id": next(_NUMBERS), "job_id": 1, "run_id": 1, "number": 1, "model": "m", "wire_format": "images",
        "price_micro": PRICE, "cost_micro": 0 if billed is Billed.NO else PRICE, "billed": billed,
        "code": None if billed is Billed.YES else "connection_lost", "request_ids": {},
        "started_at": START + timedelta(seconds=seconds), "settled_at": START + timedelta(seconds=seconds + 30),
    }  # fmt: skip
    return Attempt(**(usual | fields))


def row(after: float = 0, name: str = "", **fields: Any) -> LogRow:
    usual: dict[str, Any] = {
        "request_id": name or f"r{next(_NUMBERS)}", "created_at": START + timedelta(seconds=after), "model": "m",
        "token_name": "shop", "token_group": "Default", "cost_micro": PRICE, "seconds": None, "error_code": "",
    }  # fmt: skip
    return LogRow(**(usual | fields))


def compare(calls: Sequence[Attempt], rows: Sequence[LogRow], **period: Any) -> Differences:
    usual: dict[str, Any] = {"since": START - timedelta(hours=1), "until": LATER, "now": LATER, "longest_call": LONGEST}
    return match(calls, rows, **(usual | period))


def pairs(found: Differences) -> dict[int | None, str | None]:
    """Attempt -> the row it was given, of those that differ."""
    return {d.attempt.id: d.row.request_id if d.row else None for d in found.found if d.attempt}


def named(name: str, header: str = GATEWAYS_OWN) -> dict[str, Any]:
    return {"request_ids": {header: name}}


# --- one call ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("billed", "charged", "kind"),
    [
        (Billed.UNKNOWN, PRICE, Kind.UNKNOWN_BILLED),
        (Billed.UNKNOWN, PRICE * 2, Kind.UNKNOWN_BILLED),
        (Billed.UNKNOWN, 0, Kind.UNKNOWN_NOT_BILLED),
        (Billed.UNKNOWN, None, Kind.UNKNOWN_NOT_BILLED),
        (Billed.YES, PRICE, None),
        (Billed.YES, PRICE + 1, Kind.PRICE_DIFFERS),
        (Billed.YES, None, Kind.NOT_IN_LOG),
        (Billed.NO, PRICE, Kind.BILLED_THOUGH_FREE),
        (Billed.NO, 0, None),
        (Billed.NO, None, None),
    ],
)
def test_what_a_call_and_its_row_come_to(billed: Billed, charged: int | None, kind: Kind | None) -> None:
    mine = call(billed=billed, **named("x"))
    rows = [] if charged is None else [row(name="x", cost_micro=charged)]
    found = compare([mine], rows)
    assert [d.kind for d in found.found] == ([kind] if kind else [])
    assert (found.ledger_micro, found.log_micro) == (mine.cost_micro, charged or 0)
    assert sum(d.booked_micro - d.charged_micro for d in found.found) == found.ledger_micro - found.log_micro


@pytest.mark.parametrize("header", [GATEWAYS_OWN, "x-request-id", "request-id", "x-oneapi-request-id"])
def test_any_header_may_hold_the_id(header: str) -> None:
    found = compare([call(billed=Billed.YES, **named("x", header))], [row(5000, "x")])
    assert found.found == ()


def test_the_ids_of_the_model_itself_are_none_of_the_logs() -> None:
    found = compare([call(billed=Billed.YES, **named("x", "responseId"))], [row(5000, "x")])
    assert {d.kind for d in found.found} == {Kind.NOT_IN_LOG, Kind.NOT_IN_LEDGER}


def test_a_call_with_an_id_that_the_log_would_know_is_not_looked_for_by_time() -> None:
    found = compare([call(**named("x"))], [row(3, "y")])
    assert [d.kind for d in found.found] == [Kind.UNKNOWN_NOT_BILLED, Kind.NOT_IN_LEDGER]


def test_a_call_whose_only_id_is_somebody_elses_is_looked_for_by_time() -> None:
    found = compare([call(billed=Billed.YES, **named("vendor-7", "x-request-id"))], [row(3, "y")])
    assert found.found == ()


@pytest.mark.parametrize(
    ("seconds", "is_found"), [(-61, False), (-60, True), (0, True), (960, True), (961, False)]
)  # fmt: skip
def test_a_row_is_looked_for_within_the_longest_call(seconds: float, is_found: bool) -> None:
    found = compare([call()], [row(seconds)])
    assert (Kind.UNKNOWN_BILLED in found.by_kind) is is_found


def test_a_row_of_another_model_explains_nothing() -> None:
    found = compare([call(model="m")], [row(model="other")])
    assert [d.kind for d in found.found] == [Kind.UNKNOWN_NOT_BILLED, Kind.NOT_IN_LEDGER]


def test_the_log_may_know_a_model_by_another_name() -> None:
    """What it calls a model is seen where the id says which call is which."""
    calls = [call(0, Billed.YES, **named("x")), call(600)]
    found = compare(calls, [row(0, "x", model="alias"), row(605, "y", model="alias")])
    assert [d.kind for d in found.found] == [Kind.UNKNOWN_BILLED]


@pytest.mark.parametrize(("age", "kind"), [(960, Kind.TOO_EARLY), (961, Kind.UNKNOWN_NOT_BILLED)])
def test_what_is_not_in_the_log_yet_may_still_come(age: int, kind: Kind) -> None:
    found = compare([call()], [], now=START + timedelta(seconds=age))
    assert [d.kind for d in found.found] == [kind]


# --- many calls -------------------------------------------------------------------------------------------------
def test_calls_far_apart_get_the_rows_near_them() -> None:
    """Whether the log's time is the beginning or the end of a call: the beginning is what counts."""
    calls = [call(0), call(300), call(600)]
    for at in (0, 40):  # 40 s is how long each took
        rows = [row(300 + at, "b", seconds=40.0), row(600 + at, "c", seconds=40.0)]
        found = compare(calls, rows)
        assert pairs(found) == {calls[0].id: None, calls[1].id: "b", calls[2].id: "c"}


def test_a_near_row_is_left_to_the_call_that_has_no_other() -> None:
    early, late = call(0), call(100)
    found = compare([early, late], [row(45, "both"), row(-50, "early only")])
    assert pairs(found) == {early.id: "early only", late.id: "both"}
    assert found.by_kind == {Kind.UNKNOWN_BILLED: 2}


def test_what_must_be_in_the_log_comes_before_what_may_be() -> None:
    perhaps, surely = call(0), call(500, Billed.YES, **named("vendor", "x-request-id"))
    found = compare([perhaps, surely], [row(501, "r")])
    assert pairs(found) == {perhaps.id: None}


def test_a_call_in_the_air_takes_a_row_only_if_no_other_wants_it() -> None:
    flying, settled = call(0, settled_at=None), call(10)
    found = compare([flying, settled], [row(0, "r")])
    assert (pairs(found), found.in_the_air) == ({settled.id: "r"}, 1)
    assert compare([flying], [row(0, "r")]).found == ()


def test_a_row_that_came_very_late_sets_an_earlier_comparison_right() -> None:
    taken_for_free = call(0, Billed.NO)
    assert compare([taken_for_free], [row(9)]).by_kind == {Kind.BILLED_THOUGH_FREE: 1}
    refused = call(0, Billed.NO, code="rate_limited")
    assert compare([refused], [row(9)]).by_kind == {Kind.NOT_IN_LEDGER: 1}


def test_the_id_that_came_with_an_answer_counts_more_than_one_found_by_time() -> None:
    mistaken = call(0, Billed.YES, code="timeout", **named("x", FOUND_IN_LOG))
    owner = call(1, Billed.YES, **named("x"))
    assert compare([mistaken, owner], [row(1, "x")]).by_kind == {Kind.NOT_IN_LOG: 1}
    assert compare([mistaken], [row(1, "x")]).found == ()


def test_other_keys_of_the_account_are_no_business_of_ours() -> None:
    calls = [call(0, Billed.YES, **named("x")), call(10)]
    found = compare(calls, [row(0, "x"), row(12, "y", token_name="another program")])
    assert found.by_kind == {Kind.UNKNOWN_NOT_BILLED: 1}
    assert (found.other_keys, found.other_keys_micro, found.log_micro) == (1, PRICE, PRICE)


def test_a_failed_write_in_the_log_is_no_charge_to_explain() -> None:
    assert compare([], [row(cost_micro=0, error_code="write_response_body_failed")]).found == ()


def test_what_lies_outside_the_period_explains_and_is_not_reported() -> None:
    calls = [call(-10, Billed.YES, **named("w")), call(5), call(95), call(110)]
    rows = [row(2, "w"), row(6, "x"), row(101, "y"), row(300, "z")]
    period = {"since": START, "until": START + timedelta(seconds=100)}
    found = compare(calls, rows, **period)
    assert pairs(found) == {calls[1].id: "x", calls[2].id: "y"}
    assert (found.ledger_micro, found.log_micro) == (2 * PRICE, 2 * PRICE)


@settings(max_examples=150, deadline=None)
@given(
    starts=st.lists(st.integers(0, 400), max_size=5),
    times=st.lists(st.integers(-80, 500), max_size=5),
)
def test_no_other_way_would_explain_more_rows(starts: list[int], times: list[int]) -> None:
    longest = timedelta(seconds=40)
    found = compare([call(start) for start in starts], [row(time) for time in times], longest_call=longest)
    ours = found.by_kind[Kind.UNKNOWN_BILLED]
    assert ours == _most(starts, times, TOLERANCE.total_seconds(), longest.total_seconds())
    assert found.by_kind[Kind.UNKNOWN_NOT_BILLED] == len(starts) - ours
    assert found.by_kind[Kind.NOT_IN_LEDGER] == len(times) - ours
    assert found.log_micro == PRICE * len(times)


def _most(starts: list[int], times: list[int], tolerance: float, longest: float) -> int:
    """By trying every order."""

    def fits(start: int, time: int) -> bool:
        return start - tolerance <= time <= start + longest + tolerance

    few, many, swapped = (starts, times, False) if len(starts) <= len(times) else (times, starts, True)
    return max(
        sum(fits(b, a) if swapped else fits(a, b) for a, b in zip(few, order, strict=True))
        for order in permutations(many, len(few))
    )


def test_a_long_outage_is_matched_in_a_moment() -> None:
    """Six hours in which every call's line broke, and some were charged."""
    calls = [call(second) for second in range(0, 21_600, 20)]
    rows = [row(second + 7) for second in range(0, 21_600, 30)]
    found = compare(calls, rows)
    assert found.by_kind == {Kind.UNKNOWN_BILLED: 720, Kind.UNKNOWN_NOT_BILLED: 360}
