"""What the emulator received, for tests to look at: everything but the key and the image data."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

LIMIT = 20_000
"""Requests remembered; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request the emulator received. Header names are lower case; the key's value is hidden.

    ``body`` is the parsed JSON, with image data replaced by ``{"sha256": ..., "length": ...}`` of its decoded bytes;
    None when there was none.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: datetime

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"at": self.at.isoformat()}


def without_image_data(value: Any) -> Any:
    """The same JSON with ``data`` of inline images replaced by hash and length."""
    if isinstance(value, list):
        return [without_image_data(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _fingerprint(item) if name == "data" and isinstance(item, str) else without_image_data(item)
        for name, item in value.items()
    }


def _fingerprint(text: str) -> dict[str, Any]:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = text.encode()
    return {"sha256": hashlib.sha256(data).hexdigest(), "length": len(data)}


def receive(method: str, path: str, headers: Mapping[str, str], raw: bytes) -> Received:
    """Make the record of one request. A body that is not JSON is kept as hash and length."""
    try:
        body = without_image_data(json.loads(raw)) if raw else None
    except ValueError:
        body = {"sha256": hashlib.sha256(raw).hexdigest(), "length": len(raw)}
    kept = {name.lower(): value for name, value in headers.items()}
    if "authorization" in kept:
        kept["authorization"] = "(hidden)"
    return Received(method, path, kept, body, datetime.now(UTC))
