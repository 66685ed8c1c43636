"""How long the emulator's generations take."""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from ``low`` to ``high``, each as likely as the other. With a ``spread`` above 0 they are log-normal
    around the middle of the two, as a busy model's are: most come a little sooner, a few take several times as long.
    ``spread`` is the standard deviation of the logarithm; 0.4 puts one call in a hundred above 2.3 times the mean.
    """

    low: float
    high: float
    spread: float = 0.0

    @classmethod
    def of(cls, seconds: Any, spread: Any = 0.0) -> Self:
        """From one number of seconds, or a pair (low, high).

        Raises:
            ValueError, TypeError: no such numbers.
        """
        low, high = seconds if isinstance(seconds, (tuple, list)) else (seconds, seconds)
        if not 0 <= float(low) <= float(high):
            raise ValueError(f"latency {seconds!r}: seconds, or a pair (low, high) with 0 <= low <= high")
        if not 0 <= float(spread) <= 2:
            raise ValueError(f"spread {spread!r}: a number from 0 to 2")
        return cls(float(low), float(high), float(spread))

    def draw(self, chance: random.Random) -> float:
        """The seconds of one generation."""
        mean = (self.low + self.high) / 2
        if not self.spread or not mean:
            return chance.uniform(self.low, self.high)
        return chance.lognormvariate(math.log(mean) - self.spread**2 / 2, self.spread)


class Draws:
    """One latency after the other, the same ones in the same order for the same seed. Thread-safe."""

    def __init__(self, latency: Latency, seed: int) -> None:
        self.latency = latency
        self._chance = random.Random(seed)  # noqa: S311 - reproducible waits, not secrets
        self._lock = threading.Lock()

    def next(self) -> float:
        with self._lock:
            return self.latency.draw(self._chance)
