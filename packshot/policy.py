"""What to do after a failure: pure decisions from the error's own facts and the job's past."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from packshot.errors import Billed, Code, PackshotError
from packshot.settings import Settings


class Verdict(StrEnum):
    """``retry``: after ``Decision.delay`` seconds. ``stop``: the job stays as it is, because the run ends."""

    RETRY = "retry"
    FAIL = "fail"
    HOLD = "hold"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the job, and whether the run ends."""

    verdict: Verdict
    delay: float = 0.0
    stops_run: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """The job's settled calls, the one just failed included. Only ``tries`` is of this run, the rest of all time."""

    tries: int = 1
    unknown: int = 0
    refused: int = 0
    no_image: int = 0


def after_call(error: PackshotError, past: Past, settings: Settings, jitter: float = 0.0) -> Decision:
    """Decide about a job whose call brought no image. ``jitter`` in 0..1 stretches the wait by up to half.

    Not billed: again, up to ``max_tries`` calls a run; then it failed, and the next run tries again.
    Billed or unknown: by policy, at most one more purchase in the job's life; then a person decides.
    """
    code = error.code
    if code.stops_run and not (error.details.get("maybe_transient") and past.tries == 1):
        # What was billed is not bought once more by the next run without a person having looked.
        return Decision(Verdict.STOP if code.billed is Billed.NO else Verdict.HOLD, stops_run=True)
    again = Decision(Verdict.RETRY, _delay(error, past.tries, settings, jitter))
    if code.billed is Billed.NO:
        transient = code.retryable or code.stops_run
        return again if transient and past.tries < settings.max_tries else Decision(Verdict.FAIL)
    bought_again = {
        Code.REFUSED_SAFETY: settings.on_refusal == "retry" and past.refused <= 1,
        Code.NO_IMAGE: settings.on_no_image == "retry" and past.no_image <= 1,
    }
    unknown = code.billed is Billed.UNKNOWN and code.retryable and settings.on_unknown == "retry" and past.unknown <= 1
    if (unknown or bought_again.get(code, False)) and past.tries < settings.max_tries:
        return again
    return Decision(Verdict.HOLD)


def after_archive(error: PackshotError, tries: int, settings: Settings, jitter: float = 0.0) -> Decision:
    """Decide about an image that was received but not archived yet; ``tries`` counts this run's failures.

    Nothing is ever bought here. ``fail`` means only that this run gives up: the image stays received.
    """
    if error.code.stops_run:
        return Decision(Verdict.STOP, stops_run=True)
    if error.code is Code.URL_EXPIRED:
        return Decision(Verdict.HOLD)
    if error.code.retryable and tries < settings.max_archive_tries:
        return Decision(Verdict.RETRY, _delay(error, tries, settings, jitter))
    return Decision(Verdict.FAIL)


def _delay(error: PackshotError, tries: int, settings: Settings, jitter: float) -> float:
    steps = settings.backoff
    delay = settings.backoff_bad_gateway if error.code is Code.BAD_GATEWAY else steps[min(tries, len(steps)) - 1]
    return max(delay * (1 + jitter / 2), float(error.details.get("retry_after") or 0))
