"""How far an image came, and what the call for it cost: what a task reports of its work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from packshot.apiyi import Answer
from packshot.db.noteworthy import Picture
from packshot.db.types import JobState
from packshot.errors import Billed, Code, PackshotError


@dataclass(frozen=True, slots=True)
class Call:
    """A paid call, for whoever follows it up with the provider. ``str()`` of it fits into a line of a log."""

    billed: Billed
    price_micro: int
    seconds: float | None
    request_ids: Mapping[str, str]

    @classmethod
    def of(cls, result: Answer | PackshotError, price_micro: int) -> Self:
        if isinstance(result, Answer):
            return cls(Billed.YES, price_micro, result.seconds, result.request_ids)
        details = result.details
        return cls(result.code.billed, price_micro, details.get("seconds"), details.get("request_ids") or {})

    def __str__(self) -> str:
        price = f"${self.price_micro / 1e6:.2f}"
        cost = {Billed.YES: price, Billed.NO: "not billed", Billed.UNKNOWN: f"perhaps {price}"}[self.billed]
        ids: dict[str, str] = {}
        for name, value in self.request_ids.items():
            ids.setdefault(value, f"{name} {value}")  # the same id may come under several names
        return ", ".join([*([] if self.seconds is None else [f"{self.seconds:.1f} s"]), cost, *ids.values()])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a job came this time. ``retry_in``: seconds until it should be taken up again in this run. ``call``: the
    one that was made for it now. ``picture``: what is to be told of an image that was made in this run."""

    job_id: int
    state: JobState
    code: Code | None = None
    message: str = ""
    url: str = ""
    retry_in: float | None = None
    call: Call | None = None
    picture: Picture | None = None
