from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.apiyi import classify
from packshot.apiyi.classify import retry_after
from packshot.errors import Code, ProviderError


def gateway(message: str = "", code: Any = "", **beside: Any) -> str:
    return json.dumps(beside | {"error": {"message": message, "type": "shell_api_error", "param": "", "code": code}})


def google(code: int, status: str, message: str = "no") -> str:
    return json.dumps({"error": {"code": code, "message": message, "status": status}})


NO_CHANNEL = "当前分组 G 下对于模型 M 计费模式 [按次计费] 无可用渠道 (request id: 2024)"
CASES: list[tuple[int, str, Code]] = [
    # the account
    (401, gateway("无效的令牌 (request id: 2024)", None), Code.BAD_KEY),
    (401, "", Code.BAD_KEY),
    (401, google(401, "UNAUTHENTICATED"), Code.BAD_KEY),
    (403, gateway("Invalid token"), Code.BAD_KEY),
    (400, google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), Code.BAD_KEY),
    (401, '{"success":false,"message":"You are not authorized. The access token is invalid."}', Code.BAD_KEY),
    (403, gateway("user [1] quota [2] preConsumedQuota is not enough", "insufficient_user_quota"), Code.BALANCE_EMPTY),
    (429, gateway("", "insufficient_user_quota"), Code.BALANCE_EMPTY),
    (403, gateway("用户额度不足"), Code.BALANCE_EMPTY),
    (401, gateway("该令牌额度已用尽"), Code.BALANCE_EMPTY),
    (402, "", Code.BALANCE_EMPTY),
    (403, gateway("forbidden"), Code.FORBIDDEN),
    (403, google(403, "PERMISSION_DENIED"), Code.FORBIDDEN),
    # the model
    (503, gateway(NO_CHANNEL), Code.MODEL_UNAVAILABLE),
    (503, gateway("", "model_not_found"), Code.MODEL_UNAVAILABLE),
    (403, gateway("该令牌无权使用 gemini-3-pro-image 模型"), Code.MODEL_UNAVAILABLE),
    (404, gateway("The model `nano` does not exist", "model_not_found"), Code.MODEL_UNAVAILABLE),
    (404, google(404, "NOT_FOUND", "models/x-image is not found for API version v1beta"), Code.MODEL_UNAVAILABLE),
    # the address
    (404, gateway("Invalid URL (POST /v1/v1/images/generations)"), Code.SETTINGS_INVALID),
    (404, "<html>nginx</html>", Code.SETTINGS_INVALID),
    (405, "", Code.SETTINGS_INVALID),
    (301, "", Code.SETTINGS_INVALID),
    (407, "", Code.CONNECT_FAILED),
    # the request
    (400, gateway("bad size", "invalid_request"), Code.BAD_REQUEST),
    (400, google(400, "INVALID_ARGUMENT"), Code.BAD_REQUEST),
    (400, gateway("Unknown parameter: 'response_format'.", "unknown_parameter"), Code.BAD_REQUEST),
    (413, "<html>too large</html>", Code.BAD_REQUEST),
    (422, '{"detail":[{"loc":["body"]}]}', Code.BAD_REQUEST),
    (429, gateway("Invalid value for parameter size"), Code.BAD_REQUEST),
    (429, gateway("参数错误"), Code.BAD_REQUEST),
    (400, gateway("Rejected by the safety system.", "moderation_blocked", status_code=400), Code.MODERATION_BLOCKED),
    (400, gateway("x", "content_policy_violation"), Code.MODERATION_BLOCKED),
    (403, gateway("包含敏感词"), Code.MODERATION_BLOCKED),
    # later
    (429, "", Code.RATE_LIMITED),
    (429, gateway("429 Too Many Requests", "rate_limit_exceeded"), Code.RATE_LIMITED),
    (429, google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"), Code.RATE_LIMITED),
    (429, gateway("insufficient_quota of the upstream account", "insufficient_quota"), Code.RATE_LIMITED),
    (429, gateway("当前分组上游负载已饱和 请稍后再试"), Code.RATE_LIMITED),
    (500, google(500, "RESOURCE_EXHAUSTED"), Code.RATE_LIMITED),
    (503, gateway("The model is overloaded. Please try again later.", None), Code.OVERLOADED),
    (503, google(503, "UNAVAILABLE"), Code.OVERLOADED),
    (529, "", Code.OVERLOADED),
    (502, "", Code.BAD_GATEWAY),
    (502, gateway("", "bad_response_status_code"), Code.BAD_GATEWAY),
    (500, gateway("write tcp: reset by peer", "write_response_body_failed", status_code=500), Code.WRITE_FAILED),
    # nobody knows
    (504, gateway("Upstream model timed out", None), Code.GATEWAY_TIMEOUT),
    (500, gateway("Upstream model timed out"), Code.GATEWAY_TIMEOUT),
    (504, google(504, "DEADLINE_EXCEEDED"), Code.GATEWAY_TIMEOUT),
    (524, "<html>524</html>", Code.GATEWAY_TIMEOUT),
    (408, "", Code.GATEWAY_TIMEOUT),
    (500, gateway("", "bad_response_status_code"), Code.SERVER_ERROR),
    (500, gateway("Image was not generated as expected. Please adjust the prompt and retry", None), Code.SERVER_ERROR),
    (500, "not json", Code.SERVER_ERROR),
    (520, "", Code.SERVER_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "code"), CASES)
def test_every_known_failure_has_its_code(status: int, body: str, code: Code) -> None:
    error = classify(status, body, {})
    assert error.code is code
    assert error.details["http_status"] == status


def test_a_503_without_a_channel_may_pass_and_a_403_does_not() -> None:
    assert classify(503, gateway(NO_CHANNEL), {}).details["maybe_transient"] is True
    assert "maybe_transient" not in classify(403, gateway("", "model_not_found"), {}).details


def test_the_message_says_what_the_provider_said() -> None:
    assert classify(503, gateway("busy", None), {}).message == "HTTP 503, shell_api_error: busy"
    assert classify(502, "", {}).message == "HTTP 502 with an empty body"
    assert classify(524, "<html>..", {}).message == "HTTP 524 with a web page"
    assert "(HTTP 308) to https://b.example/" in classify(308, "", {"location": "https://b.example/"}).message
    assert len(classify(400, gateway("x" * 9000), {}).message) < 700


def test_details_keep_the_raw_body_and_the_ids_support_asks_for() -> None:
    headers = {"X-Shellapi-Request-Id": "20260801", "x-request-id": "up-1", "X-Cache": "no", "Retry-After": "15"}
    error = classify(500, "y" * 3000 + gateway("z"), headers)
    assert error.details["request_ids"] == {"x-shellapi-request-id": "20260801", "x-request-id": "up-1"}
    assert error.details["retry_after"] == 15.0
    assert error.details["excerpt"].startswith("y" * 3000)
    assert len(classify(500, "y" * 100_000, {}).details["excerpt"]) == 4000


@pytest.mark.parametrize(
    "leak",
    ["sk-Abc123Def456", "SK-Abc123Def456", "sk-abc***xyz", "Bearer eyJhbGciOi", "Authorization: Basic dXNlcjpwYXNz",
     "http://user:Abc123Def456@proxy:8080/"],
)  # fmt: skip
def test_what_looks_like_a_key_goes_nowhere(leak: str) -> None:
    error = classify(401, gateway(f"Incorrect API key provided: {leak}."), {"x-request-id": leak, "location": leak})
    secret = leak.split(":", 2)[-1].split()[-1].split("@")[0]
    assert secret not in str(error) + repr(error) + str(error.details)
    assert secret.encode() not in pickle.dumps(error)
    assert "[hidden]" in error.message


def test_control_characters_do_not_reach_logs_or_tables() -> None:
    error = classify(500, '{"error":{"message":"a\\u0000b\\u001b[31m\\ud800"}}\x00', {})
    text = error.message + error.details["excerpt"]
    assert "\x00" not in text
    assert "\x1b" not in text
    text.encode()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"RETRY-AFTER": " 7.5 "}, 7.5),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:30 GMT", "Date": "Sun, 22 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"Retry-After": "Sun, 22 Nov 2026 11:00:00 GMT", "Date": "Sun, 22 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:30 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "99999999999"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "message", "status", "status_code", "success", "type"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@given(status=st.integers(100, 999).filter(lambda s: not 200 <= s < 300), body=json_values)
def test_no_envelope_makes_it_crash(status: int, body: Any) -> None:
    error = classify(status, json.dumps(body), {})
    assert isinstance(error, ProviderError)
    assert isinstance(pickle.loads(pickle.dumps(error)), ProviderError)


def test_deep_nesting_is_no_envelope() -> None:
    assert classify(500, "[" * 100_000, {}).code is Code.SERVER_ERROR
