"""What a run leaves in the Prefect UI: report, tables, contact sheet, and its lines in the log."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from packshot.db.queries import assets
from packshot.options import RunOptions
from packshot.report import Report
from packshot.sandbox.seaweed import Seaweed
from tasks.make_image import make_image
from tests.fixtures_browser import Browser
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import Shop, opened_shop


@dataclass
class Made:
    shop: Shop
    report: Report
    run_id: str
    artifacts: dict[str, dict[str, Any]]


def catalog(path: Path) -> Path:
    """Six products; one record has no title."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "title", "category"])
        rows.writerows([f"p-{n:03d}", f"Product {n}" if n != 4 else "", "Home"] for n in range(1, 8))
    return path


@pytest.fixture(scope="module")
def made(seaweed: Seaweed, prefect: PrefectApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A run with all that can be seen: images, a refused record, a refused call, one that is held, one tried again."""
    folder = tmp_path_factory.mktemp("seen")
    with pytest.MonkeyPatch.context() as patch, opened_shop(folder / "shop", seaweed, patch) as shop:
        shop.set(ON_UNKNOWN="hold", CONCURRENCY=1)  # one after the other: the faults meet the first products
        for fault in ("moderation_blocked", "server_error", "bad_gateway"):
            shop.emulator.queue(fault)
        report = shop.run(catalog(shop.folder / "Autumn_2026.csv"))
        run_id = str(report.run.flow_run_id)
        artifacts = {str(a["key"]): a for a in prefect.artifacts(run_id)}
        yield Made(shop, report, run_id, artifacts)


# --- what Prefect holds ---------------------------------------------------------------------------------------
def test_each_kind_of_artifact_has_the_catalogs_name(made: Made) -> None:
    assert made.artifacts.keys() == {
        "None", "autumn-2026-report", "autumn-2026-images", "autumn-2026-refused", "autumn-2026-contact-sheet",
    }  # fmt: skip
    assert made.artifacts["None"]["type"] == "progress"


def test_the_tables_hold_what_was_made_and_what_was_refused(made: Made) -> None:
    images = json.loads(made.artifacts["autumn-2026-images"]["data"])
    assert [row["link"] for row in images] == [row["url"] for row in assets(made.shop.engine)]
    assert {(row["shot"], row["size"]) for row in images} == {("front", "1024 x 1024")}
    [refused] = json.loads(made.artifacts["autumn-2026-refused"]["data"])
    assert (refused["line"], refused["product"], refused["code"]) == (5, "p-004", "missing_title")


def test_the_contact_sheet_is_a_picture_that_anybody_can_see(made: Made) -> None:
    sheet = made.artifacts["autumn-2026-contact-sheet"]
    assert sheet["type"] == "image"
    answer = requests.get(sheet["data"], timeout=10)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.content == (made.shop.home / f"contact-sheets/run-{made.report.run.id}.jpg").read_bytes()
    assert f"/{made.shop.prefix}/autumn-2026/contact-sheets/run-" in sheet["data"]


def test_the_last_state_tells_the_truth(made: Made, prefect: PrefectApi) -> None:
    run = prefect.flow_run(made.run_id)
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "CompletedWithFailures")
    assert run["state"]["message"] == made.report.headline
    assert made.report.headline.startswith("4 of 6 images are permanent (4 new); 1 failed; 1 held; 1 refused")


def test_above_the_threshold_the_flow_has_failed(shop: Shop, prefect: PrefectApi) -> None:
    shop.emulator.queue("moderation_blocked")
    report = shop.run(catalog(shop.folder / "strict.csv"), fail_above=10)
    run = prefect.flow_run(str(report.run.flow_run_id))
    assert (run["state_type"], run["state_name"]) == ("FAILED", "Failed")
    assert run["state"]["message"].startswith(
        "16.7 % of the images could not be made, more than the 10 % allowed: 5 of"
    )
    assert report.exit_code == 1


def test_a_run_with_nothing_new_draws_no_sheet(made: Made, prefect: PrefectApi) -> None:
    before = made.shop.emulator.calls
    shop = made.shop
    again = shop.run(shop.folder / "Autumn_2026.csv", products=["p-005"])
    assert shop.emulator.calls == before
    kinds = {a["key"] for a in prefect.artifacts(str(again.run.flow_run_id))}
    assert kinds == {None, "autumn-2026-report", "autumn-2026-refused"}
    assert not (shop.home / f"contact-sheets/run-{again.run.id}.jpg").exists()


def test_a_plan_has_a_name_of_its_own(shop: Shop, prefect: PrefectApi) -> None:
    from flows.catalog_imaging import catalog_imaging

    options = RunOptions(catalog=str(catalog(shop.folder / "x.csv")), name="spring", plan_only=True)
    state = catalog_imaging(options, return_state=True)
    run = prefect.flow_run(str(state.state_details.flow_run_id))
    assert re.fullmatch(r"spring plan 20\d\d-\d\d-\d\d \d\d:\d\d", run["name"])
    assert state.message == "6 images to make for $0.54"


def test_a_sheet_that_cannot_be_drawn_is_a_warning(
    shop: Shop, prefect: PrefectApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.home.mkdir(parents=True)
    (shop.home / "contact-sheets").write_text("a file where the folder should be")
    report = shop.run(catalog(shop.folder / "c.csv"), limit=2)
    assert (report.run.archived, report.run.state) == (2, "completed")
    run_id = str(report.run.flow_run_id)
    assert "c-contact-sheet" not in {a["key"] for a in prefect.artifacts(run_id)}

    def warned() -> list[dict[str, Any]]:
        return [log for log in prefect.logs(run_id) if "no contact sheet" in log["message"]]

    [line] = eventually(warned)
    assert line["level"] == 30
    assert "contact-sheets" in line["message"]


# --- the log --------------------------------------------------------------------------------------------------
def test_each_image_has_one_line_with_its_request_id(made: Made, prefect: PrefectApi) -> None:
    tasks = eventually(lambda: found if len(found := prefect.task_runs(made.run_id)) == 9 else [])
    images = {task["id"]: task["name"] for task in tasks if task["name"].endswith("front")}
    logs = eventually(lambda: found if len(found := lines(made, prefect, images)) == 7 else [])
    assert len({log["task_run_id"] for log in logs}) == 7  # six images, one of them in two goes
    text = "\n".join(log["message"] for log in logs)
    assert "NoneType" not in text
    assert "Outcome(" not in text
    ids = set(re.findall(r"x-[a-z]+-request-id ([^,)]+)", text))
    calls = [answer.request_id for answer in made.shop.emulator.bill]
    assert {request_id for request_id in calls if request_id in ids} == set(calls)
    assert len(re.findall(r"Completed\('http\S+ \(\d\.\d s, \$0\.09, x-", text)) == 4
    assert re.search(r"Failed\('moderation_blocked: .* \(\d\.\d s, not billed, x-", text)
    assert re.search(r"Held\('server_error: .* \(\d\.\d s, perhaps \$0\.09, x-", text)
    assert re.search(r"WillRetry\('again in \S+ s: bad_gateway: .* \(\d\.\d s, not billed", text)


def test_a_bug_is_logged_with_its_traceback(prefect: PrefectApi, caplog: pytest.LogCaptureFixture) -> None:
    """Prefect's own error line is switched off together with its retries, so this one is ours."""

    class Broken:
        def make(self, job_id: int) -> None:
            raise ZeroDivisionError("a bug")

    state = cast(Any, make_image)(1, "p-001 front", Broken(), return_state=True)
    assert (state.is_failed(), state.name) == (True, "Failed")
    assert "ZeroDivisionError: a bug" in caplog.text
    assert "Traceback" in caplog.text


def lines(made: Made, prefect: PrefectApi, images: dict[str, str]) -> list[dict[str, Any]]:
    return [log for log in prefect.logs(made.run_id) if log["task_run_id"] in images]


# --- what the browser shows -----------------------------------------------------------------------------------
def test_the_pages_of_the_artifacts(made: Made, browser: Browser) -> None:
    browser.open(f"/v2/runs/flow-run/{made.run_id}?tab=Artifacts")
    browser.sees("autumn-2026-report", "autumn-2026-images", "autumn-2026-refused", "autumn-2026-contact-sheet")
    browser.open(f"/v2/artifacts/artifact/{made.artifacts['autumn-2026-report']['id']}")
    browser.sees("autumn-2026: 4 of 6 images are permanent", "What limited it", "Not made")
    browser.sees("moderation_blocked", "Refused records")
    url = assets(made.shop.engine)[0]["url"]
    assert browser.page.locator(f'a[href="{url}"]').count() == 1

    browser.open(f"/v2/artifacts/artifact/{made.artifacts['autumn-2026-images']['id']}")
    browser.sees(url, "1024 x 1024", url.split("/")[-3])

    sheet = made.artifacts["autumn-2026-contact-sheet"]
    browser.open(f"/v2/artifacts/artifact/{sheet['id']}")
    picture = browser.page.locator(f'img[src="{sheet["data"]}"]')
    picture.wait_for(timeout=30_000)
    browser.page.wait_for_function(
        "src => document.querySelector(`img[src='${src}']`).naturalWidth > 0", arg=sheet["data"]
    )
    width, height = picture.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert width > 1000
    assert height > 300
