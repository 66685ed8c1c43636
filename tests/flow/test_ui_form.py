"""A person starts a run in the Prefect UI, and cancels another: every key and every click is a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image
from sqlmodel import Session, col, select

from packshot.db.queries import assets
from packshot.db.tables import Run
from tests.fixtures_browser import SEEN_WITHIN, Browser
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import ROOT, SHOTS, OpenShop, Shop
from tests.workers import worker

if TYPE_CHECKING:
    from playwright.sync_api import Locator

WRITE_DOCS = os.environ.get("PACKSHOT_WRITE_DOCS") == "1"  # asked now: a shop clears these variables
PICTURES = ("run-form.png", "run-page.png", "artifacts.png")
WIDTH, HEIGHT = 1200, 1180
POOL = "local-process"
PRICE = 90_000
HOME_AND_GARDEN = {"stoneware-mug", "oak-table-lamp", "ceramic-vase"}  # of examples/catalog/products.csv

HEAD, FRONT = SHOTS.split("shots:\n")
THREE_SHOTS = HEAD + "shots:\n" + "".join(FRONT.replace("front", name) for name in ("packshot", "lifestyle", "detail"))

CATALOG = "Catalog file (Optional)"
CATEGORIES = "Only these categories (Optional)"
LIMIT = "At most this many new images (Optional)"
MAXIMUM = "Maximum cost (US dollars) (Optional)"


def prefect_env(prefect: PrefectApi, home: Path) -> dict[str, str]:
    """The environment of a terminal in which the project's own environment is active."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(home),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
    }


def deploy(prefect: PrefectApi, home: Path) -> None:
    """Everything that the project deploys. Nothing but a person is to start runs in this test."""
    done = subprocess.run(
        ["sh", "deployments/deploy.sh"],
        cwd=ROOT, env=prefect_env(prefect, home), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for deployment in prefect.filter("deployments"):
        if deployment["name"] != "on-demand":
            prefect.send("POST", f"deployments/{deployment['id']}/pause_deployment")


class Person:
    """Goes from page to page as a merchandiser does."""

    def __init__(self, browser: Browser, prefect: PrefectApi, pictures: Path) -> None:
        self.browser = browser
        self.page = browser.page
        self.prefect = prefect
        self.pictures = pictures
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})

    def open_form(self) -> None:
        self.browser.open("/v2/deployments")
        self.page.get_by_role("link", name="on-demand", exact=True).first.click()
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.browser.sees(CATALOG)

    def types(self, field: str, text: str) -> None:
        self.browser.types(self.page.get_by_label(field, exact=True), text)

    def chooses(self, *shots: str) -> None:
        self.page.get_by_role("button", name="Select Shots").click()
        for shot in shots:
            self.page.get_by_role("option", name=shot, exact=True).click()
        self.page.keyboard.press("Escape")

    def adds(self, field: str, text: str) -> None:
        """An item to a list."""
        self._below(field, "button[contains(., 'Add item')]").click()
        self.browser.types(self._below(field, "textarea"), text)

    def submits(self) -> str:
        """(flow run) Its page is open then. What pops up after the click offers it too, but for seconds only."""
        status, created = 503, {}
        while status == 503:  # the server's SQLite is busy, the page says so, and a person clicks again
            with self.page.expect_response("**/create_flow_run", timeout=SEEN_WITHIN) as answer:
                self.page.get_by_role("button", name="Submit", exact=True).click()
            status, created = answer.value.status, answer.value.json()
        assert status == 201, created
        flow_run = created["id"]
        self.page.locator(f"a[href$='{flow_run}']").first.click()
        self.page.wait_for_url(f"**/{flow_run}*")
        # The address changes first: what other runs came to is still to be read on the page before it.
        self.page.get_by_role("tab", name="Logs", exact=True).wait_for(timeout=SEEN_WITHIN)
        return str(flow_run)

    def refused(self, field: str) -> str:
        """What the browser says when the form is submitted with this in it."""
        self.page.get_by_role("button", name="Submit", exact=True).click()
        assert self.page.get_by_role("button", name="Submit", exact=True).is_visible()
        return str(self.page.get_by_label(field, exact=True).evaluate("field => field.validationMessage"))

    def cancels(self) -> None:
        self.browser.sees("Running")
        self.page.locator("main button[aria-haspopup=menu]").first.click()
        self.page.get_by_role("menuitem", name="Cancel").click()
        self.page.get_by_role("button", name="Cancel Flow Run").click()

    def opens_tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def takes_picture(self, name: str) -> None:
        self.page.mouse.move(0, 0)
        self.page.wait_for_timeout(1000)  # what slides and fades in has arrived
        self.page.screenshot(path=self.pictures / name)

    def _below(self, label: str, what: str) -> Locator:
        """The first such element after the label: the one that belongs to it."""
        return self.page.locator(f"xpath=//label[text()='{label}']/following::{what}").first


def made(shop: Shop) -> list[tuple[str, str]]:
    return sorted((row["product_key"], row["shot"]) for row in assets(shop.engine))


def looks_like_a_page(path: Path) -> bool:
    """A PNG of the browser's window that is neither blank nor heavy."""
    with Image.open(path) as picture:
        return (picture.format, picture.size) == ("PNG", (WIDTH, HEIGHT)) and 40_000 < path.stat().st_size < 250_000


def runs(shop: Shop) -> list[Run]:
    with Session(shop.engine) as session:
        return list(session.exec(select(Run).order_by(col(Run.id))).all())


def options_of(prefect: PrefectApi, flow_run: str) -> dict[str, Any]:
    options: dict[str, Any] = prefect.flow_run(flow_run)["parameters"]["options"]
    return options


@pytest.mark.timeout(480)  # about 80 s, the server's start not counted, on a machine that has little else to do
def test_a_person_runs_and_cancels_with_the_form(
    open_shop: OpenShop, prefect: PrefectApi, tmp_path: Path, browser: Browser
) -> None:
    shop = open_shop(latency=(0.5, 1.5))
    shop.set(APIYI_FORMAT="gemini")
    shop.shots.write_text(THREE_SHOTS)
    deploy(prefect, tmp_path / "deployer")
    person = Person(browser, prefect, ROOT / "docs" if WRITE_DOCS else tmp_path)
    with worker(prefect, POOL, tmp_path / "worker.log"):
        eventually(lambda: requests.get(f"{prefect.url}/work_pools/{POOL}", timeout=30).json()["status"] == "READY", 60)
        person.open_form()
        person.types(CATALOG, "examples/catalog/products.jsonl")
        person.chooses("packshot", "detail")
        person.types(LIMIT, "-5")
        assert "greater than or equal to 0" in person.refused(LIMIT)
        person.types(LIMIT, "5")
        person.types(MAXIMUM, "1.5")
        browser.page.get_by_text("Run Name", exact=True).scroll_into_view_if_needed()
        person.takes_picture("run-form.png")
        flow_run = person.submits()
        browser.sees("Completed")
        asked = {"catalog": "examples/catalog/products.jsonl", "shots": ["packshot", "detail"], "limit": 5}
        assert options_of(prefect, flow_run).items() >= (asked | {"max_cost_usd": 1.5, "plan_only": False}).items()
        wanted = sorted((key, shot) for key in ("mug-01", "vase-01", "car-01") for shot in ("packshot", "detail"))
        wanted.remove(("car-01", "detail"))  # the sixth
        assert made(shop) == wanted
        [run] = runs(shop)
        assert (run.state, run.archived, run.max_cost_micro) == ("completed", 5, 1_500_000)
        assert run.flow_run_id == flow_run
        browser.page.reload()
        browser.sees("Completed")
        person.opens_tab("Task Runs")
        browser.sees("plan", *(f"{product} {shot}" for product, shot in wanted))
        person.takes_picture("run-page.png")
        person.opens_tab("Artifacts")
        browser.page.get_by_role("link", name="products-report").first.click()
        browser.page.locator("main a[href*='/artifacts/artifact/']").first.click()
        browser.page.wait_for_url("**/artifacts/artifact/**")
        browser.page.get_by_role("table").first.wait_for()
        person.takes_picture("artifacts.png")
        assert all(looks_like_a_page(person.pictures / name) for name in PICTURES)

        shop.emulator.latency = 8.0
        person.open_form()
        person.adds(CATEGORIES, "home & garden")
        flow_run = person.submits()
        eventually(lambda: shop.emulator.health()["in_flight"] == 8, 40)
        person.cancels()
        browser.sees("Cancelled")
    # The worker had no reason to kill it: the calls in the air came home in time, and no other went out.
    assert prefect.flow_run(flow_run)["state_type"] == "CANCELLED"
    assert options_of(prefect, flow_run)["categories"] == ["home & garden"]
    run = runs(shop)[-1]
    assert (run.flow_run_id, run.state, run.code) == (flow_run, "stopped", "stop_requested")
    assert (run.planned, run.calls, run.spent_micro) == (9, 8, 8 * PRICE)
    assert shop.emulator.calls == 5 + 8
    assert len(made(shop)) == 5 + 8
    assert {product for product, _ in made(shop)} - {product for product, _ in wanted} == HOME_AND_GARDEN


def test_the_pictures_of_the_readme_are_such_pages() -> None:
    """They are made by the test above: PACKSHOT_WRITE_DOCS=1 pytest tests/flow/test_ui_form.py"""
    assert all(looks_like_a_page(ROOT / "docs" / name) for name in PICTURES)
