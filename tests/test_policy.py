"""What is decided after a failure, for every code there is."""

from __future__ import annotations

from typing import Any

import pytest

from packshot.errors import Billed, Code, PackshotError
from packshot.policy import Decision, Past, Verdict, after_archive, after_call
from packshot.settings import Settings

RETRY, FAIL, HOLD, STOP = Verdict.RETRY, Verdict.FAIL, Verdict.HOLD, Verdict.STOP

# Verdict after the first such call with the settings as they come, and after the second of the same run.
# Written out by hand: a new code must be thought about here, too.
AFTER_CALL: dict[Code, tuple[Verdict, Verdict]] = {
    # the run is hopeless
    Code.SETTINGS_INVALID: (STOP, STOP), Code.SHOTS_INVALID: (STOP, STOP), Code.CATALOG_INVALID: (STOP, STOP),
    Code.PREFECT_UNREACHABLE: (STOP, STOP), Code.DATABASE_OUTDATED: (STOP, STOP), Code.DATABASE_NEWER: (STOP, STOP),
    Code.SANDBOX_FAILED: (STOP, STOP), Code.BAD_KEY: (STOP, STOP), Code.BALANCE_EMPTY: (STOP, STOP),
    Code.MODEL_UNAVAILABLE: (STOP, STOP), Code.FORBIDDEN: (STOP, STOP), Code.PROJECT_MISSING: (STOP, STOP),
    Code.S3_DENIED: (STOP, STOP), Code.BUCKET_MISSING: (STOP, STOP), Code.BUDGET_REACHED: (STOP, STOP),
    Code.HOLD_INVALID: (STOP, STOP), Code.RUN_OVER: (STOP, STOP),
    Code.DISK_FULL: (STOP, STOP), Code.STOP_REQUESTED: (STOP, STOP), Code.PROVIDER_FAILING: (STOP, STOP),
    # not billed, and another try may help
    Code.RATE_LIMITED: (RETRY, RETRY), Code.OVERLOADED: (RETRY, RETRY), Code.BAD_GATEWAY: (RETRY, RETRY),
    Code.WRITE_FAILED: (RETRY, RETRY), Code.CONNECT_FAILED: (RETRY, RETRY), Code.DOWNLOAD_FAILED: (RETRY, RETRY),
    Code.NOT_AN_IMAGE: (RETRY, RETRY), Code.IMAGE_TRUNCATED: (RETRY, RETRY), Code.ARCHIVE_FAILED: (RETRY, RETRY),
    Code.IN_PROGRESS: (RETRY, RETRY),
    Code.S3_UNREACHABLE: (RETRY, RETRY), Code.S3_INTEGRITY: (RETRY, RETRY), Code.S3_FAILED: (RETRY, RETRY),
    # not billed, and the same will happen again
    Code.BAD_REQUEST: (FAIL, FAIL), Code.MODERATION_BLOCKED: (FAIL, FAIL), Code.DOWNLOAD_REFUSED: (FAIL, FAIL),
    Code.LOST: (FAIL, FAIL), Code.TOO_LARGE: (FAIL, FAIL), Code.WRONG_SIZE: (FAIL, FAIL),
    Code.REFERENCE_UNAVAILABLE: (FAIL, FAIL), Code.MISSING_KEY: (FAIL, FAIL), Code.MISSING_TITLE: (FAIL, FAIL),
    Code.CATALOG_UNREACHABLE: (STOP, STOP), Code.BAD_XML: (FAIL, FAIL), Code.FILE_DAMAGED: (FAIL, FAIL),
    Code.DUPLICATE_KEY: (FAIL, FAIL), Code.BAD_WIDTH: (FAIL, FAIL), Code.OPEN_QUOTE: (FAIL, FAIL),
    Code.BAD_JSON: (FAIL, FAIL), Code.BAD_TEXT: (FAIL, FAIL), Code.BAD_FIELD: (FAIL, FAIL),
    Code.NOT_SELECTED: (FAIL, FAIL), Code.ORPHAN_ROW: (FAIL, FAIL), Code.UNRENDERABLE: (FAIL, FAIL),
    Code.PHOTO_NEEDED: (FAIL, FAIL), Code.SPOOL_MISSING: (FAIL, FAIL), Code.SKIPPED: (FAIL, FAIL),
    Code.SUPERSEDED: (FAIL, FAIL), Code.ORPHAN_VARIANT: (FAIL, FAIL),
    # perhaps billed: bought again once
    Code.SERVER_ERROR: (RETRY, HOLD), Code.GATEWAY_TIMEOUT: (RETRY, HOLD), Code.TIMEOUT: (RETRY, HOLD),
    Code.CONNECTION_LOST: (RETRY, HOLD), Code.ANSWER_CUT: (RETRY, HOLD), Code.NOT_JSON: (RETRY, HOLD),
    Code.INTERRUPTED: (RETRY, HOLD), Code.UNEXPECTED: (HOLD, HOLD),
    # billed
    Code.REFUSED_SAFETY: (HOLD, HOLD), Code.REFUSED_PROHIBITED: (HOLD, HOLD), Code.REFUSED_TEXT: (HOLD, HOLD),
    Code.INPUT_BLOCKED: (HOLD, HOLD), Code.NO_IMAGE: (RETRY, HOLD), Code.ANSWER_NOT_SAVED: (HOLD, HOLD),
}  # fmt: skip


def given(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def past(code: Code, tries: int, purchases: int | None = None) -> Past:
    """``tries`` failures of this code in this run; ``purchases``: how many of them count as such, all by default."""
    count = tries if purchases is None else purchases
    refused = (Code.REFUSED_SAFETY, Code.REFUSED_PROHIBITED, Code.REFUSED_TEXT, Code.INPUT_BLOCKED)
    return Past(
        tries=tries,
        unknown=count * (code.billed is Billed.UNKNOWN),
        refused=count * (code in refused),
        no_image=count * (code is Code.NO_IMAGE),
    )


def verdict(code: Code, tries: int, settings: Settings, **details: Any) -> Verdict:
    return after_call(PackshotError(code, "x", **details), past(code, tries), settings).verdict


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_its_verdict(code: Code) -> None:
    assert (verdict(code, 1, given()), verdict(code, 2, given())) == AFTER_CALL[code]


@pytest.mark.parametrize("code", list(Code))
def test_nothing_is_tried_without_end(code: Code) -> None:
    for tries in (4, 5, 50):
        assert verdict(code, tries, given(max_tries=4)) is not RETRY
    everything = {"on_unknown": "retry", "on_refusal": "retry", "on_no_image": "retry", "max_tries": 20}
    for tries in (20, 21):
        assert verdict(code, tries, given(**everything)) is not RETRY


@pytest.mark.parametrize("code", [code for code in Code if code.billed is not Billed.NO])
def test_what_may_have_been_billed_is_bought_again_at_most_once(code: Code) -> None:
    everything = given(on_unknown="retry", on_refusal="retry", on_no_image="retry", max_tries=20)
    assert verdict(code, 2, everything) is not RETRY
    # Also when the first purchase was an earlier run's.
    decision = after_call(PackshotError(code, "x"), past(code, 1, purchases=2), everything)
    assert decision.verdict is not RETRY


@pytest.mark.parametrize("code", [code for code in Code if code.billed is not Billed.NO])
def test_nothing_that_may_have_been_billed_is_bought_again_against_the_settings(code: Code) -> None:
    nothing = given(on_unknown="hold", on_refusal="hold", on_no_image="hold")
    assert verdict(code, 1, nothing) is HOLD


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        (Code.TIMEOUT, "on_unknown"),
        (Code.INTERRUPTED, "on_unknown"),
        (Code.REFUSED_SAFETY, "on_refusal"),
        (Code.NO_IMAGE, "on_no_image"),
    ],
)
def test_each_policy_is_obeyed(code: Code, setting: str) -> None:
    assert verdict(code, 1, given(**{setting: "retry"})) is RETRY
    assert verdict(code, 1, given(**{setting: "hold"})) is HOLD


def test_no_picture_is_bought_a_third_time_for_another_reason() -> None:
    for code in (Code.TIMEOUT, Code.NO_IMAGE, Code.REFUSED_SAFETY):
        again = given(on_refusal="retry")
        assert after_call(PackshotError(code, "x"), Past(2, unknown=1, no_image=1), again).verdict is HOLD
        assert after_call(PackshotError(code, "x"), Past(2, refused=1), again).verdict is RETRY


def test_a_billed_call_counts_against_the_tries_of_a_run() -> None:
    assert verdict(Code.TIMEOUT, 1, given(max_tries=1)) is HOLD
    assert verdict(Code.RATE_LIMITED, 1, given(max_tries=1)) is FAIL


def test_a_refusal_that_may_pass_stops_the_run_only_when_it_comes_twice() -> None:
    assert verdict(Code.MODEL_UNAVAILABLE, 1, given(), maybe_transient=True) is RETRY
    assert verdict(Code.MODEL_UNAVAILABLE, 2, given(), maybe_transient=True) is STOP


# --- waiting --------------------------------------------------------------------------------------------------
def delay(code: Code, tries: int = 1, jitter: float = 0.0, **details: Any) -> float:
    decision = after_call(PackshotError(code, "x", **details), Past(tries), given(max_tries=20), jitter)
    assert decision.verdict is RETRY
    return decision.delay


def test_a_provider_does_not_hold_an_image_for_longer_than_a_run_waits_for_it() -> None:
    settings = given(provider_patience=100)
    asked = PackshotError(Code.OVERLOADED, "x", retry_after=86_400)
    assert after_call(asked, Past(1), settings) == Decision(RETRY, 100)


def test_waits_grow_and_the_last_one_repeats() -> None:
    assert [delay(Code.RATE_LIMITED, tries) for tries in (1, 2, 3, 4, 9)] == [5, 15, 45, 45, 45]


def test_a_bad_gateway_waits_for_the_restart() -> None:
    assert [delay(Code.BAD_GATEWAY, tries) for tries in (1, 3)] == [30, 30]


def test_jitter_stretches_by_up_to_half() -> None:
    assert delay(Code.RATE_LIMITED, jitter=1.0) == 7.5
    assert delay(Code.BAD_GATEWAY, jitter=0.5) == 37.5


def test_the_provider_may_ask_for_more_patience_but_not_for_less() -> None:
    assert delay(Code.RATE_LIMITED, retry_after=60) == 60
    assert delay(Code.RATE_LIMITED, retry_after=1) == 5
    assert delay(Code.RATE_LIMITED, retry_after=None) == 5


# --- bringing images home -------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", list(Code))
def test_an_image_that_was_paid_for_is_given_up_only_when_nobody_can_fetch_it(code: Code) -> None:
    decision = after_archive(PackshotError(code, "x"), 1, given())
    gone = code in (Code.LOST, Code.SPOOL_MISSING)
    assert (decision.verdict is HOLD) == gone
    assert (decision.verdict is STOP) == code.stops_run
    if not code.stops_run and not gone:
        assert decision.verdict is (RETRY if code.retryable else FAIL)


def test_what_is_no_picture_on_this_disk_will_be_none_the_next_time() -> None:
    for code in (Code.NOT_AN_IMAGE, Code.IMAGE_TRUNCATED):
        assert after_archive(PackshotError(code, "x"), 1, given(), in_spool=True).verdict is HOLD
        assert after_archive(PackshotError(code, "x"), 1, given()).verdict is RETRY
    assert after_archive(PackshotError(Code.S3_UNREACHABLE, "x"), 1, given(), in_spool=True).verdict is RETRY


def test_a_lost_image_is_bought_anew_once_if_the_settings_say_so() -> None:
    lost, again = PackshotError(Code.LOST, "x"), given(on_lost="retry")
    assert [after_archive(lost, times, again).verdict for times in (1, 2)] == [RETRY, HOLD]


def test_a_rule_of_its_own_wins() -> None:
    own = given(
        retry={"rate_limited": {"retries": 1, "waits": [7]}, "timeout": {"retries": 0}, "s3_failed": {"retries": 1}}
    )
    assert [after_call(PackshotError(Code.RATE_LIMITED, "x"), Past(n), own) for n in (1, 2)] == [
        Decision(RETRY, 7),
        Decision(FAIL),
    ]
    assert verdict(Code.TIMEOUT, 1, own) is HOLD
    assert verdict(Code.SERVER_ERROR, 1, own) is RETRY
    assert [after_archive(PackshotError(Code.S3_FAILED, "x"), n, own).verdict for n in (1, 2)] == [RETRY, FAIL]


def test_bringing_home_is_tried_as_often_as_the_settings_say() -> None:
    down = PackshotError(Code.S3_UNREACHABLE, "x")
    found = [after_archive(down, tries, given(max_archive_tries=3)) for tries in (1, 2, 3, 4)]
    assert found == [Decision(RETRY, 5), Decision(RETRY, 15), Decision(FAIL), Decision(FAIL)]


def test_a_billed_answer_that_could_not_be_kept_stops_the_run_and_is_not_bought_again() -> None:
    decision = after_call(PackshotError(Code.ANSWER_NOT_SAVED, "disk full"), Past(), given())
    assert (decision.verdict, decision.stops_run) == (HOLD, True)
    assert after_call(PackshotError(Code.BAD_KEY, "no"), Past(), given()).stops_run
    assert not after_call(PackshotError(Code.RATE_LIMITED, "slow"), Past(), given()).stops_run
