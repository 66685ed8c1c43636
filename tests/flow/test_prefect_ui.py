"""What people see: the run's pages and the run form in the real Prefect UI, and what the form does not let through."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import requests

from packshot.options import RunOptions
from packshot.report import Report
from tests.fixtures_browser import Browser
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import Shop, write_catalog


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
        ({"concurrency": 501}, "options.concurrency"),
        ({"limit": -1}, "options.limit"),
        ({"max_cost_usd": -0.5}, "options.max_cost_usd"),
        ({"format": "xml"}, "options.format"),
        ({"name": "two words"}, "options.name"),
        ({"catalog": ""}, "options.catalog"),
        ({"concurency": 5}, "concurency"),
        ({"shots": ["no-such-shot"]}, "'no-such-shot' is not one of"),
        ({"products": [""]}, "options.products[0]"),
        ({"products": ["p"] * 201}, "options.products"),
        ({"categories": ["c"] * 51}, "options.categories"),
        ({"workers": 0}, "options.workers"),
        ({"fail_above": 101}, "options.fail_above"),
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurrency": 501}, "options.concurrency"),
        ({"shots": ["fornt"]}, "there is no shot 'fornt' - did you mean 'front'? (the list has: front)"),
        ({"products": ["p-001", "p-009"]}, "the catalog has no product with the key or SKU p-009"),
        ({"categories": ["Garden"]}, "the catalog has no product in the category 'Garden' (it has: Home)"),
        ({"catalog": "no-such-catalog.csv"}, "no-such-catalog.csv"),
    ],
)
def test_what_the_form_cannot_know_ends_the_flow_with_a_sentence(
    shop: Shop, options: dict[str, Any], said: str
) -> None:
    """Nor does the form check anything where a person switches its checks off."""
    from flows.catalog_imaging import catalog_imaging

    catalog = write_catalog(shop.folder / "spring.csv", 3)
    state = catalog_imaging({"catalog": str(catalog)} | options, return_state=True)
    assert state.is_failed()
    assert said in str(state.message)
    assert shop.emulator.calls == 0


def test_no_secret_is_a_parameter(shop: Shop, report: Report, deployment: str, prefect: PrefectApi) -> None:
    assert report.run.flow_run_id
    kept = [prefect.flow_run(report.run.flow_run_id)["parameters"], report.run.parameters]
    assert all("spring.csv" in json.dumps(parameters) for parameters in kept)
    shown = json.dumps([prefect.get(f"deployments/{deployment}"), *kept])
    assert not [secret for secret in shop.secrets if secret in shown]
