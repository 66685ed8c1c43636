from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from packshot.apiyi import ApiyiClient
from packshot.settings import Settings

KEY = "sk-sandbox-key"
QUICK: dict[str, Any] = {
    "apiyi_key": KEY,
    "connect_timeout": 1.0,
    "first_byte_timeout": 5.0,
    "first_byte_timeout_4k": 5.0,
    "silence_timeout": 0.5,
    "stall_grace": 0.15,
    "total_timeout": 10.0,
}


@pytest.fixture(autouse=True)
def _only_loopback_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make_client() -> Iterator[Callable[..., ApiyiClient]]:
    """Clients with short waits, closed at the end: ``make_client(base_url, **settings)``."""
    with ExitStack() as stack:

        def make(base_url: str, **settings: Any) -> ApiyiClient:
            chosen = Settings(_env_file=None, **(QUICK | {"apiyi_base_url": base_url} | settings))
            return stack.enter_context(ApiyiClient(chosen))

        yield make


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """A watch that outlives its call would be a leak of one thread for each image."""
    yield
    deadline = time.monotonic() + 2
    while any(thread.name == "packshot-watch" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a watch outlived its call"
        time.sleep(0.01)
