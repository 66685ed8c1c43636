"""Everything that can go wrong on demand: the names, what each does, its parameters, and the deck they are drawn from.

Every fault also takes ``billed`` (true or false, instead of what the provider usually does) and ``latency`` (seconds,
instead of the emulator's).
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault does, whether the call is charged all the same, and its parameters with their defaults."""

    text: str
    billed: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)


def _refused(text: str, **parameters: Any) -> Kind:
    return Kind(text, False, parameters)


def _paid(text: str, **parameters: Any) -> Kind:
    return Kind(text, True, parameters)


FAULTS: Mapping[str, Kind] = {
    "none": _paid("no fault: an ordinary image, to space faults out in the queue"),
    # --- the gateway refuses; small body with Content-Length --------------------------------------------------
    "rate_limited": _refused("429; retry_after > 0 adds that header, which the provider does not send", retry_after=0),
    "overloaded": _refused("503, overloaded"),
    "no_channel": _refused("503, no channel for this model, message in Chinese, no code"),
    "model_not_found": _refused("503, code model_not_found"),
    "bad_gateway": _refused("502 with an empty body"),
    "gateway_timeout": _paid("504; the generation runs on and is charged"),
    "cdn_timeout": _paid("524 with an HTML page; the generation runs on and is charged"),
    "server_error": _refused("500 with an empty message"),
    "write_failed": _refused("500 write_response_body_failed; not charged, but in the log"),
    "bad_key": _refused("401"),
    "balance_empty": _refused("403 insufficient_user_quota"),
    "bad_request": _refused("400 in the gateway's envelope"),
    "moderation_blocked": _refused("400 moderation_blocked"),
    "google_error": _refused("400 in Google's own envelope"),
    # --- 200 without an image (images format: an empty data list) ---------------------------------------------
    "image_safety": _paid("finishReason IMAGE_SAFETY"),
    "prohibited": _paid("finishReason PROHIBITED_CONTENT"),
    "no_image": _paid("finishReason NO_IMAGE"),
    "text_refusal": _paid("finishReason STOP and a text instead of an image"),
    "candidates_null": _paid("candidates: null"),
    "prompt_blocked": _paid("promptFeedback.blockReason, no candidates"),
    "empty_data": _paid("data: [] (gemini: candidates: [])"),
    "empty_200": _paid("200 without a body"),
    "html_page": _paid("200 with an HTML page"),
    # --- 200 with an image, in an unusual shape ---------------------------------------------------------------
    "many_images": _paid("several images in one answer: drafts, then the final one", count=3),
    "text_then_image": _paid("a text part before the image (gemini)"),
    "image_then_text": _paid("a text part after the image (gemini)"),
    "snake_case": _paid("inline_data and mime_type instead of camelCase (gemini, base64)"),
    "data_prefix": _paid("base64 with a data: URL prefix"),
    "wrong_size": _paid("the 1K pixels of the ratio, whatever was ordered"),
    "white_artefacts": _paid("a white background with black spots and dirty patches"),
    "big_body": _paid("an answer (or, with a URL, an image) of about `size` bytes", size=30_000_000),
    "group_failover": _paid("an ordinary image from the enterprise group, at 1.4 times the price", factor=1.4),
    # --- the line misbehaves ----------------------------------------------------------------------------------
    "tail_stall": _paid("the whole answer, no end, open until the client closes"),
    "tail_stall_fin": _paid("the whole answer, no end, closed after `seconds`", seconds=300.0),
    "tail_stall_cut": _paid("a `fraction` of the answer, then silence until the client closes", fraction=0.6),
    "truncated_json": _paid("a `fraction` of the answer, properly ended", fraction=0.6),
    "reset_mid_body": _paid("a `fraction` of the answer, then a TCP reset", fraction=0.6),
    "late_terminator": _paid("the whole answer, its end `seconds` later", seconds=30.0),
    "slow_body": _paid("the answer in 20 pieces over `seconds`", seconds=30.0),
    "disconnect": _paid("the connection closes without an answer; charged like any client that is gone"),
    "hang": _paid("not a byte until the client leaves"),
    # --- the temporary URL misbehaves; downloads > 0 limits it to the first so many ---------------------------
    "url_expired": _paid("a URL that expired `seconds` ago", seconds=60.0),
    "url_html": _paid("the URL answers 200 with an HTML page", downloads=0),
    "url_truncated": _paid("the full Content-Length, a `fraction` of the bytes", fraction=0.6, downloads=0),
    "url_cut": _paid("a `fraction` of the image, Content-Length to match", fraction=0.6, downloads=0),
    "url_slow": _paid("the image in 20 pieces over `seconds`", seconds=30.0, downloads=0),
    "url_500": _paid("the URL answers 500", downloads=0),
    "url_redirect_private": _paid("302 to `location`", location="http://10.0.0.1/", downloads=0),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault drawn for one request, its parameters complete."""

    name: str
    billed: bool
    latency: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, name: str, **parameters: Any) -> Fault:
        """Check name and parameters.

        Raises:
            ValueError: unknown name or parameter; says what is allowed.
            TypeError: a value of the wrong type.
        """
        if name not in FAULTS:
            raise ValueError(f"unknown fault {name!r}; known: {', '.join(sorted(FAULTS))}")
        kind = FAULTS[name]
        billed = parameters.pop("billed", kind.billed)
        latency = parameters.pop("latency", None)
        if not isinstance(billed, bool):
            raise TypeError(f"fault {name}: billed is true or false, not {billed!r}")
        for key, value in parameters.items():
            if key not in kind.parameters:
                allowed = ", ".join(["billed", "latency", *kind.parameters])
                raise ValueError(f"fault {name} has no parameter {key!r}; allowed: {allowed}")
            expected = (str,) if isinstance(kind.parameters[key], str) else (int, float)
            if not isinstance(value, expected) or isinstance(value, bool):
                raise TypeError(f"fault {name}: {key} is a {expected[0].__name__}, not {value!r}")
        return cls(name, billed, latency, {**kind.parameters, **parameters})

    def number(self, key: str) -> float:
        return float(self.parameters[key])


NO_FAULT = Fault.make("none")


class Deck:
    """Which fault the next request gets: the queue first, then chance by shares. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[Fault] = deque()
        self._shares: dict[str, float] = {}
        self._random = random.Random(0)  # noqa: S311 - reproducible faults, not secrets

    def queue(self, name: str, times: int = 1, **parameters: Any) -> None:
        fault = Fault.make(name, **parameters)
        if times < 1:
            raise ValueError(f"times is at least 1, not {times}")
        with self._lock:
            self._queue.extend([fault] * times)

    def mix(self, shares: Mapping[str, float], seed: int = 0) -> None:
        """Draw faults at random by share of the requests; an empty mapping ends it.

        Raises:
            ValueError: unknown fault, negative share, or shares above 1 together.
        """
        for name, share in shares.items():
            Fault.make(name)
            if share < 0:
                raise ValueError(f"the share of {name} is negative: {share}")
        if sum(shares.values()) > 1 + 1e-9:
            raise ValueError(f"the shares add up to {sum(shares.values()):g}; at most 1 is possible")
        with self._lock:
            self._shares = dict(shares)
            self._random = random.Random(seed)  # noqa: S311 - reproducible faults, not secrets

    def draw(self) -> Fault:
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            if not self._shares:
                return NO_FAULT
            point = self._random.random()
            for name, share in self._shares.items():
                point -= share
                if point < 0:
                    return Fault.make(name)
            return NO_FAULT

    def __len__(self) -> int:
        with self._lock:
            return len(self._queue)
