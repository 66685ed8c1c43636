"""The report: sums that add up, a length that stays small, text that stays text, and the state a run ends in."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from packshot.db.tables import Run
from packshot.db.types import RunState
from packshot.errors import Code
from packshot.figures import Figures, StepTime
from packshot.report import TABLE_ROWS, Report, ending
from packshot.report_page import artifact_key, asset_table, markdown, reject_table
from packshot.stopwatch import Step, Use

BEGAN = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
MONEY = {
    "run": 7, "calls": 14, "images": 10, "not_billed": 2, "billed_without_image": 1, "unknown": 1, "in_the_air": 0,
    "archived": 10, "lost": 0, "unknown_usd": 0.09, "lost_usd": 0.0, "spent_usd": 1.08, "usd_per_archived": 0.108,
}  # fmt: skip


def run(**values: Any) -> Run:
    usual: dict[str, Any] = {
        "id": 7, "catalog": "spring", "source": "/data/spring.csv", "parameters": {"fail_above": 100.0},
        "state": RunState.COMPLETED, "started_at": BEGAN, "ended_at": BEGAN + timedelta(minutes=3),
        "records": 12, "accepted": 12, "planned": 12, "archived": 12, "calls": 14, "spent_micro": 1_080_000,
        "products_same": 12, "products_refused": 0, "products_gone": 0, "gone_unknown": "",
    }  # fmt: skip
    return Run(**usual | values)


def missing(number: int, code: Code = Code.MODERATION_BLOCKED, **values: Any) -> list[dict[str, Any]]:
    usual = {
        "outcome": "failed", "variant_key": "", "shot": "front", "variant": 1, "code": code,
        "message": "HTTP 400: no", "next_step": code.next_step, "job_key": "k",
    }  # fmt: skip
    return [usual | {"product_key": f"p-{n}"} | values for n in range(number)]


def reject(**values: Any) -> dict[str, Any]:
    usual = {"line": 3, "key": "p-3", "code": Code.MISSING_TITLE, "message": "no title", "next_step": "fill it"}
    return usual | values


def asset(n: int, **values: Any) -> dict[str, Any]:
    usual = {
        "product_key": f"p-{n}", "variant_key": "", "title": f"Product {n}", "shot": "front", "variant": 1,
        "url": f"https://img.example/p-{n}.png", "width": 1024, "height": 1024, "sha256": f"{n:064x}",
    }  # fmt: skip
    return usual | values


# --- the report -----------------------------------------------------------------------------------------------
def test_the_report_has_the_sums_and_the_money() -> None:
    text = markdown(Report(run(already=2, max_cost_micro=5_000_000), money=MONEY))
    assert text.startswith("# spring: 12 of 12 images are permanent\n")
    assert "Run 7 of /data/spring.csv, 2026-11-23 02:00:00 to 02:03:00 UTC." in text
    assert "| 12 | 12 | 0 | 0 | 0 |" in text
    assert "| 12 | 2 | 10 | 0 | 0 |" in text
    assert "| 14 | 10 | 2 | 1 | 1 ($0.09) |" in text
    assert "| $1.08 | $5.00 | $0.108 |" in text
    assert "##" not in text


def test_what_limited_the_run_is_said_with_its_figures() -> None:
    figures = Figures(
        "sqlite", BEGAN, BEGAN + timedelta(minutes=1), slots=5, images=60, rate_limited=0, processors=0.1,
        slot_seconds=dict(zip(Use, (291.0, 3.0, 0.0, 6.0, 0.0), strict=True)),
        steps=dict.fromkeys(Step, StepTime()) | {Step.CALL: StepTime(60, 291.0, 6.2)},
    )  # fmt: skip
    text = markdown(Report(run(), figures=figures))
    limited = text.partition("## What limited it\n\n")[2].splitlines()
    assert limited[0] == (
        "60.0 images a minute, call slots busy 97 % of the time. The provider is the limit: for more, raise "
        "PACKSHOT_CONCURRENCY (now 5) and the limit that all runs share."
    )
    assert "| calls | 97.0 % |" in limited
    assert limited[-3:] == [
        "| step | times | mean | 95 % within | in all |",
        "|---|---|---|---|---|",
        "| provider (the call) | 60 | 4.8 s | 6.2 s | 4 min 51 s |",
    ]


def test_a_run_without_calls_speaks_of_no_money() -> None:
    text = markdown(Report(run(calls=0, already=12)))
    assert "$" not in text
    assert "calls" not in text


def test_what_was_not_made_is_grouped_by_reason_with_the_next_step() -> None:
    held = missing(1, Code.WRONG_SIZE, outcome="held", message="ordered 4096x4096, got 1024x1024", variant=2)
    text = markdown(Report(run(archived=4, failed=7, held=1), unfinished=[*held, *missing(7)]))
    assert f"| 7 | `moderation_blocked` | {Code.MODERATION_BLOCKED.next_step} |\n| 1 | `wrong_size` |" in text
    assert (
        "- `moderation_blocked`: p-0 front, p-1 front, p-2 front, p-3 front, p-4 front and 2 more: HTTP 400: no" in text
    )
    assert "- `wrong_size`: p-0 front 2: ordered 4096x4096, got 1024x1024" in text
    assert "`packshot unfinished --run 7`" in text


def test_a_stopped_run_says_why_and_what_to_do() -> None:
    stopped = run(state=RunState.STOPPED, code=Code.BUDGET_REACHED, message="the next call would exceed $1")
    text = markdown(Report(stopped))
    assert (
        f"**Stopped.** `budget_reached`: the next call would exceed $1. Next: {Code.BUDGET_REACHED.next_step}." in text
    )


def test_images_are_linked_one_line_a_product() -> None:
    rows = [asset(1), asset(1, shot="scene", url="https://img.example/s.png"), asset(2, variant=3)]
    text = markdown(Report(run(), assets=rows, pictures=3))
    assert "| p-1 | Product 1 | [front](https://img.example/p-1.png) [scene](https://img.example/s.png) |" in text
    assert "| p-2 | Product 2 | [front 3](https://img.example/p-2.png) |" in text
    assert "more" not in text


def test_a_report_of_ten_thousand_images_is_small() -> None:
    report = Report(
        run(planned=20_000, archived=10_000, failed=10_000, records=30_000, rejected=10_000),
        unfinished=[*missing(9_000), *missing(1_000, Code.TIMEOUT)],
        rejects=[reject(line=n) for n in range(10_000)],
        assets=[asset(n) for n in range(TABLE_ROWS)],
        pictures=10_000,
        money=MONEY,
    )
    text = markdown(report)
    assert len(text) < 10_000
    assert "And 9,950 more: `packshot assets --catalog spring`." in text
    assert "| 10,000 | `missing_title` |" in text
    assert (len(asset_table(report)), len(reject_table(report))) == (TABLE_ROWS, TABLE_ROWS)


def test_what_a_catalog_or_a_provider_says_stays_text() -> None:
    evil = "a|b <img src=x onerror=alert(1)> [click](http://evil) ![p](http://evil/p.png)\n# head"
    report = Report(
        run(catalog="spring", archived=11, failed=1, source=evil),
        unfinished=missing(1, message=evil),
        rejects=[reject(message=evil, key=evil)],
        assets=[asset(1, title=evil, product_key=evil)],
        pictures=1,
        notes=[evil],
    )
    text = markdown(report)
    assert "<img" not in text
    assert not re.search(r"(?<!\\)\[(click|p)\]", text)
    assert "\n# head" not in text
    assert all(line.count("|") - line.count("\\|") == 4 for line in text.splitlines() if "Product" in line)


def test_tables_hold_plain_addresses() -> None:
    report = Report(run(), assets=[asset(5, variant_key="red")], rejects=[reject(message="x" * 500)], pictures=1)
    assert asset_table(report) == [
        {
            "product": "p-5/red", "shot": "front", "size": "1024 x 1024", "sha256": "000000000000",
            "link": "https://img.example/p-5.png",
        }
    ]  # fmt: skip
    [row] = reject_table(report)
    assert (row["line"], row["product"], row["code"], len(row["what is wrong"])) == (3, "p-3", "missing_title", 200)


@pytest.mark.parametrize(
    ("catalog", "key"),
    [
        ("spring", "spring-report"), ("Spring_2026", "spring-2026-report"), ("frühling!", "fr-hling-report"),
        ("é", "catalog-report"),
    ],
)  # fmt: skip
def test_an_artifacts_name_is_one_that_prefect_takes(catalog: str, key: str) -> None:
    assert artifact_key(catalog, "report") == key


# --- the last state -------------------------------------------------------------------------------------------
def failing(failed: int, allowed: float, **values: Any) -> Report:
    usual: dict[str, Any] = {"planned": 10, "archived": 10 - failed, "failed": failed, "calls": 10, "spent_micro": 0}
    parameters = {"parameters": {"fail_above": allowed}}
    return Report(run(**usual | parameters | values), unfinished=missing(failed))


def test_all_good_is_completed() -> None:
    end = ending(Report(run()))
    assert (end.failed, end.name) == (False, "Completed")
    assert end.message == "12 of 12 images are permanent (12 new); 14 calls, $1.08"


def test_some_failures_are_completed_and_say_so() -> None:
    end = ending(failing(3, 100))
    assert (end.failed, end.name) == (False, "CompletedWithFailures")
    assert end.message == "7 of 10 images are permanent (7 new); 3 failed; 10 calls, $0.00"


def test_refused_records_are_completed_and_say_so() -> None:
    end = ending(Report(run(rejected=1), rejects=[reject()]))
    assert (end.failed, end.name) == (False, "CompletedWithFailures")
    assert "1 refused in planning" in end.message


@pytest.mark.parametrize(
    ("failed", "allowed", "is_failed"),
    [(3, 29.9, True), (3, 30, False), (3, 31, False), (1, 0, True), (0, 0, False), (10, 99, True), (10, 100, False)],
)
def test_above_the_threshold_is_failed(failed: int, allowed: float, is_failed: bool) -> None:
    report = failing(failed, allowed)
    assert ending(report).failed == is_failed
    assert report.exit_code == (1 if failed else 0), "the command's exit code stays"


def test_above_the_threshold_the_message_has_both_percentages() -> None:
    end = ending(failing(3, 12.5))
    assert end.name == "Failed"
    assert end.message.startswith("30 % of the images could not be made, more than the 12.5 % allowed: 7 of 10 images")


def test_what_a_person_skipped_is_no_failure() -> None:
    report = Report(failing(1, 0).run, unfinished=missing(1, Code.SKIPPED))
    assert (ending(report).name, report.exit_code) == ("Completed", 0)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (Code.BUDGET_REACHED, 3), (Code.BAD_KEY, 3), (Code.BALANCE_EMPTY, 3), (Code.STOP_REQUESTED, 3),
        (Code.S3_DENIED, 2),
    ],
)  # fmt: skip
def test_a_stopped_run_is_failed_with_the_reason(code: Code, exit_code: int) -> None:
    stopped = run(state=RunState.STOPPED, code=code, message="because", archived=2, held=10)
    report = Report(stopped, unfinished=missing(10, code))
    end = ending(report)
    assert (end.failed, end.name, report.exit_code) == (True, "Stopped", exit_code)
    assert end.message.endswith(f"Stopped: because. Next: {code.next_step}")


def test_a_run_that_planned_nothing_is_completed() -> None:
    assert ending(Report(run(planned=0, archived=0, calls=0, parameters={"fail_above": 0.0}))).name == "Completed"


# --- what changed in the catalog ------------------------------------------------------------------------------
def change(kind: str, number: int, what: str = "") -> list[dict[str, Any]]:
    return [{"change": kind, "product_key": f"{kind}-{n}", "variant_key": "", "what": what} for n in range(number)]


def test_what_changed_in_the_catalog_is_counted_and_named() -> None:
    changes = [*change("gone", 1), *change("changed", 5, "title, photos")]
    values = {"products_new": 0, "products_changed": 7, "products_same": 3, "products_gone": 1}
    text = markdown(Report(run(**values), changes=changes))
    assert "| 0 | 7 | 3 | 0 | 1 |" in text
    assert "- gone: gone-0\n" in text
    assert "- changed: changed-0 (title, photos), " in text
    assert "changed-4 (title, photos) and 2 more" in text
    assert "`packshot diff --run 7`" in text


def test_a_run_over_a_part_says_that_what_is_gone_is_not_known() -> None:
    part = run(products_gone=None, products_refused=None, gone_unknown="the run ended at its limit")
    text = markdown(Report(part))
    assert "| 0 | 0 | 12 | not known | not known |" in text
    assert "What is gone is not known: the run ended at its limit." in text
