"""After a crash: what dead workers left is settled, and what they had received is brought back into the ledger.

An answer that was written to the spool whole counts as received, whenever its process died. Only a call that was in the
air is lost: it is settled as unknown, its price stays booked, and a policy decides whether to buy again.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from packshot.apiyi import Answer, ApiyiClient
from packshot.apiyi.spool import remove
from packshot.archive import DOWNLOADS
from packshot.db.abandoned import calls_of_files, return_to_received, take_over
from packshot.db.ledger import Ledger
from packshot.db.moves import GIVEN_UP, Claim, IllegalMove, Received
from packshot.db.tables import Attempt
from packshot.db.types import JobState
from packshot.errors import Code, ProviderError
from packshot.policy import Decision, Past, after_call
from packshot.settings import Settings
from packshot.worker import claim_of_file, life_of


@dataclass(slots=True)
class Recovered:
    """What was found. ``unknown_micro`` is booked for calls that nobody can account for."""

    freed: int = 0
    """Claims and received images of dead workers."""
    adopted: int = 0
    """Answers that were in the spool, with the image that was paid for."""
    unknown: int = 0
    unknown_micro: int = 0

    @property
    def headline(self) -> str:
        """One sentence, empty when nothing was found."""
        parts = [f"{self.freed} claims freed"] * bool(self.freed)
        parts += [f"{self.adopted} paid answers found in the spool"] * bool(self.adopted)
        money = f"${self.unknown_micro / 1e6:.2f}"
        parts += [f"{self.unknown} calls of unknown outcome, {money} booked for them"] * bool(self.unknown)
        return f"after a crash: {', '.join(parts)}" if parts else ""


def recover(settings: Settings, ledger: Ledger, given_up: int | None = None) -> Recovered:
    """Settle what dead workers left. Safe at any moment, also twice at once.

    ``given_up``: a run of this very worker that ends now, whatever is still in the air; its calls instead.
    """
    result = Recovered()
    with ApiyiClient(settings) as client:
        abandoned = take_over(ledger, given_up)
        result.freed = sum(n for state, n in abandoned.found.items() if state is not JobState.CALLING)
        for claim, attempt in abandoned.calls:
            outcome = client.adopt(settings.spool, attempt.spool_name)
            _settle(settings, ledger, claim, attempt, outcome, result)
        if given_up is None:
            _sweep(settings, ledger, client, result)
    return result


def received_of(answer: Answer) -> Received:
    """An answer as the ledger keeps it."""
    return Received(
        url=answer.url,
        expires_at=answer.expires_at,
        spool_name=answer.body_path.stem,
        http_status=answer.http_status,
        request_ids=answer.request_ids,
        seconds=answer.seconds,
    )


def _settle(
    settings: Settings,
    ledger: Ledger,
    claim: Claim,
    attempt: Attempt,
    outcome: Answer | ProviderError,
    result: Recovered,
) -> None:
    assert attempt.id is not None

    def decide(past: Past) -> Decision:
        # Nobody waits for this job any more, so a retry may begin at once.
        return replace(after_call(outcome, past, settings), delay=0.0)  # type: ignore[arg-type]

    try:
        if isinstance(outcome, Answer):
            ledger.release(ledger.received(claim, attempt.id, received_of(outcome)))
            result.adopted += 1
            return
        ledger.not_received(claim, attempt.id, outcome, decide)
    except IllegalMove:  # its process lives after all, and has just settled it
        return
    if outcome.code is Code.INTERRUPTED:
        result.unknown += 1
        result.unknown_micro += attempt.price_micro
    # Its files are left to the sweep: a process that gives up a call of its own may still be writing them.


def _sweep(settings: Settings, ledger: Ledger, client: ApiyiClient, result: Recovered) -> None:
    """See to what lies in this machine's spool: answers to calls that another machine gave up, and leftovers."""
    spool = settings.spool
    if not spool.is_dir():
        return
    return_to_received(ledger, lambda name: (spool / f"{name}.img").exists())
    names = sorted({path.stem for path in spool.glob("call-*.*") if not _in_use(path, settings.total_timeout)})
    for name, (attempt, claim, generation) in calls_of_files(ledger, names).items():
        if generation is None and attempt.code in GIVEN_UP:
            outcome = client.adopt(spool, name)
            if isinstance(outcome, Answer):
                try:
                    ledger.release(ledger.received(claim, attempt.id or 0, received_of(outcome)))
                    result.adopted += 1
                    continue
                except IllegalMove:  # another call was made for it meanwhile; until that one is home, keep this
                    if claim.job.state != JobState.ARCHIVED:
                        continue
        done = generation is not None and (generation.archived_at or generation.lost_at)
        if done or (generation is None and attempt.code != Code.ANSWER_NOT_SAVED):
            remove(spool, name)
    for folder in spool.glob(f"{DOWNLOADS}*"):
        if life_of(folder.name.removeprefix(DOWNLOADS).rpartition("-")[0]) == "dead":
            shutil.rmtree(folder, ignore_errors=True)


def _in_use(path: Path, longest_call: float) -> bool:
    """May a living process still write to this file of the spool? Its name says which one; where nobody knows whether
    that lives, a file is left alone until no call can last so long."""
    life = life_of(claim_of_file(path.stem))
    try:
        return life == "alive" or (life == "unknown" and time.time() - path.stat().st_mtime < longest_call)
    except OSError:  # it was removed at this moment
        return True
