"""What images are going to take, calls that fail included: learned from the ledger's own history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Engine, Float, bindparam, cast, func, select
from sqlmodel import Session, col

from packshot.db.tables import Attempt, DailySpend
from packshot.settings import Settings

NO_CATEGORY = "(none)"
REMEMBERED = 1000  # calls of a model, the latest: a provider's bad week is over some time


@dataclass(frozen=True, slots=True)
class Rate:
    """What ``images`` wanted images took of one model, those that were never made included.

    ``purchases`` are the booked costs in prices of a call. They are above the bill as long as calls of unknown outcome
    are booked that the provider did not charge: reconciling the ledger corrects that.
    """

    images: int = 0
    calls: int = 0
    purchases: float = 0.0

    @property
    def calls_per_image(self) -> float:
        """1 as long as there is no history."""
        return self.calls / self.images if self.images else 1.0

    @property
    def purchases_per_image(self) -> float:
        """1 as long as there is no history."""
        return self.purchases / self.images if self.images else 1.0

    def sentence(self, model: str) -> str:
        if not self.images:
            return f"{model}: no history yet, so one call for each image is expected"
        return (
            f"{model}: {self.images} images so far took {self.calls_per_image:.2f} calls each, and cost "
            f"{self.purchases_per_image:.2f} times the price of a call"
        )

    def facts(self) -> dict[str, float]:
        return asdict(self) | {
            "calls_per_image": self.calls_per_image, "purchases_per_image": self.purchases_per_image,
        }  # fmt: skip


Rates = Mapping[str, Rate]
"""By model; a model that was never used is missing."""
NO_HISTORY = Rate()


class Share(NamedTuple):
    """A part of what is to be made: so many images, and what they are expected to cost."""

    images: int
    expected_micro: float


@dataclass(slots=True)
class Forecast:
    """The images to make, and what they are expected to take. Money is micro-dollars."""

    wanted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Images by shot, category and model."""
    prices: dict[str, int] = field(default_factory=dict)
    """Of one call, by model."""
    rates: Rates = field(default_factory=dict)

    def add(self, shot: str, category: str, model: str, price_micro: int) -> None:
        self.wanted[shot, category or NO_CATEGORY, model] += 1
        self.prices[model] = price_micro

    @property
    def images(self) -> int:
        return self.wanted.total()

    @property
    def plain_micro(self) -> int:
        """If each image takes one call."""
        return sum(number * self.prices[model] for (_, _, model), number in self.wanted.items())

    @property
    def expected_micro(self) -> int:
        """With as many billed failures as there were so far."""
        return round(sum(map(self._cost, self.wanted)))

    @property
    def expected_calls(self) -> int:
        """Those that are not billed included."""
        return round(sum(number * self._rate(model).calls_per_image for (_, _, model), number in self.wanted.items()))

    @property
    def by_shot(self) -> dict[str, Share]:
        """Dearest first."""
        return self._grouped(0)

    @property
    def by_category(self) -> dict[str, Share]:
        """Dearest first; products without a category are under ``(none)``."""
        return self._grouped(1)

    @property
    def reasons(self) -> list[str]:
        """For each model to be used, one sentence: what the expectation is founded on."""
        return [self._rate(model).sentence(model) for model in sorted(self.prices)]

    def facts(self) -> dict[str, Any]:
        """As plain values; dollars instead of micro-dollars."""
        return {
            "expected_calls": self.expected_calls,
            "expected_cost_usd": self.expected_micro / 1e6,
            "by_shot": {name: _facts(share) for name, share in self.by_shot.items()},
            "by_category": {name: _facts(share) for name, share in self.by_category.items()},
            "history": {model: self._rate(model).facts() for model in sorted(self.prices)},
        }

    def _rate(self, model: str) -> Rate:
        return self.rates.get(model, NO_HISTORY)

    def _cost(self, key: tuple[str, str, str]) -> float:
        model = key[2]
        return self.wanted[key] * self.prices[model] * self._rate(model).purchases_per_image

    def _grouped(self, by: int) -> dict[str, Share]:
        shares: dict[str, Share] = {}
        for key, number in self.wanted.items():
            images, cost = shares.get(key[by], (0, 0.0))
            shares[key[by]] = Share(images + number, cost + self._cost(key))
        return dict(sorted(shares.items(), key=lambda named: (-named[1].expected_micro, named[0])))


def _facts(share: Share) -> dict[str, float]:
    return {"images": share.images, "expected_usd": round(share.expected_micro / 1e6, 6)}


def observed_rates(engine: Engine, models: Iterable[str]) -> dict[str, Rate]:
    """What the ``REMEMBERED`` settled calls of each of these models that began last brought and cost."""
    latest = (
        select(
            col(Attempt.job_id),
            (cast(col(Attempt.cost_micro), Float) / func.nullif(col(Attempt.price_micro), 0)).label("purchases"),
        )
        .where(col(Attempt.model) == bindparam("of_model"), col(Attempt.settled_at).is_not(None))
        .order_by(col(Attempt.started_at).desc())
        .limit(REMEMBERED)
        .subquery()
    )
    query = select(
        func.count(latest.c.job_id.distinct()), func.count(), func.coalesce(func.sum(latest.c.purchases), 0.0)
    )
    with Session(engine) as session:
        # Model by model: each is a short walk from the end of the index, where all at once would sort every call.
        rates = {model: Rate(*session.execute(query, {"of_model": model}).one()) for model in models}
    return {model: rate for model, rate in rates.items() if rate.calls}


def spent_on(engine: Engine, day: date) -> int:
    """Micro-dollars that all runs together have spent on this day (UTC)."""
    with Session(engine) as session:
        return session.scalar(select(col(DailySpend.spent_micro)).where(col(DailySpend.day) == day)) or 0


def limit_notes(
    expected_micro: int, run_limit_micro: int | None, spent_today_micro: int, settings: Settings
) -> list[str]:
    """One sentence for each maximum that the expected cost would go beyond. Pure."""
    notes = []
    cost = f"the expected cost of ${expected_micro / 1e6:.2f} is more than"
    if run_limit_micro is not None and expected_micro > run_limit_micro:
        notes.append(f"{cost} the ${run_limit_micro / 1e6:.2f} that a run may spend: it will stop there")
    if settings.max_cost_usd_per_day is not None:
        left_micro = max(0, int(settings.max_cost_usd_per_day * 1_000_000) - spent_today_micro)
        if expected_micro > left_micro:
            notes.append(
                f"{cost} the ${left_micro / 1e6:.2f} left of the ${settings.max_cost_usd_per_day:.2f} that all runs "
                "may spend on a day (UTC): a run today will stop there"
            )
    return notes
