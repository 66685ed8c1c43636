"""The flow, when everything goes wrong at once, and when it becomes hopeless."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from sqlmodel import Session, select

from packshot.db.queries import assets
from packshot.db.tables import Attempt, ImageJob, RunJob
from packshot.report import Report
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import SHOTS, OpenShop, Shop, write_catalog
from tests.line import Line

PRICE = 90_000

# What each fault of the emulator is in the ledger; None: a good image all the same.
FAULTS: dict[str, str | None] = {
    "rate_limited": "rate_limited",
    "overloaded": "overloaded",
    "bad_gateway": "bad_gateway",
    "write_failed": "write_failed",
    "bad_request": "bad_request",
    "google_error": "bad_request",
    "moderation_blocked": "moderation_blocked",
    "server_error": "server_error",
    "gateway_timeout": "gateway_timeout",
    "cdn_timeout": "gateway_timeout",
    "html_page": "not_json",
    "disconnect": "connection_lost",
    "reset_mid_body": "connection_lost",
    "truncated_json": "answer_cut",
    "tail_stall_cut": "answer_cut",
    "image_safety": "refused_safety",
    "prohibited": "refused_prohibited",
    "text_refusal": "refused_text",
    "candidates_null": "input_blocked",
    "prompt_blocked": "input_blocked",
    "no_image": "no_image",
    "empty_data": "no_image",
    "empty_200": "no_image",
    "tail_stall": None,
    "many_images": None,
    "text_then_image": None,
    "group_failover": None,
    "url_expired": None,
    "url_html": None,
    "url_truncated": None,
    "url_cut": None,
    "url_500": None,
    "url_redirect_private": None,
}
LOST_ON_THE_WAY_HOME = {
    "url_expired": "lost",
    "url_html": "not_an_image",
    "url_truncated": "download_failed",
    "url_cut": "image_truncated",
    "url_500": "download_failed",
    "url_redirect_private": "download_refused",
}
BILLED_MORE = {"group_failover": round(0.4 * PRICE)}
NOT_BILLED_BUT_UNKNOWN = {"server_error"}


def attempts(shop: Shop, report: Report) -> list[Attempt]:
    with Session(shop.engine) as session:
        return list(session.exec(select(Attempt).where(Attempt.run_id == report.run.id)))


def check_sums(shop: Shop, report: Report) -> None:
    """Nothing is skipped in silence: each job has an outcome, and whatever is not archived a reason."""
    run = report.run
    assert run.planned == run.archived + run.failed + run.held
    with Session(shop.engine) as session:
        rows = session.exec(select(RunJob, ImageJob).join(ImageJob).where(RunJob.run_id == run.id)).all()
    assert len(rows) == run.planned - run.already
    outcomes = Counter(row.outcome for row, _ in rows)
    assert (outcomes["archived"], outcomes["failed"], outcomes["held"]) == (
        run.archived - run.already,
        run.failed,
        run.held,
    )
    unfinished = [(row, job) for row, job in rows if row.outcome != "archived"]
    assert all(row.code and (job.message or row.code == run.code) for row, job in unfinished)
    assert len(report.unfinished) == len(unfinished)
    assert all(row["next_step"] for row in report.unfinished)
    assert not [job for _, job in rows if job.state in ("claimed", "calling")]


def test_one_run_with_every_fault(open_shop: OpenShop, prefect: PrefectApi) -> None:
    shop = open_shop(url_mode="oss")
    shop.set(APIYI_FORMAT="gemini", SILENCE_TIMEOUT=1, MAX_ARCHIVE_TRIES=2, MAX_TRIES=8)
    for fault in FAULTS:
        shop.emulator.queue(fault)
    catalog = write_catalog(shop.folder / "c.csv", 40)
    report = shop.run(catalog)
    run = report.run
    check_sums(shop, report)
    assert (run.state, run.planned, report.exit_code) == ("completed", 40, 1)

    made = attempts(shop, report)
    assert run.calls == len(made) == shop.emulator.calls
    codes = Counter(attempt.code for attempt in made)
    good = codes.pop(None)
    assert codes == Counter(code for code in FAULTS.values() if code)
    assert good == run.archived + len(LOST_ON_THE_WAY_HOME)

    # Money: what the ledger booked is what the provider charged, and the rest can be told call by call.
    bill = {row.request_id: row for row in shop.emulator.bill}
    for attempt in made:
        rows = [bill[request] for request in attempt.request_ids.values() if request in bill]
        assert rows or attempt.code == "connection_lost"
        assert all((attempt.billed == "unknown") or (attempt.billed == "yes") == row.billed for row in rows)
    outcomes = Counter(row.outcome for row in bill.values())
    too_much = PRICE * sum(outcomes[fault] for fault in NOT_BILLED_BUT_UNKNOWN)
    too_little = sum(outcomes[fault] * more for fault, more in BILLED_MORE.items())
    assert run.spent_micro == sum(attempt.cost_micro for attempt in made)
    assert run.spent_micro == shop.emulator.billed_micro + too_much - too_little

    # What came to nothing says why.
    reasons = Counter(row["code"] for row in report.unfinished)
    assert reasons & Counter(LOST_ON_THE_WAY_HOME.values()) == Counter(LOST_ON_THE_WAY_HOME.values())
    refused = Counter(code for code in FAULTS.values() if code and code.startswith(("refused", "input")))
    assert reasons & refused == refused
    assert (reasons["bad_request"], reasons["moderation_blocked"], run.failed) == (2, 1, 3)

    # Prefect shows the same.
    assert run.flow_run_id
    parent = prefect.flow_run(run.flow_run_id)
    assert (parent["state_type"], parent["state_name"]) == ("COMPLETED", "CompletedWithFailures")
    names = eventually(lambda: _final_names(prefect, run.flow_run_id or "", len(made) + 2, run.archived + 2))
    assert (names["Held"] + names["Failed"], names["Completed"]) == (run.held + run.failed, run.archived + 2)

    # What failed costs nothing to try again; what is held waits for a person; what was bought is not bought again.
    again = shop.run(catalog)
    check_sums(shop, again)
    assert (again.run.calls, again.run.failed, again.run.archived) == (3, 0, run.archived + 3)
    assert len(assets(shop.engine)) == again.run.archived


def _final_names(prefect: PrefectApi, run_id: str, at_least: int, completed: int) -> Counter[str]:
    """Nothing before the server knows of all of them: it hears of the last ones a moment after their end."""
    tasks = prefect.task_runs(run_id)
    names = Counter(task["state_name"] for task in tasks)
    final = all(task["state_type"] in ("COMPLETED", "FAILED") for task in tasks)
    return names if final and len(tasks) >= at_least and names["Completed"] >= completed else Counter()


def test_other_pixels_than_ordered_are_kept_and_held(shop: Shop) -> None:
    shop.shots.write_text(SHOTS.replace("1K", "2K"))
    shop.emulator.queue("wrong_size")
    report = shop.run(write_catalog(shop.folder / "c.csv", 1))
    check_sums(shop, report)
    assert [(row["code"], row["message"]) for row in report.unfinished] == [
        ("wrong_size", "ordered 2048x2048, got 1024x1024")
    ]
    [row] = assets(shop.engine)
    assert (row["width"], row["size_as_ordered"]) == (1024, False)


# --- hopeless runs stop at once -------------------------------------------------------------------------------
def check_stopped(shop: Shop, report: Report, prefect: PrefectApi, code: str, archived: int) -> None:
    check_sums(shop, report)
    run = report.run
    assert (run.state, run.code, report.exit_code) == ("stopped", code, 3)
    assert (run.archived, run.failed, run.held) == (archived, 0, 10 - archived)
    assert {row["code"] for row in report.unfinished} == {code}
    assert run.flow_run_id
    parent = prefect.flow_run(run.flow_run_id)
    assert (parent["state_type"], parent["state_name"]) == ("FAILED", "Stopped")
    assert "Stopped: " in parent["state"]["message"]


def test_a_bad_key_stops_the_run(shop: Shop, prefect: PrefectApi) -> None:
    shop.set(CONCURRENCY=1)
    shop.emulator.queue("none", times=3)
    shop.emulator.queue("bad_key")
    catalog = write_catalog(shop.folder / "c.csv", 10)
    check_stopped(shop, shop.run(catalog), prefect, "bad_key", 3)
    assert (shop.emulator.calls, shop.emulator.billed_micro) == (4, 3 * PRICE)
    rest = shop.run(catalog)
    assert (rest.run.already, rest.run.archived, rest.run.calls, rest.exit_code) == (3, 10, 7, 0)


def test_an_empty_balance_stops_the_run(open_shop: OpenShop, prefect: PrefectApi) -> None:
    shop = open_shop(balance_usd=0.4)
    shop.set(CONCURRENCY=3)
    catalog = write_catalog(shop.folder / "c.csv", 10)
    check_stopped(shop, shop.run(catalog), prefect, "balance_empty", 4)
    assert shop.emulator.calls <= 4 + 3  # those in the air when the first was refused
    assert shop.emulator.billed_micro == 4 * PRICE
    topped_up = open_shop()
    topped_up.set(HOME=shop.home, S3_PREFIX=shop.prefix)
    rest = topped_up.run(catalog)
    assert (rest.run.already, rest.run.archived, rest.run.calls, rest.exit_code) == (4, 10, 6, 0)


def test_the_budget_stops_the_run(shop: Shop, prefect: PrefectApi) -> None:
    shop.set(CONCURRENCY=3)
    catalog = write_catalog(shop.folder / "c.csv", 10)
    check_stopped(shop, shop.run(catalog, max_cost_usd=0.3), prefect, "budget_reached", 3)
    assert (shop.emulator.calls, shop.emulator.billed_micro) == (3, 3 * PRICE)
    shop.set(MAX_COST_USD="0.5")
    check_stopped(shop, shop.run(catalog), prefect, "budget_reached", 8)
    shop.set(MAX_COST_USD="")
    rest = shop.run(catalog)
    assert (rest.run.already, rest.run.archived, rest.run.calls, rest.exit_code) == (8, 10, 2, 0)


# --- the store goes away --------------------------------------------------------------------------------------
@pytest.fixture
def line(shop: Shop) -> Iterator[Line]:
    """The way to the store."""
    port = urlsplit(shop.settings.s3_endpoint_url).port
    assert port
    with Line(port) as line:
        shop.set(S3_ENDPOINT_URL=line.url)
        yield line


def test_images_wait_for_a_store_that_went_away(shop: Shop, line: Line) -> None:
    """What was paid for is brought home by the next run, without another call."""
    shop.set(MAX_ARCHIVE_TRIES=1)
    catalog = write_catalog(shop.folder / "c.csv", 4)
    line.refuse = b"PUT "  # the bucket can be seen, so the run begins
    report = shop.run(catalog)
    check_sums(shop, report)
    assert shop.emulator.calls == 4
    assert (report.run.archived, report.run.held, report.exit_code) == (0, 4, 1)
    assert {row["code"] for row in report.unfinished} == {"s3_unreachable"}
    line.mend()
    again = shop.run(catalog)
    assert (again.run.archived, again.run.calls, again.exit_code) == (4, 0, 0)
    assert shop.emulator.calls == 4
