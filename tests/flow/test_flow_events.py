"""The events of runs and images, as the Prefect server has them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from packshot.db.queries import assets, unfinished
from packshot.errors import Code
from packshot.outcome import Outcome
from packshot.report import Report
from packshot.sandbox.seaweed import Seaweed
from packshot.studio import Studio
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import Shop, opened_shop, write_catalog


def events_of(prefect: PrefectApi, flow_run_id: str | None) -> list[dict[str, Any]]:
    """Our events that were told in this flow run, oldest first."""
    answer = requests.post(
        f"{prefect.url}/events/filter",
        json={
            "filter": {
                "event": {"prefix": ["packshot."]},
                "related": {"id": [f"prefect.flow-run.{flow_run_id}"]},
                "order": "ASC",
            },
            "limit": 50,
        },
        timeout=30,
    )
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def named(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def all_of(prefect: PrefectApi, flow_run_id: str | None, number: int) -> list[dict[str, Any]]:
    """The flow run's events as soon as there are so many, and there are no more."""
    found: list[dict[str, Any]] = eventually(
        lambda: events if len(events := events_of(prefect, flow_run_id)) >= number else None
    )
    assert len(found) == number, [event["event"] for event in found]
    return found


class Told:
    """Runs of a shop, and the events of the first: two images archived, one refused by the model, one whose photo is
    missing. The server takes a while to write events down: it is waited for once."""

    def __init__(self, shop: Shop, prefect: PrefectApi) -> None:
        from flows.rescue import rescue

        self.shop = shop
        shop.emulator.queue("text_refusal")
        shop.set(CONCURRENCY=1, APIYI_FORMAT="gemini")  # the one that sends photos
        catalog = shop.folder / "spring.jsonl"
        rows = [{"sku": f"S-{n}", "title": f"Secret cup {n}"} for n in range(1, 5)]
        rows[3]["images"] = "missing.jpg"
        catalog.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.report = shop.run(catalog)
        self.again = shop.run(catalog)
        self.over_budget = shop.run(write_catalog(shop.folder / "c.csv", 4), max_cost_usd=0.15)
        shop.set(MAX_ARCHIVE_TRIES=1, APIYI_FORMAT="images")
        shop.emulator.queue("url_500", times=3)
        self.not_home = shop.run(write_catalog(shop.folder / "d.csv", 3))
        self.rescued = rescue(return_state=True)
        bucket = shop.settings.s3_bucket
        shop.set(S3_BUCKET="no-such-bucket")
        self.stuck = rescue(return_state=True)
        shop.set(S3_BUCKET=bucket)
        self.events = all_of(prefect, self.report.run.flow_run_id, 5)


@pytest.fixture(scope="module")
def told(seaweed: Seaweed, prefect: PrefectApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    with pytest.MonkeyPatch.context() as patch, opened_shop(folder / "shop", seaweed, patch) as shop:
        yield Told(shop, prefect)


def test_each_permanent_image(told: Told) -> None:
    rows = {row["asset_id"]: row for row in assets(told.shop.engine, catalog="spring")}
    events = named(told.events, "packshot.asset.archived")
    assert {event["payload"]["asset_id"] for event in events} == set(rows)
    assert len(rows) == len(events) == 2
    for event in events:
        payload, resource = event["payload"], event["resource"]
        row = rows[payload["asset_id"]]
        assert payload == {
            "job": row["job_key"], "catalog": "spring", "product": row["product_key"], "sku": row["sku"],
            "shot": "front", "variant": 1, "asset_id": row["asset_id"], "url": row["url"], "sha256": row["sha256"],
            "width": 1024, "height": 1024, "run": told.report.run.id,
        }  # fmt: skip
        assert resource == {
            "prefect.resource.id": f"packshot.asset.{row['asset_id']}",
            "prefect.resource.name": f"{row['product_key']} front",
            "packshot.catalog": "spring", "packshot.product": row["product_key"], "packshot.shot": "front",
        }  # fmt: skip


def test_each_hold_that_was_created(told: Told) -> None:
    events = named(told.events, "packshot.hold.created")
    jobs = {row["code"]: row for row in unfinished(told.shop.engine, told.report.run.id or 0)}
    assert set(jobs) == {"refused_text", "reference_unavailable"}
    assert {event["payload"]["code"] for event in events} == set(jobs)
    for event in events:
        job = jobs[event["payload"]["code"]]
        assert event["resource"]["prefect.resource.id"] == f"packshot.job.{job['job_key']}"
        assert event["resource"]["packshot.code"] == job["code"]
        assert event["payload"] == {
            "job": job["job_key"], "catalog": "spring", "product": job["product_key"], "sku": job["product_key"],
            "shot": "front", "variant": 1, "code": job["code"], "next_step": job["next_step"], "url": "",
            "run": told.report.run.id,
        }  # fmt: skip


def test_the_end_of_a_run(told: Told) -> None:
    (event,) = named(told.events, "packshot.run.finished")
    run = told.report.run
    assert event["resource"] == {
        "prefect.resource.id": f"packshot.run.{run.id}", "prefect.resource.name": f"run {run.id} of spring",
        "packshot.catalog": "spring", "packshot.state": "completed", "packshot.code": "", "packshot.exit-code": "1",
    }  # fmt: skip
    seconds = event["payload"].pop("seconds")
    assert 0 < seconds < 60
    assert event["payload"] == {
        "run": run.id, "catalog": "spring", "code": None, "state": "completed", "exit_code": 1, "next_step": "",
        "spent_usd": 0.27, "max_cost_usd": None, "records": 4, "accepted": 4, "rejected": 0, "planned": 4,
        "already": 0, "archived": 2, "failed": 0, "held": 2, "calls": 3,
    }  # fmt: skip


def test_events_can_be_found_by_run_and_hold_no_secrets(told: Told) -> None:
    for event in told.events:
        by_role = {related["prefect.resource.role"]: related["prefect.resource.id"] for related in event["related"]}
        if event["event"] != "packshot.run.finished":
            assert by_role["run"] == f"packshot.run.{told.report.run.id}"
        assert by_role["flow-run"] == f"prefect.flow-run.{told.report.run.flow_run_id}"
        text = json.dumps(event)
        assert len(text) < 3000
        for secret in (*told.shop.secrets, "Signature", "OSSAccessKeyId", "Secret cup", "Output the final image"):
            assert secret not in text


def test_what_is_done_is_not_told_again(told: Told, prefect: PrefectApi) -> None:
    """The held ones wait; the second run says how it ended, and no more."""
    (event,) = all_of(prefect, told.again.run.flow_run_id, 1)
    assert (event["event"], event["payload"]["calls"]) == ("packshot.run.finished", 0)


def test_the_budget_is_reached(told: Told, prefect: PrefectApi) -> None:
    run = told.over_budget.run
    events = all_of(prefect, run.flow_run_id, 3)
    (event,) = named(events, "packshot.budget.reached")
    assert event["resource"]["prefect.resource.id"] == f"packshot.run.{run.id}"
    assert event["payload"] == {
        "run": run.id, "catalog": "c", "code": "budget_reached", "spent_usd": 0.09, "max_cost_usd": 0.15,
        "not_made": 3,
    }  # fmt: skip
    (end,) = named(events, "packshot.run.finished")
    assert (end["payload"]["state"], end["payload"]["exit_code"]) == ("stopped", 3)
    assert end["payload"]["next_step"] == Code.BUDGET_REACHED.next_step


def test_urls_near_their_end_are_told_by_runs_and_rescues(told: Told, prefect: PrefectApi) -> None:
    (event,) = named(all_of(prefect, told.not_home.run.flow_run_id, 2), "packshot.url.near-expiry")
    check_near_end(event, told.not_home)
    assert told.rescued.name == "Waiting"
    (again,) = all_of(prefect, str(told.rescued.state_details.flow_run_id), 1)
    check_near_end(again, told.not_home)
    assert told.stuck.name == "Failed"  # there is no store to bring them to: all the more reason
    (stuck,) = all_of(prefect, str(told.stuck.state_details.flow_run_id), 1)
    check_near_end(stuck, told.not_home)


def check_near_end(event: dict[str, Any], report: Report) -> None:
    payload = event["payload"]
    assert event["resource"]["prefect.resource.id"] == "packshot.urls"
    assert (payload["images"], payload["paid_usd"], payload["hours_left"]) == (3, 0.27, 1.0)
    ends = [datetime.fromisoformat(one["ends"]) for one in payload["named"]]
    assert ends == sorted(ends)
    assert datetime.fromisoformat(payload["nearest_end"]) == ends[0]
    assert timedelta(minutes=59) < ends[0] - report.run.started_at < timedelta(minutes=61)
    assert {one["product"] for one in payload["named"]} == {"p-001", "p-002", "p-003"}
    assert "http" not in json.dumps(payload)


def test_an_event_that_cannot_be_sent_is_not_the_images_problem(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The asset's row is out of reach at the moment of telling: the image is as permanent as before."""
    from tasks.events import tell_image

    shop.run(write_catalog(shop.folder / "c.csv", 1))
    studio = Studio(shop.settings)
    with sqlite3.connect(studio.settings.db_url.removeprefix("sqlite:///")) as database:
        database.execute("ALTER TABLE asset RENAME TO asset_away")
    caplog.clear()
    with caplog.at_level("INFO", "prefect.packshot"):
        tell_image(studio, Outcome(1, studio.ledger.state(1), url="https://cdn.example/a.png"))
    assert caplog.messages == ["an event could not be sent: OperationalError"]
