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


REFUSALS = (Code.REFUSED_SAFETY, Code.REFUSED_PROHIBITED, Code.REFUSED_TEXT, Code.INPUT_BLOCKED)


_NO_PICTURE = (Code.NOT_AN_IMAGE, Code.IMAGE_TRUNCATED)


@dataclass(frozen=True, slots=True)
class Rule:
    """``retries``: how many more calls (or tries to bring an image home) a failure may cause. ``waits``: seconds
    before each of them; the last one repeats."""

    retries: int
    waits: tuple[float, ...]


# docs.apiyi.com: a container that restarts answers 502 and is back within a minute.
_WAITS: dict[Code, tuple[float, ...]] = {Code.BAD_GATEWAY: (30.0,)}


def rule_of(code: Code, settings: Settings) -> Rule:
    """What the settings say of a call that failed so. Where money may have been spent: one retry at most."""
    if code.billed is Billed.NO:
        retries = settings.max_tries - 1 if code.retryable or code.stops_run else 0
    elif code is Code.REFUSED_SAFETY:
        retries = int(settings.on_refusal == "retry")
    elif code is Code.NO_IMAGE:
        retries = int(settings.on_no_image == "retry")
    else:
        retries = int(code.billed is Billed.UNKNOWN and code.retryable and settings.on_unknown == "retry")
    return _overridden(code, Rule(retries, _WAITS.get(code, settings.backoff)), settings)


def archive_rule_of(code: Code, settings: Settings) -> Rule:
    """What the settings say of an image that could not be brought home so."""
    retries = settings.max_archive_tries - 1 if code.retryable else 0
    return _overridden(code, Rule(retries, settings.backoff), settings)


def after_call(error: PackshotError, past: Past, settings: Settings, jitter: float = 0.0) -> Decision:
    """Decide about a job whose call brought no image. ``jitter`` in 0..1 stretches the wait by up to half.

    Not billed: again, as often as its rule says within a run; then it failed, and the next run tries again.
    Billed or unknown: by policy, at most one more purchase in the job's life; then a person decides.
    """
    code = error.code
    if code.stops_run and not (error.details.get("maybe_transient") and past.tries == 1):
        # What was billed is not bought once more by the next run without a person having looked.
        return Decision(Verdict.STOP if code.billed is Billed.NO else Verdict.HOLD, stops_run=True)
    rule = rule_of(code, settings)
    again = Decision(Verdict.RETRY, _delay(error, past.tries, rule, jitter, settings))
    if code.billed is Billed.NO:
        return again if past.tries <= rule.retries else Decision(Verdict.FAIL)
    if past.unknown + past.refused + past.no_image <= rule.retries and past.tries < settings.max_tries:
        return again
    return Decision(Verdict.HOLD)


def after_archive(
    error: PackshotError, tries: int, settings: Settings, jitter: float = 0.0, in_spool: bool = False
) -> Decision:
    """Decide about an image that was received but not archived yet; ``tries`` counts this run's failures. ``in_spool``:
    it came in the answer itself, so another try finds the same bytes.

    ``fail`` means only that this run gives up: the image stays received. One that is lost may be bought anew, once in
    the job's life, if ``on_lost`` says so; then ``tries`` is how many images of the job were lost.
    """
    if error.code.stops_run:
        return Decision(Verdict.STOP, stops_run=True)
    if error.code is Code.LOST and settings.on_lost == "retry" and tries <= 1:
        return Decision(Verdict.RETRY)
    if error.code in (Code.LOST, Code.SPOOL_MISSING) or (in_spool and error.code in _NO_PICTURE):
        return Decision(Verdict.HOLD)
    rule = archive_rule_of(error.code, settings)
    if tries <= rule.retries:
        return Decision(Verdict.RETRY, _delay(error, tries, rule, jitter, settings))
    return Decision(Verdict.FAIL)


def _overridden(code: Code, rule: Rule, settings: Settings) -> Rule:
    wanted = settings.retry.get(code)
    if wanted is None:
        return rule
    return Rule(rule.retries if wanted.retries is None else wanted.retries, wanted.waits or rule.waits)


def _delay(error: PackshotError, tries: int, rule: Rule, jitter: float, settings: Settings) -> float:
    delay = rule.waits[min(tries, len(rule.waits)) - 1]
    asked = float(error.details.get("retry_after") or 0)
    return max(delay * (1 + jitter / 2), min(asked, settings.provider_patience))
