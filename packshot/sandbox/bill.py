"""The emulator's ledger: what every generation request cost, and what is left of the balance.

Rules (docs.apiyi.com, best practices): money is reserved before a call, charged when the generation is complete, even
if the client has left, and given back when the call was refused. A status 200 without an image is charged.
Money is integer micro-dollars; the account's own unit is the quota, 500,000 to the dollar.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

QUOTA_PER_DOLLAR = 500_000


def quota(micro: int) -> int:
    """Micro-dollars in the account's own unit."""
    return micro * QUOTA_PER_DOLLAR // 1_000_000


@dataclass(frozen=True, slots=True)
class BillRow:
    """One generation request. ``price_micro`` is what was charged: 0 when ``billed`` is false.

    ``outcome`` is ``image``, the name of the fault, or the reason for a refusal. ``http_status`` is 0 when no status
    line was sent. ``seconds`` is how long it took, ``latency`` how long it was meant to.
    """

    request_id: str
    created_at: datetime
    model: str
    price_micro: int
    billed: bool
    outcome: str
    http_status: int
    group: str = "Default"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    latency: float = 0.0

    @property
    def logged(self) -> bool:
        """Does the account's log show it? Refused calls leave no trace; a failed write does, at no cost."""
        return self.billed or self.outcome == "write_failed"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"created_at": self.created_at.isoformat()}

    def as_log_row(self) -> dict[str, Any]:
        """The row as ``GET /api/log/self`` shows it."""
        return {
            "request_id": self.request_id,
            "created_at": int(self.created_at.timestamp()),
            "type": 2,
            "model_name": self.model,
            "token_name": "sandbox",
            "token_group": self.group,
            "quota": quota(self.price_micro),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "duration_for_view": round(self.seconds, 3),
            "error_code": "" if self.billed else "write_response_body_failed",
            "other": json.dumps({"model_fixed_price": self.price_micro / 1_000_000}),
        }


class Ledger:
    """Thread-safe: balance, reservations and rows."""

    def __init__(self, balance_micro: int, opened_at: float = 0) -> None:
        self.opened_at = int(opened_at)
        self._lock = threading.Lock()
        self._rows: list[BillRow] = []
        self._left_micro = balance_micro
        self._used_micro = 0

    def reserve(self, price_micro: int) -> bool:
        """Set the price of one call aside; False when the balance does not cover it."""
        with self._lock:
            if self._left_micro < price_micro:
                return False
            self._left_micro -= price_micro
            return True

    def settle(self, row: BillRow, reserved_micro: int = 0) -> None:
        """Book the outcome of a call and give back what was reserved beyond its price."""
        with self._lock:
            self._rows.append(row)
            self._left_micro += reserved_micro - row.price_micro
            self._used_micro += row.price_micro

    def give_back(self, reserved_micro: int) -> None:
        """End a reservation whose call left no outcome (the emulator was stopped meanwhile)."""
        with self._lock:
            self._left_micro += reserved_micro

    @property
    def rows(self) -> list[BillRow]:
        with self._lock:
            return list(self._rows)

    @property
    def billed_micro(self) -> int:
        with self._lock:
            return self._used_micro

    @property
    def left_micro(self) -> int:
        """Balance minus charges minus open reservations."""
        with self._lock:
            return self._left_micro

    def top_up_row(self) -> dict[str, Any]:
        """The other kind of log row, shown unless ``type=2`` is asked for: no model, no quota."""
        empty = dict.fromkeys(("request_id", "model_name", "token_name", "token_group", "error_code", "other"), "")
        numbers = dict.fromkeys(("quota", "prompt_tokens", "completion_tokens", "duration_for_view"), 0)
        return {**empty, **numbers, "type": 1, "created_at": self.opened_at}

    def logged(self, *, request_id: str = "", since: int = 0, until: int = 0) -> list[BillRow]:
        """Rows of the account's log, newest first; ``since`` and ``until`` are epoch seconds, 0 for no limit."""
        return [
            row
            for row in reversed(self.rows)
            if row.logged
            and (not request_id or row.request_id == request_id)
            and (not since or row.created_at.timestamp() >= since)
            and (not until or row.created_at.timestamp() < until + 1)
        ]
