"""The account behind the key: what is left of the balance, and the provider's own log of what it charged.

Read with the system token, which is not the key of the image calls and goes over the line without ``Bearer``. Facts:
docs.apiyi.com, pages on the balance and on the log, 2026. 500,000 of the account's unit, the quota, make a dollar.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from types import TracebackType
from typing import Any, Self

import requests
from pydantic import SecretStr
from requests.auth import AuthBase

from packshot import __version__
from packshot.apiyi.classify import classify, envelope
from packshot.apiyi.exchange import root_cause
from packshot.apiyi.line import new_session
from packshot.apiyi.scrub import excerpt, says, scrub
from packshot.errors import Code, ConfigError, ProviderError
from packshot.settings import Settings

QUOTA_PER_DOLLAR = 500_000
PAGE_SIZE = 1000  # the server allows 5,000, and gives itself 60 s for a page
MOST_AT_ONCE = timedelta(days=1)  # of log in one question
BETWEEN_PAGES = 1.0
_TIMEOUT = 75.0  # longer than the server's own limit, so that its answer is heard
_VARIABLE = "PACKSHOT_APIYI_SYSTEM_TOKEN"


@dataclass(frozen=True, slots=True)
class Balance:
    """US dollars."""

    left: Decimal
    used: Decimal


@dataclass(frozen=True, slots=True)
class LogRow:
    """One call in the provider's log: ``cost_micro`` is what it charged. A call that is not there was not billed.

    ``created_at`` has whole seconds; nobody says whether it is the beginning or the end of the call. ``seconds`` is how
    long the call took, where the log says so.
    """

    request_id: str
    created_at: datetime
    model: str
    token_name: str
    token_group: str
    cost_micro: int
    seconds: float | None
    error_code: str


class AccountClient:
    """Reads one account. For one thread. No error of it holds the token, nor refers to an exception that does."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
        """
        Raises:
            ConfigError: the system token is missing, or holds characters that no header can carry.
        """
        token = settings.apiyi_system_token.get_secret_value().strip() if settings.apiyi_system_token else ""
        if not token:
            raise ConfigError(
                Code.SETTINGS_INVALID,
                f"{_VARIABLE} is not set, so the account's balance and log cannot be read. It is the system token of "
                "the account's own page at APIYI, not the sk-... key",
            )
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise ConfigError(
                Code.SETTINGS_INVALID, f"{_VARIABLE} holds a blank, a line break or a letter outside ASCII"
            )
        self._base_url = settings.base_url
        self._timeout = (settings.connect_timeout, _TIMEOUT)
        self._token = SecretStr(token)
        self._sleep = sleep
        self._session = new_session()
        self._session.headers["User-Agent"] = f"packshot/{__version__}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def balance(self) -> Balance:
        """What the account has left, and what it has used so far.

        Raises:
            ProviderError: the API cannot be reached, refuses the token, or answers with something else.
        """
        data = self._data("/api/user/self", {})
        try:
            return Balance(_dollars(data["quota"]), _dollars(data["used_quota"]))
        except (LookupError, TypeError, ValueError):
            raise self._not_understood("the balance is not one", data) from None

    def log_rows(self, since: datetime, until: datetime) -> Iterator[LogRow]:
        """The charged calls from the second of ``since`` to that of ``until``, both included, oldest day first.

        ``until`` must have passed: pages count from the newest row, and new ones would push the others along. A row
        that is entered late all the same makes another one appear twice, which is then given out once.

        Raises:
            ProviderError: as for :meth:`balance`.
        """
        start, end, step = int(since.timestamp()), int(until.timestamp()), int(MOST_AT_ONCE.total_seconds())
        seen: set[str] = set()
        first = True
        while start <= end:
            # Neighbours share a second, because it is nowhere written whether an end belongs to what was asked for.
            last = min(start + step, end)
            for number in count():
                if not first:
                    self._sleep(BETWEEN_PAGES)
                first = False
                page = self._page(number, start, last)
                fresh = [row for row in page if _identity(row) not in seen]
                seen.update(map(_identity, page))
                yield from (self._row(row) for row in fresh)
                # A short page need not be the last one: the server is known to make them smaller than asked for.
                if not fresh:
                    break
            start = last if last < end else end + 1

    def _page(self, number: int, start: int, last: int) -> list[Any]:
        question = {"p": number, "pageSize": PAGE_SIZE, "type": 2, "start_timestamp": start, "end_timestamp": last}
        page = self._data("/api/log/self", question)
        if not isinstance(page, list):
            raise self._not_understood("the log is not a list", page)
        return page

    def _row(self, row: Any) -> LogRow:
        try:
            return LogRow(
                request_id=str(row.get("request_id") or ""),
                created_at=datetime.fromtimestamp(row["created_at"], UTC),
                model=str(row["model_name"]),
                token_name=str(row.get("token_name") or ""),
                token_group=str(row.get("token_group") or ""),
                cost_micro=_quota(row["quota"]) * 1_000_000 // QUOTA_PER_DOLLAR,
                seconds=_seconds(row.get("duration_for_view")),
                error_code=str(row.get("error_code") or ""),
            )
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError, OSError):
            raise self._not_understood("a row of the log is not one", row) from None

    def _data(self, path: str, question: dict[str, int]) -> Any:
        """``data`` of a successful answer."""
        outcome = self._get(path, question)
        # Raised outside of any handler: a `__context__` would carry the request, and the request the token.
        if isinstance(outcome, ProviderError):
            raise outcome
        try:
            answer = json.loads(outcome)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict) and answer.get("success") is True:
            return answer.get("data")
        refusal = envelope(answer)
        if refusal is None:
            raise self._failure(Code.NOT_JSON, f"{path} answers with something else than JSON", outcome)
        raise self._refused(path, refusal.message or refusal.code, outcome)

    def _get(self, path: str, question: dict[str, int]) -> str | ProviderError:
        try:
            response = self._session.get(
                self._base_url + path,
                params=question,
                auth=_RawToken(self._token),
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            code = Code.TIMEOUT if isinstance(error, requests.ReadTimeout) else Code.CONNECT_FAILED
            return self._failure(code, f"{self._base_url}{path} does not answer: {root_cause(error)}")
        if response.status_code == 200:
            return response.text
        if response.status_code in (401, 403):
            return self._refused(path, f"HTTP {response.status_code}", response.text)
        headers = {name: self._scrub(value) for name, value in response.headers.items()}
        return classify(response.status_code, self._scrub(response.text), headers)

    def _refused(self, path: str, why: str, body: str) -> ProviderError:
        return self._failure(Code.SETTINGS_INVALID, f"{path} refuses the system token in {_VARIABLE}: {why}", body)

    def _not_understood(self, what: str, found: Any) -> ProviderError:
        return self._failure(Code.NOT_JSON, what, json.dumps(found))

    def _failure(self, code: Code, message: str, body: str = "") -> ProviderError:
        token = self._token.get_secret_value()
        return ProviderError(code, says(message, token), excerpt=excerpt(body, token))

    def _scrub(self, text: str) -> str:
        return scrub(text, self._token.get_secret_value())


class _RawToken(AuthBase):
    """Sets the token. Handed to each request, so that no ``.netrc`` puts another one in its place."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._token.get_secret_value()
        return request


def _identity(row: Any) -> str:
    """What tells a row of one page apart from those of the others; its request id, where it has one."""
    name = row.get("request_id") if isinstance(row, dict) else None
    return str(name) if name else json.dumps(row, sort_keys=True)


def _quota(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(value)
    return value


def _dollars(value: Any) -> Decimal:
    return Decimal(_quota(value)) / QUOTA_PER_DOLLAR


def _seconds(value: Any) -> float | None:
    """Shown for people, in a form that may change; not needed for the money."""
    try:
        return float(str(value).removesuffix("s"))
    except ValueError:
        return None
