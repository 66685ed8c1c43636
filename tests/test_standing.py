"""How a run stands: the words of the progress bar, and the time that is left."""

from __future__ import annotations

import pytest

from packshot.standing import Pace, Standing, in_words, standing_of


def test_the_words_have_counts_money_and_time() -> None:
    standing = Standing(1000, archived=630, failed=8, held=2, spent_micro=57_600_000, seconds_left=700)
    assert standing.text == "640 of 1,000 images done, 8 failed, 2 held; $57.60 so far; about 12 min left"
    assert (standing.done, standing.percent) == (640, 64)


def test_the_words_leave_out_what_there_is_not() -> None:
    assert Standing(9, 3, 0, 0, 270_000).text == "3 of 9 images done; $0.27 so far"
    assert Standing(9, 9, 0, 0, 0, seconds_left=0).text == "9 of 9 images done; $0.00 so far"
    assert Standing(9, 3, 0, 0, 0, held_for=4.6).text.endswith("; calls wait 5 s for the provider")
    assert Standing(0, 0, 0, 0, 0).percent == 100


def test_the_time_left_follows_from_the_pace() -> None:
    pace = Pace(done=10, now=1000, at_once=5)
    assert pace.seconds_left(10, 110, 1030) is None
    assert pace.seconds_left(14, 110, 1030) is None  # not yet as many as are made at once
    assert pace.seconds_left(15, 110, 1030) == pytest.approx(6 * 95)  # 6 s for each
    assert pace.seconds_left(60, 110, 1100) == pytest.approx(2 * 50)
    assert pace.seconds_left(110, 110, 1200) == 0


def test_states_become_a_standing() -> None:
    states = {"archived": 4, "failed": 1, "held": 2, "calling": 3, "planned": 5, "generated": 1}
    standing = standing_of(states, 450_000, None, 50, 1.5)
    assert standing == Standing(16, 4, 1, 2, 450_000, None, 1.5)
    assert standing_of(states, 0, Pace(2, 40, 5), 50, 0).seconds_left == pytest.approx(10 / 5 * 9)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.3, "about 10 s"), (44, "about 40 s"), (89, "about 90 s"), (90, "about 2 min"), (1234, "about 21 min"),
        (5399, "about 1 h 30 min"), (7200, "about 2 h"), (10_000, "about 2 h 50 min"),
    ],
)  # fmt: skip
def test_an_estimate_is_no_finer_than_it_can_be(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
