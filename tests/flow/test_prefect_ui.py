"""What people see: the run's pages and the run form in the real Prefect UI, and what the form does not let through."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import requests

from packshot.options import RunOptions
from packshot.report import Report
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import Shop, write_catalog

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SEEN_WITHIN = 30_000  # milliseconds


@dataclass
class Browser:
    page: Page
    url: str

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def sees(self, *texts: str) -> None:
        """Waits until all of it is on the page."""
        for text in texts:
            self.page.get_by_text(text, exact=True).first.wait_for(timeout=SEEN_WITHIN)


@pytest.fixture
def browser(prefect: PrefectApi, tmp_path: Path) -> Iterator[Browser]:
    if not CHROMIUM.exists():
        reason = f"{CHROMIUM} is not there: the pages of the Prefect UI were not looked at"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=CHROMIUM, headless=False, args=ARGUMENTS
        )
        yield Browser(context.new_page(), prefect.ui_url)
        context.close()


@pytest.fixture
def report(shop: Shop) -> Report:
    """A run of three products, one of which failed."""
    shop.emulator.queue("moderation_blocked")
    return shop.run(write_catalog(shop.folder / "spring.csv", 3))


@pytest.fixture
def deployment(prefect: PrefectApi) -> str:
    """The flow as a deployment: what `prefect deploy` makes, without a worker that would run it."""
    from flows.catalog_imaging import catalog_imaging

    return str(cast(Any, catalog_imaging.to_deployment("by-hand")).apply())


# The run comes first: a browser that is open keeps Prefect's own calls from working in this thread.
def test_the_pages_of_a_run(report: Report, deployment: str, prefect: PrefectApi, browser: Browser) -> None:
    assert report.run.flow_run_id
    [run] = prefect.family(report.run.flow_run_id)
    eventually(lambda: len(prefect.task_runs(run["id"])) == 5)
    browser.open(f"/v2/runs/flow-run/{run['id']}?tab=TaskRuns")
    browser.sees(run["name"], "CompletedWithFailures", "plan", "report")
    browser.sees("p-001 front", "p-002 front", "p-003 front", "Failed")
    browser.open(f"/v2/deployments/deployment/{deployment}/run")
    browser.sees(*(str(field.description) for field in RunOptions.model_fields.values()))


def test_the_form_explains_and_limits_every_field(deployment: str, prefect: PrefectApi) -> None:
    schema = prefect.get(f"deployments/{deployment}")["parameter_openapi_schema"]
    fields: dict[str, dict[str, Any]] = schema["definitions"]["RunOptions"]["properties"]
    assert fields.keys() == RunOptions.model_fields.keys()
    limits = {"integer": "maximum", "number": "maximum", "array": "maxItems", "string": "maxLength"}
    for name, field in fields.items():
        assert field["title"], name
        assert len(field["description"]) > 15, name
        assert "enum" in field or limits.get(field["type"], "type") in field, name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurrency": 201}, "options.concurrency"),
        ({"limit": -1}, "options.limit"),
        ({"max_cost_usd": -0.5}, "options.max_cost_usd"),
        ({"format": "xml"}, "options.format"),
        ({"name": "two words"}, "options.name"),
        ({"catalog": ""}, "options.catalog"),
        ({"concurency": 5}, "concurency"),
    ],
)
def test_a_wrong_value_is_refused_before_a_run_exists(
    deployment: str, prefect: PrefectApi, options: dict[str, Any], said: str
) -> None:
    answer = requests.post(
        f"{prefect.url}/deployments/{deployment}/create_flow_run", json={"parameters": {"options": options}}, timeout=30
    )
    assert answer.status_code == 409
    assert said in answer.json()["detail"]


def test_a_wrong_value_does_not_start_the_flow(shop: Shop) -> None:
    from flows.catalog_imaging import catalog_imaging

    state = catalog_imaging({"concurrency": 201}, return_state=True)
    assert state.is_failed()
    assert "options.concurrency" in str(state.message)
    assert shop.emulator.calls == 0
