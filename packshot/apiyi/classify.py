"""What a failed call means: pure functions from status, body and headers to a ProviderError.

The gateway is of the one-api family: ``code`` may be null or missing, ``message`` empty or Chinese, ``status_code`` may
sit beside ``error``, and envelopes of Google and OpenAI pass through. So the order is: what the code or message says
beyond doubt, then the HTTP status. Sources: docs.apiyi.com, error pages and best practices, 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from packshot.apiyi.scrub import excerpt, says, scrub
from packshot.errors import Code, ProviderError

REQUEST_ID_HEADERS = ("x-shellapi-request-id", "x-request-id", "request-id", "x-oneapi-request-id")


@dataclass(frozen=True, slots=True)
class Envelope:
    """An error object, whatever its dialect. ``status`` is the HTTP status it names itself, if any."""

    code: str
    message: str
    status: int | None


def envelope(answer: Any) -> Envelope | None:
    """The error in a parsed answer, or None if it is no error object."""
    if isinstance(answer, list) and len(answer) == 1:  # Google, on its streaming endpoint
        answer = answer[0]
    if not isinstance(answer, dict):
        return None
    error = answer.get("error")
    if isinstance(error, str) and error:
        error = {"message": error}
    elif not error and answer.get("success") is False:  # the gateway's account pages
        error = answer
    if not isinstance(error, dict) or not error:
        return None
    code, google, kind = error.get("code"), error.get("status"), error.get("type")
    # Google's code is the HTTP status and its word stands in ``status``; elsewhere ``code`` is the word.
    word = google if isinstance(google, str) else code if isinstance(code, str) else kind
    return Envelope(
        code=str(word or ""),
        message=next(
            (m for m in (error.get("message"), error.get("localized_message")) if isinstance(m, str) and m), ""
        ),
        status=next((s for s in (answer.get("status_code"), code) if isinstance(s, int) and 300 <= s < 600), None),
    )


# Tried in this order against "code message", in lower case. A rule with statuses holds for those alone.
_BY_WORDS: tuple[tuple[Code, str, frozenset[int]], ...] = tuple(
    (code, words, frozenset(statuses))
    for code, words, statuses in (
        (Code.BALANCE_EMPTY, r"insufficient_user_quota|preconsumedquota|pre_consume_token_quota_failed", ()),
        (
            Code.BALANCE_EMPTY,
            r"insufficient[ _](user[ _])?(quota|balance|credit)|quota (is )?(not enough|used up)|余额不足|额度不足"
            r"|额度已用尽|额度已用完|欠费",
            (200, 400, 401, 402, 403, 500),
        ),
        (
            Code.MODERATION_BLOCKED,
            r"moderation_blocked|content_policy_violation|sensitive_words?_detected|safety system|content policy"
            r"|prompt_blocked|敏感词|内容审核|违规",
            (),
        ),
        (Code.WRITE_FAILED, r"write_response_body_failed", ()),
        (
            Code.MODEL_UNAVAILABLE,
            r"model_not_found|无可用渠道|no available channel|模型不存在|无权访问模型|无权使用.{0,40}模型"
            r"|models?[ /'\"`\w.\-]{0,80}(not found|does not exist)",
            (200, 400, 401, 403, 404, 500, 503),
        ),
        (
            Code.BAD_KEY,
            r"invalid_api_key|invalid token|incorrect api key|api key not valid|unauthenticated|无效的令牌|令牌无效"
            r"|令牌已过期|令牌状态不可用|未提供令牌",
            (200, 400, 401, 403),
        ),
        (Code.GATEWAY_TIMEOUT, r"upstream model timed out|deadline_exceeded|gateway time-?out", ()),
        (
            Code.BAD_REQUEST,
            r"invalid[ _](parameter|argument|value|size|type|image|request body)|unknown[ _]parameter"
            r"|unsupported[ _](parameter|value|size)|must be one of|参数(错误|无效|不合法|不支持)|不支持(的)?参数",
            (200, 429),
        ),
        (Code.RATE_LIMITED, r"resource_exhausted|rate_limit|too many requests|过于频繁|频率限制", (200, 429, 500, 503)),
        (Code.OVERLOADED, r"\bunavailable\b|overloaded|负载已饱和|系统繁忙", (200, 500)),
    )
)  # fmt: skip
_RATE = re.compile(r"\brate|limit|too many|concurren|quota|频|限流|限制|并发|饱和|resource_exhausted")

_BY_STATUS = {
    401: Code.BAD_KEY,
    402: Code.BALANCE_EMPTY,
    403: Code.FORBIDDEN,
    404: Code.SETTINGS_INVALID,
    405: Code.SETTINGS_INVALID,
    407: Code.CONNECT_FAILED,
    408: Code.GATEWAY_TIMEOUT,
    429: Code.RATE_LIMITED,
    502: Code.BAD_GATEWAY,
    503: Code.OVERLOADED,
    504: Code.GATEWAY_TIMEOUT,
    524: Code.GATEWAY_TIMEOUT,
    529: Code.OVERLOADED,
}


def code_of(status: int, error: Envelope | None) -> Code:
    """The Code of an HTTP status and the error that came with it. A 200 is judged by the error alone."""
    if status == 200 and error and error.status:
        status = error.status
    if error:
        said = f"{error.code} {error.message}".lower()
        for code, words, statuses in _BY_WORDS:
            if code is Code.BAD_REQUEST and status == 429 and _RATE.search(said):
                continue
            if (not statuses or status in statuses) and re.search(words, said):
                return code
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 300 <= status < 400:
        return Code.SETTINGS_INVALID
    return Code.BAD_REQUEST if 400 <= status < 500 else Code.SERVER_ERROR


def classify(status: int, body_text: str, headers: Mapping[str, str]) -> ProviderError:
    """The error a non-2xx answer stands for.

    ``details``: http_status, request_ids, excerpt (scrubbed), retry_after (seconds, when the header is there), and
    maybe_transient=True for a 503 without a channel: worth one slow retry although the code stops a run.
    """
    try:
        error = envelope(json.loads(body_text))
    except (ValueError, RecursionError):
        error = None
    code = code_of(status, error)
    details: dict[str, Any] = {
        "http_status": status,
        "request_ids": request_ids(headers),
        "excerpt": excerpt(body_text),
    }
    if (seconds := retry_after(headers)) is not None:
        details["retry_after"] = seconds
    if code is Code.MODEL_UNAVAILABLE and status == 503:
        details["maybe_transient"] = True
    return ProviderError(code, _sentence(status, code, error, body_text, headers), **details)


def request_ids(headers: Mapping[str, str], key: str = "") -> dict[str, str]:
    """The headers that APIYI's support asks for, lower-case name to value, with ``key`` hidden. Their names vary by
    model."""
    found = {name.lower(): value for name, value in headers.items()}
    return {name: scrub(found[name], key)[:200] for name in REQUEST_ID_HEADERS if found.get(name)}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the ``Retry-After`` header asks for; a date counts from the answer's own ``Date``. Never negative."""
    found = {name.lower(): value.strip() for name, value in headers.items()}
    value = found.get("retry-after", "")
    if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value):
        return float(value)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(found.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())


def _sentence(status: int, code: Code, error: Envelope | None, body_text: str, headers: Mapping[str, str]) -> str:
    if 300 <= status < 400:
        target = next((value for name, value in headers.items() if name.lower() == "location"), "nowhere")
        return f"the API's address redirects (HTTP {status}) to {says(target)}; set PACKSHOT_APIYI_BASE_URL to the API"
    if code is Code.SETTINGS_INVALID:
        answer = f" ({says(error.message)})" if error and error.message else ""
        return (
            f"the API has no such endpoint (HTTP {status}){answer}: "
            "check PACKSHOT_APIYI_BASE_URL and PACKSHOT_APIYI_FORMAT"
        )
    if error and (error.message or error.code):
        return f"HTTP {status}, {says(': '.join(part for part in (error.code, error.message) if part))}"
    text = says(body_text)
    if not text:
        return f"HTTP {status} with an empty body"
    return f"HTTP {status} with a web page" if text.startswith("<") else f"HTTP {status}: {text}"
