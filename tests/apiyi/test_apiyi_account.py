"""The account's balance and log, read from the emulator and from servers that answer strangely."""

from __future__ import annotations

import json
import pickle
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from packshot.apiyi.account import BETWEEN_PAGES, PAGE_SIZE, AccountClient, LogRow
from packshot.errors import Code, ConfigError, PackshotError, ProviderError
from packshot.sandbox.emulator import Emulator
from packshot.settings import Settings
from tests.apiyi.loopback import Loopback, sized

TOKEN = "token-3fbd0a7e55c2"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def account(base_url: str, sleep: Callable[[float], None] = lambda _: None, token: str = TOKEN) -> AccountClient:
    return AccountClient(
        Settings(_env_file=None, apiyi_base_url=base_url, apiyi_system_token=token, connect_timeout=1.0), sleep
    )


class Clock:
    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> float:
        return self.time.timestamp()


def order(emulator: Emulator, times: int = 1) -> list[str]:
    """Buy; returns the request ids."""
    body = {"model": "nano-banana-pro", "prompt": "a mug", "size": "1024x1024"}
    headers = {"Authorization": "Bearer sk-sandbox-key"}
    url = f"{emulator.base_url}/v1/images/generations"
    return [
        requests.post(url, json=body, headers=headers, timeout=5).headers["x-shellapi-request-id"]
        for _ in range(times)
    ]  # fmt: skip


def questions(emulator: Emulator) -> list[dict[str, str]]:
    """What the log was asked."""
    asked = [urlsplit(entry.path) for entry in emulator.history]
    return [
        {name: values[0] for name, values in parse_qs(parts.query).items()}
        for parts in asked
        if parts.path == "/api/log/self"
    ]


# --- the emulator's account ---------------------------------------------------------------------------------------
def test_the_balance_is_in_dollars() -> None:
    with Emulator(system_token=TOKEN, balance_usd=10) as emulator, account(emulator.base_url) as client:
        order(emulator, 2)
        balance = client.balance()
    assert (balance.left, balance.used) == (Decimal("9.82"), Decimal("0.18"))


def test_a_row_says_what_was_charged_for_which_call() -> None:
    clock = Clock()
    with Emulator(system_token=TOKEN, clock=clock) as emulator, account(emulator.base_url) as client:
        for fault in ("none", "group_failover", "write_failed", "rate_limited", "hang"):
            emulator.queue(fault)
        ids = order(emulator, 4)
        rows = {row.request_id: row for row in client.log_rows(NOON, NOON)}
    assert rows.keys() == set(ids[:3])
    assert [rows[one].cost_micro for one in ids[:3]] == [90_000, 126_000, 0]
    first = rows[ids[0]]
    assert first.seconds is not None
    assert first == LogRow(ids[0], NOON, "nano-banana-pro", "sandbox", "Default", 90_000, first.seconds, "")
    assert rows[ids[1]].token_group == "NanoBananaEnterprise"
    assert rows[ids[2]].error_code == "write_response_body_failed"


def test_each_page_is_read_and_no_question_asks_for_more_than_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packshot.apiyi.account.PAGE_SIZE", 4)
    clock = Clock()
    slept: list[float] = []
    with Emulator(system_token=TOKEN, clock=clock) as emulator:
        wanted = []
        for hours in (0, 24, 24, 60):  # 24 h: on the very second where two questions meet
            clock.time = NOON + timedelta(hours=hours)
            wanted += order(emulator, 3)
        clock.time += timedelta(seconds=1)
        order(emulator)  # after the end
        with account(emulator.base_url, slept.append) as client:
            found = [row.request_id for row in client.log_rows(NOON, NOON + timedelta(hours=60))]
        asked = questions(emulator)
    assert sorted(found) == sorted(wanted)
    assert {question["type"] for question in asked} == {"2"}
    assert {question["pageSize"] for question in asked} == {"4"}
    assert all(int(q["end_timestamp"]) - int(q["start_timestamp"]) <= 86_400 for q in asked)
    assert [q["p"] for q in asked if int(q["start_timestamp"]) == NOON.timestamp()] == ["0", "1", "2", "3"]
    assert slept == [BETWEEN_PAGES] * (len(asked) - 1)


def test_rows_that_come_while_pages_are_read_make_none_appear_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packshot.apiyi.account.PAGE_SIZE", 2)
    with Emulator(system_token=TOKEN, clock=Clock()) as emulator:
        ids = order(emulator, 6)
        late: list[str] = []

        def wait(_: float) -> None:
            if not late:  # entered late, in the period asked for: pushes the others along
                late.extend(order(emulator))

        with account(emulator.base_url, wait) as client:
            found = [row.request_id for row in client.log_rows(NOON, NOON)]
    assert len(found) == len(set(found))
    assert set(found) >= set(ids)


def test_the_log_travels_packed() -> None:
    with Emulator(system_token=TOKEN) as emulator, account(emulator.base_url) as client:
        client.balance()
        [asked] = emulator.history
        assert "gzip" in asked.headers["accept-encoding"]
        answer = requests.get(f"{emulator.base_url}/api/user/self", headers={"Authorization": TOKEN}, timeout=5)
    assert answer.headers["Content-Encoding"] == "gzip"


# --- servers that are not as documented ---------------------------------------------------------------------------
def log_row(name: str, **fields: Any) -> dict[str, Any]:
    usual = {
        "request_id": name, "created_at": int(NOON.timestamp()), "model_name": "m", "token_name": "t",
        "token_group": "Default", "quota": 45_000, "duration_for_view": "12.5s", "error_code": None,
    }  # fmt: skip
    return usual | fields


def pages(*found: list[dict[str, Any]]) -> Callable[[Any], None]:
    """One page after the other, then the last one for ever."""
    left = list(found)

    def answer(connection: Any) -> None:
        page = left.pop(0) if len(left) > 1 else left[0]
        sized(json.dumps({"success": True, "message": None, "data": page}).encode())(connection)

    return answer


def read(server: Loopback) -> list[LogRow]:
    with account(server.base_url) as client:
        return list(client.log_rows(NOON, NOON))


def test_a_server_that_makes_small_pages_is_read_to_the_end() -> None:
    assert PAGE_SIZE > 2
    with Loopback(pages([log_row("a"), log_row("b")], [log_row("c")], [])) as server:
        found = read(server)
    assert [row.request_id for row in found] == ["a", "b", "c"]
    assert {(row.seconds, row.error_code, row.cost_micro) for row in found} == {(12.5, "", 90_000)}


def test_a_server_that_knows_no_pages_is_asked_twice() -> None:
    with Loopback(pages([log_row("a"), log_row("b")])) as server:
        assert [row.request_id for row in read(server)] == ["a", "b"]
        assert len(server.heads) == 2


def test_equal_rows_without_an_id_are_two_charges() -> None:
    with Loopback(pages([log_row(""), log_row("")], [])) as server:
        assert [row.cost_micro for row in read(server)] == [90_000, 90_000]


REFUSED = json.dumps({"success": False, "message": f"The access token {TOKEN} is invalid."}).encode()
STRANGE: dict[str, tuple[Callable[[Any], None], Code, str]] = {
    "no such token": (sized(REFUSED, "401 Unauthorized"), Code.SETTINGS_INVALID, "PACKSHOT_APIYI_SYSTEM_TOKEN"),
    "refused with 200": (sized(REFUSED), Code.SETTINGS_INVALID, "access token [hidden] is invalid"),
    "a web page": (sized(f"<html>{TOKEN}</html>".encode()), Code.NOT_JSON, "something else than JSON"),
    "overload": (sized(TOKEN.encode(), "503 Busy", f"X-Request-Id: {TOKEN}"), Code.OVERLOADED, "HTTP 503"),
    "redirect": (sized(b"", "302 Found", f"Location: /?{TOKEN}"), Code.SETTINGS_INVALID, "redirects"),
    "no rows": (sized(b'{"success": true, "data": null}'), Code.NOT_JSON, "the log is not a list"),
    "no money": (sized(json.dumps({"success": True, "data": [log_row(TOKEN, quota=None)]}).encode()),
                 Code.NOT_JSON, "a row of the log is not one"),
    "nothing": (lambda connection: connection.close(), Code.CONNECT_FAILED, "does not answer"),
}  # fmt: skip


@pytest.mark.parametrize("case", STRANGE)
def test_what_cannot_be_read_is_one_error_without_the_token(case: str) -> None:
    answer, code, words = STRANGE[case]
    with Loopback(answer) as server, account(server.base_url) as client, pytest.raises(ProviderError) as caught:
        list(client.log_rows(NOON, NOON))
    error: BaseException | None = caught.value
    assert caught.value.code is code
    assert words in str(caught.value)
    assert TOKEN not in str(pickle.loads(pickle.dumps(caught.value)).details) + str(caught.value)
    while error:
        assert not hasattr(error, "request"), "a request holds the token"
        assert TOKEN not in "".join(traceback.format_exception_only(error))
        error = error.__context__


def test_a_balance_that_is_none_is_an_error() -> None:
    answer = sized(b'{"success": true, "data": {"quota": 1}}')
    with Loopback(answer) as server, account(server.base_url) as client, pytest.raises(ProviderError, match="not one"):
        client.balance()


@pytest.mark.parametrize("token", [None, "", "  ", "to ken", "tok\nen", "tökén"])
def test_a_token_that_cannot_be_used_is_refused_at_once(token: str | None) -> None:
    settings = Settings(_env_file=None, apiyi_system_token=token)
    with pytest.raises(ConfigError, match="PACKSHOT_APIYI_SYSTEM_TOKEN") as caught:
        AccountClient(settings)
    assert isinstance(caught.value, PackshotError)
    assert not token or not token.strip() or token not in str(caught.value)
