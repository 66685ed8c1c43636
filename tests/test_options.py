"""A run's options as data: what the form is made of, and what it does not let through."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from packshot.errors import Code, ConfigError
from packshot.options import RunOptions, checked_options
from packshot.settings import PREFIX, Settings

FIRST = ["catalog", "shots", "products", "categories", "limit", "max_cost_usd", "plan_only"]
SERVER_LIMIT = 524_288  # bytes of JSON that a Prefect server takes as the parameters of one run
SHOT = '  - {name: %s, prompt: "{{ facts }}", aspect_ratio: "1:1", image_size: 1K}\n'

SetUp = Callable[..., None]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    """Sets PACKSHOT_ variables, and nothing of the developer's own counts."""
    (tmp_path / "no.env").touch()

    def set_up(**variables: object) -> None:
        for name, value in ({"ENV_FILE": tmp_path / "no.env"} | variables).items():
            monkeypatch.setenv(PREFIX + name, str(value))

    set_up()
    return set_up


def fields() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = RunOptions.model_json_schema()["properties"]
    return found


# --- the form ---------------------------------------------------------------------------------------------------
def test_what_is_touched_first_comes_first() -> None:
    by_position = sorted(fields(), key=lambda name: fields()[name]["position"])
    assert by_position[: len(FIRST)] == FIRST
    assert by_position == list(RunOptions.model_fields)
    assert sorted(field["position"] for field in fields().values()) == list(range(len(fields())))


def test_the_shots_are_those_of_the_list_that_the_settings_name(environment: SetUp, tmp_path: Path) -> None:
    assert fields()["shots"]["items"]["enum"] == ["packshot", "lifestyle", "detail"]
    (tmp_path / "own.yaml").write_text("version: 1\nshots:\n" + SHOT % "on-oak" + SHOT % "worn")
    environment(SHOTS=tmp_path / "own.yaml")
    assert fields()["shots"]["items"]["enum"] == ["on-oak", "worn"]


@pytest.mark.parametrize("fault", ["no file", "no list", "settings"])
def test_without_a_shot_list_names_are_typed(environment: SetUp, tmp_path: Path, fault: str) -> None:
    (tmp_path / "broken.yaml").write_text("shots: 5")
    (tmp_path / "good.yaml").write_text("version: 1\nshots:\n" + SHOT % "on-oak")
    faults: dict[str, dict[str, object]] = {
        "no file": {"SHOTS": tmp_path / "missing.yaml"},
        "no list": {"SHOTS": tmp_path / "broken.yaml"},
        "settings": {"SHOTS": tmp_path / "good.yaml", "CONCURRENCY": "many"},
    }
    environment(**faults[fault])
    assert "enum" not in fields()["shots"]["items"]
    assert "could not be read" in fields()["shots"]["description"]
    assert RunOptions(shots=["on-oak"]).shots == ["on-oak"]


# --- what goes through it -----------------------------------------------------------------------------------------
def test_blanks_around_what_was_typed_do_not_count() -> None:
    options = RunOptions(catalog=" a.csv\n", name="spring ", products=["mug\n"], categories=["\tHome > Vases "])
    assert (options.catalog, options.name, options.products) == ("a.csv", "spring", ["mug"])
    assert options.categories == ["Home > Vases"]
    assert RunOptions(delimiter="\t").delimiter == "\t", "here the blank is what is meant"


@pytest.mark.parametrize(
    "wrong",
    [
        {"catalog": " "}, {"products": [" "]}, {"categories": [""]}, {"shots": [""]},
        {"products": ["p"] * 201}, {"categories": ["c"] * 51}, {"shots": ["s"] * 51}, {"products": ["p" * 256]},
        {"limit": -1}, {"limit": 1.5}, {"max_cost_usd": -0.01}, {"max_cost_usd": float("nan")},
        {"max_cost_usd": float("inf")}, {"concurrency": -1}, {"workers": 0}, {"fail_above": 101},
        {"mapping": {f"attributes.{n}": "c" for n in range(41)}}, {"category": ["Home"]}, {"Limit": 3},
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        RunOptions(**wrong)
    with pytest.raises(ConfigError, match=next(iter(wrong))) as failure:
        checked_options(wrong)
    assert failure.value.code is Code.SETTINGS_INVALID


def largest(letter: str) -> RunOptions:
    """As much as every field takes."""

    def text(length: int) -> str:
        return letter * length

    return RunOptions(
        catalog=text(1000),
        shots=[text(100)] * 50,
        products=[text(255)] * 200,
        categories=[text(300)] * 50,
        mapping={f"{n:02d}" + text(148): text(150) for n in range(40)},
        encoding=text(40),
        image_separator=text(5),
        statuses=[text(60)] * 20,
        variants_by=[text(100)] * 5,
    )


def test_the_largest_form_is_far_below_what_a_server_takes() -> None:
    def size(letter: str) -> int:
        options = largest(letter).model_dump(mode="json")
        return len(json.dumps({"options": options}, separators=(",", ":")).encode())

    assert size("x") < SERVER_LIMIT / 4
    assert size("ö") < SERVER_LIMIT  # written as six bytes
    full = largest("x").model_dump()
    lists = [name for name, field in fields().items() if field["type"] in ("array", "object")]
    for name in lists:
        more = full[name] | {"one": "more"} if isinstance(full[name], dict) else [*full[name], "one more"]
        with pytest.raises(ValidationError, match=name):
            RunOptions(**(full | {name: more}))


# --- no secrets ---------------------------------------------------------------------------------------------------
def test_no_field_is_a_secret() -> None:
    secrets = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert len(secrets) == 5
    for name, field in RunOptions.model_fields.items():
        assert SecretStr.__name__ not in str(field.annotation), name
        assert not re.search(r"key|token|secret|password|credential|database", name), name
        assert name not in secrets
        assert "format" not in fields()[name] or fields()[name]["format"] != "password", name


def test_the_form_shows_no_setting_that_is_secret(environment: SetUp) -> None:
    hidden = {"APIYI_KEY": "sk-hidden-1", "S3_SECRET_ACCESS_KEY": "hidden-2", "DATABASE_URL": "sqlite:///hidden-3"}
    environment(**hidden)
    assert not re.search("hidden", json.dumps(RunOptions.model_json_schema()))
