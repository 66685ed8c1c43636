"""The flow, with everything real: the example catalog becomes objects, rows, and a flow run in Prefect."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat
from sqlmodel import Session, select

from flows.catalog_imaging import SHARDS_AT_ONCE
from packshot.db.queries import assets
from packshot.db.tables import Attempt, ImageJob, Run
from packshot.errors import PackshotError
from packshot.options import RunOptions
from packshot.report import Report
from packshot.report_page import markdown
from packshot.sandbox.seaweed import Seaweed
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import EXAMPLE, OpenShop, Shop, opened_shop, write_catalog

PRICE = 90_000
TWO_SHOTS = """
version: 1
shots:
  - name: front
    aspect_ratio: "1:1"
    image_size: 1K
    prompt: "{{ facts }} A studio photo. Output the final image only."
  - name: scene
    aspect_ratio: "4:5"
    image_size: 1K
    prompt: "{{ facts }} On a table at home. Output the final image only."
"""
PIXELS = {"front": (1024, 1024), "scene": (928, 1152)}
PRODUCTS = [
    "stoneware-mug", "linen-shirt", "oak-table-lamp", "trail-leather-boot", "ceramic-vase", "wool-scarf",
    "wooden-toy-car", "lavender-soap", "canvas-backpack",
]  # fmt: skip


@dataclass
class Made:
    shop: Shop
    catalog: Path
    report: Report


@pytest.fixture(scope="module")
def made(seaweed: Seaweed, prefect: PrefectApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The example catalog, made once: two shots of each product."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(EXAMPLE.parent, folder / "catalog")
    with pytest.MonkeyPatch.context() as patch, opened_shop(folder / "shop", seaweed, patch) as shop:
        shop.shots.write_text(TWO_SHOTS)
        catalog = folder / "catalog/products.csv"
        yield Made(shop, catalog, shop.run(catalog))


def fetch(url: str) -> tuple[bytes, dict[str, str]]:
    """As a visitor of the shop: no credentials, none of our code."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        return answer.read(), {name.lower(): value for name, value in answer.headers.items()}


def check_objects(rows: list[dict[str, Any]], pixels: dict[str, tuple[int, int]] = PIXELS) -> None:
    for row in rows:
        body, headers = fetch(row["url"])
        assert hashlib.sha256(body).hexdigest() == row["sha256"]
        assert (len(body), headers["content-type"]) == (row["bytes"], row["mime"])
        assert headers["cache-control"] == "public, max-age=31536000, immutable"
        with Image.open(io.BytesIO(body)) as image:
            image.load()
            assert image.size == (row["width"], row["height"]) == pixels[row["shot"]]
            assert row["mime"] == f"image/{image.format.lower()}"  # type: ignore[union-attr]
            assert row["url"].endswith({"PNG": ".png", "JPEG": ".jpg"}[image.format or ""])


# --- the example catalog, made once ---------------------------------------------------------------------------
def test_every_image_is_permanent_and_as_its_row_says(made: Made) -> None:
    rows = assets(made.shop.engine)
    assert [(row["product_key"], row["shot"]) for row in rows] == [
        (product, shot) for product in PRODUCTS for shot in ("front", "scene")
    ]
    assert len({row["sha256"] for row in rows}) == 18
    check_objects(rows)


def test_the_sums_of_the_run_add_up(made: Made) -> None:
    run = made.report.run
    assert (run.planned, run.already, run.archived, run.failed, run.held) == (18, 0, 18, 0, 0)
    assert run.records == run.accepted + run.rejected + run.blank + run.continuation == 20
    assert (run.accepted, run.rejected, made.report.rejects) == (9, 1, [])
    assert made.report.exit_code == 0


def test_the_ledger_agrees_with_the_bill(made: Made) -> None:
    with Session(made.shop.engine) as session:
        attempts = session.exec(select(Attempt).where(Attempt.run_id == made.report.run.id)).all()
    billed = {row.request_id: row.price_micro for row in made.shop.emulator.bill[:18]}
    booked = {request: a.cost_micro for a in attempts for request in a.request_ids.values()}
    assert booked == billed
    assert sum(billed.values()) == made.report.run.spent_micro == 18 * PRICE


def test_nothing_is_left_in_the_spool(made: Made) -> None:
    assert list(made.shop.settings.spool.iterdir()) == []


def test_prefect_shows_the_run(made: Made, prefect: PrefectApi) -> None:
    run_id = made.report.run.flow_run_id
    assert run_id
    [parent] = prefect.family(run_id)
    assert (parent["state_type"], parent["state_name"]) == ("COMPLETED", "Completed")
    assert parent["name"].startswith("products 20")
    assert (
        parent["state"]["message"] == made.report.headline == "18 of 18 images are permanent (18 new); 18 calls, $1.62"
    )

    def finished() -> list[dict[str, Any]]:
        tasks = prefect.task_runs(run_id)
        return tasks if len(tasks) == 20 and all(t["state_type"] == "COMPLETED" for t in tasks) else []

    tasks = {task["name"]: task for task in eventually(finished)}
    images = {f"{product} {shot}" for product in PRODUCTS for shot in ("front", "scene")}
    assert tasks.keys() == {"plan", "report"} | images
    url = assets(made.shop.engine, product="ceramic-vase", shot="scene")[0]["url"]
    assert tasks["ceramic-vase scene"]["state"]["message"].startswith(f"{url} (")


def test_a_large_run_is_cut_into_shards(shop: Shop, prefect: PrefectApi) -> None:
    shop.set(SHARD_SIZE=2)
    report = shop.run(write_catalog(shop.folder / "spring.csv", 5))
    assert report.run.archived == 5
    assert report.run.flow_run_id
    parent, *shards = prefect.family(report.run.flow_run_id)
    assert parent["state_name"] == "Completed"
    names = [f"run {report.run.id}, images {images}" for images in ("1-2", "3-4", "5-5")]
    assert [(shard["name"], shard["state_name"]) for shard in shards] == [(name, "Completed") for name in names]


def test_a_slow_call_at_the_end_of_a_shard_leaves_no_slot_idle(shop: Shop, prefect: PrefectApi) -> None:
    """The next shard begins while it is in the air."""
    shop.set(SHARD_SIZE=3)
    shop.emulator.queue("slow_body", latency=6.0, seconds=0)
    report = shop.run(write_catalog(shop.folder / "spring.csv", 6), concurrency=2)
    assert report.run.archived == 6
    assert [row.outcome for row in shop.emulator.bill] == ["image"] * 5 + ["slow_body"]
    assert shop.emulator.in_flight_peak == 2
    assert report.run.flow_run_id
    assert [run["state_name"] for run in prefect.family(report.run.flow_run_id)] == ["Completed"] * 3


def test_shards_that_wait_for_retries_do_not_pile_up(shop: Shop, prefect: PrefectApi) -> None:
    shop.set(SHARD_SIZE=1, RETRY='{"bad_gateway": {"waits": [3]}}')
    shop.emulator.queue("bad_gateway", times=6)
    report = shop.run(write_catalog(shop.folder / "spring.csv", 6), concurrency=6)
    assert (report.run.archived, report.run.calls) == (6, 12)
    assert report.run.flow_run_id
    _, *shards = prefect.family(report.run.flow_run_id)
    open_at_start = [
        sum(other["start_time"] <= shard["start_time"] < other["end_time"] for other in shards) for shard in shards
    ]
    assert max(open_at_start) == SHARDS_AT_ONCE


def test_prefect_shows_report_and_progress(made: Made, prefect: PrefectApi) -> None:
    assert made.report.run.flow_run_id
    artifacts = {a["type"]: a for a in prefect.artifacts(made.report.run.flow_run_id)}
    assert (artifacts["progress"]["data"], artifacts["progress"]["description"]) == (100, made.report.headline)
    report = artifacts["markdown"]
    assert report["key"] == "products-report"
    assert "| 20 | 9 | 1 | 0 | 10 |" in report["data"]
    assert all(row["url"] in report["data"] for row in assets(made.shop.engine))


def test_a_second_run_buys_nothing(made: Made) -> None:
    before = made.shop.emulator.calls
    report = made.shop.run(made.catalog)
    assert made.shop.emulator.calls == before
    assert (report.run.planned, report.run.already, report.run.archived, report.run.calls) == (18, 18, 18, 0)
    assert report.headline == "18 of 18 images are permanent (0 new); 0 calls, $0.00"
    assert (report.exit_code, len(assets(made.shop.engine))) == (0, 18)


def test_a_new_title_makes_that_products_images_again(made: Made) -> None:
    before = made.shop.emulator.calls
    text = made.catalog.read_text("utf-8")
    assert text.count("Terra Ceramic Vase,") == 1
    made.catalog.write_text(text.replace("Terra Ceramic Vase,", "Terra Stoneware Vase,"), "utf-8")
    report = made.shop.run(made.catalog)
    assert made.shop.emulator.calls - before == report.run.calls == 2
    with Session(made.shop.engine) as session:
        jobs = session.exec(select(ImageJob.prompt).join(Attempt).where(Attempt.run_id == report.run.id)).all()
    assert len(jobs) == 2
    assert all("Terra Stoneware Vase" in prompt for prompt in jobs)
    rows = assets(made.shop.engine, product="ceramic-vase")
    assert [row["shot"] for row in rows] == ["front", "scene", "front", "scene"]
    check_objects(rows)


# --- the ways an image can come -------------------------------------------------------------------------------
def check_photos(shop: Shop, calls: list[list[dict[str, Any]]]) -> None:
    """Each product's call carries that product's own photo, and nothing but its look was changed on the way."""
    photos = {"Harbour Stoneware Mug": "stoneware-mug", "Dune Linen Shirt": "linen-shirt-white"}
    photos["Lumen Oak Table Lamp"] = "table-lamp"
    for parts in calls:
        text = "".join(part.get("text", "") for part in parts)
        [title] = [title for title in photos if title in text]
        photo = EXAMPLE.parent / "photos" / f"{photos.pop(title)}.jpg"
        prepared = shop.home / "references" / f"{hashlib.sha256(photo.read_bytes()).hexdigest()}.jpg"
        [sent] = [part["inlineData"] for part in parts if "inlineData" in part]
        assert sent["mimeType"] == "image/jpeg"
        assert sent["data"]["sha256"] == hashlib.sha256(prepared.read_bytes()).hexdigest()
        with Image.open(photo) as original, Image.open(prepared) as image:
            difference = ImageStat.Stat(ImageChops.difference(original, image)).mean
        assert max(difference) < 3
    assert not photos


@pytest.mark.parametrize(
    ("wire_format", "response", "url_mode"),
    [
        ("images", "url", "images"),
        ("images", "b64_json", "images"),
        ("gemini", "url", "images"),
        ("gemini", "url", "oss"),
    ],
    ids=["images-url", "images-base64", "gemini-base64", "gemini-url"],
)
def test_every_format(open_shop: OpenShop, wire_format: str, response: str, url_mode: str) -> None:
    shop = open_shop(url_mode=url_mode)
    shop.set(APIYI_FORMAT=wire_format, APIYI_RESPONSE=response)
    report = shop.run(limit=3)
    assert (report.run.archived, report.exit_code) == (3, 0)
    rows = assets(shop.engine)
    check_objects(rows)
    assert shop.emulator.billed_micro == report.run.spent_micro == 3 * PRICE
    assert list(shop.settings.spool.iterdir()) == []
    calls = [request for request in shop.emulator.history if request.method == "POST"]
    downloads = [request for request in shop.emulator.history if request.path.startswith("/oss/")]
    by_url = (wire_format == "images" and response == "url") or url_mode == "oss"
    assert (len(calls), len(downloads)) == (3, 3 if by_url else 0)
    if wire_format == "gemini":
        check_photos(shop, [call.body["contents"][0]["parts"] for call in calls])
    else:
        assert all(call.body["response_format"] == response for call in calls)


def test_a_plan_buys_nothing(shop: Shop, prefect: PrefectApi) -> None:
    from flows.catalog_imaging import catalog_imaging

    state = catalog_imaging(RunOptions(catalog=str(EXAMPLE), plan_only=True), return_state=True)
    assert (state.name, state.message) == ("Completed", "9 images to make for $0.81")
    assert shop.emulator.calls == 0
    with Session(shop.engine) as session:
        assert session.exec(select(Run)).all() == []


# --- secrets --------------------------------------------------------------------------------------------------
def test_no_secret_is_written_or_said_anywhere(
    open_shop: OpenShop, prefect: PrefectApi, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Good calls, refusals, broken lines and a hopeless end: then look wherever words of it may have gone."""
    shop = open_shop()
    caplog.set_level(0)
    for fault in ("html_page", "server_error", "disconnect", "bad_request", "url_500", "truncated_json", "bad_key"):
        shop.emulator.queue(fault)
    shop.set(MAX_ARCHIVE_TRIES=2, CONCURRENCY=2)
    catalog = write_catalog(shop.folder / "c.csv", 10)
    report = shop.run(catalog)
    assert (report.exit_code, report.run.code) == (3, "bad_key")
    said = [markdown(report), repr(report)]
    shop.set(S3_ACCESS_KEY_ID="nobody")
    with pytest.raises(PackshotError, match="s3_denied") as denied:
        shop.run(catalog)
    said.append(str(denied.value) + repr(denied.value.details))

    run_id = report.run.flow_run_id
    assert run_id
    eventually(lambda: len(prefect.logs(run_id)) > 10)
    for kind in ("flow_runs", "task_runs", "artifacts", "logs"):
        rows = prefect.filter(kind)
        assert rows
        said.append(json.dumps(rows))
    said.append(caplog.text)
    said += capfd.readouterr()
    written = [path.read_bytes() for path in shop.home.rglob("*") if path.is_file()]
    assert len(written) >= 2  # the database and what the spool still holds
    text = "\n".join(said).encode() + b"\n".join(written)
    assert b"p-001" in text
    assert [secret for secret in shop.secrets if secret.encode() in text] == []
