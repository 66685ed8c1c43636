"""One image's way: claim, call, archive. The thin place where everything that costs money or bandwidth happens."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

from packshot.apiyi import Answer, ApiyiClient, ImageRequest, pixels
from packshot.apiyi.spool import remove
from packshot.archive import Archived, Destination, archive_image
from packshot.catalog.model import product_name
from packshot.db.ledger import Ledger
from packshot.db.moves import Claim, IllegalMove, Stored
from packshot.db.noteworthy import picture_of
from packshot.db.runs import Runs
from packshot.db.tables import Generation, ImageJob, Run
from packshot.db.types import JobState
from packshot.download import DownloadPolicy
from packshot.errors import ArchiveError, Code, PackshotError, ProviderError
from packshot.outcome import Call, Outcome
from packshot.photo_shelf import PhotoShelf
from packshot.policy import Decision, Verdict, after_archive, after_call
from packshot.pulse import pulse_of
from packshot.recovery import received_of
from packshot.references import ReferenceStore
from packshot.run import open_ledger
from packshot.settings import Settings
from packshot.slots import CallSlots
from packshot.standing import Pace, Standing, standing_of
from packshot.stopping import SWITCH
from packshot.stopwatch import Step, Stopwatch
from packshot.storage import ObjectStore
from packshot.throttle import Throttle
from packshot.timekeeper import Timekeeper
from packshot.window import Room
from packshot.worker import claim_of_file, life_of

logger = logging.getLogger(__name__)

RETRIES_LAST = timedelta(hours=1)  # of an image that cannot be archived, at most, with the usual settings
ARCHIVES_AT_ONCE = 8  # images brought home at the same time; each may hold its bytes and its pixels in memory


class _Overtaken(Exception):
    """The job was taken out of our hands before a call went out, by an answer to an earlier one, as a rule."""


@contextmanager
def _overtaken() -> Iterator[None]:
    try:
        yield
    except IllegalMove as error:
        raise _Overtaken from error


class Studio:
    """What it takes to make images in this process: one ledger, client and store, and ``concurrency`` calls at once.

    A call slot is held for the call alone, never while an image is downloaded, stored or written down. Shared by all
    threads of a run. Without a run it buys nothing, and brings home what was bought.
    """

    def __init__(self, settings: Settings, run_id: int | None = None, concurrency: int = 1) -> None:
        self.settings = settings
        self.run_id = run_id
        self.concurrency = concurrency
        # Some bring images home while others call; when all calls end at the same moment, spare ones take their slots.
        self.room = Room(concurrency + ARCHIVES_AT_ONCE, spare=concurrency)
        self.ledger: Ledger = open_ledger(settings)
        self.runs = Runs(self.ledger)
        self.store = ObjectStore(settings)
        self.client = ApiyiClient(settings)
        self.thumbnails: dict[str, bytes | None] = {}  # by the object's key: the first of the run's contact sheet
        self.policy = DownloadPolicy.from_settings(settings)
        self.photos = ReferenceStore(settings.home, self.policy, settings.max_pixels, PhotoShelf.of(settings))
        self.pulse = pulse_of(self.ledger.engine)
        self._stop_reason: tuple[Code, str] | None = None
        self._pace: Pace | None = None
        self._throttle = Throttle(concurrency, settings)
        self._slots = CallSlots(self._throttle, lambda: self.stopped)
        self.watch = Stopwatch(concurrency, lambda: self._throttle.holds_back)
        self.timekeeper = Timekeeper(self.ledger, run_id, self.watch)
        self.ledger.timing = partial(self.watch.of, Step.DATABASE)
        self._archivers = threading.BoundedSemaphore(ARCHIVES_AT_ONCE)
        self._jitter: Callable[[], float] = random.Random().random  # noqa: S311  (spreads retries, keeps no secret)
        settings.spool.mkdir(parents=True, exist_ok=True)

    @property
    def stop_reason(self) -> tuple[Code, str] | None:
        """Why no new call goes out; None while all is well."""
        if self._stop_reason is None:
            hopeless = self._throttle.hopeless
            asked = self.run_id in self.pulse.stop_requested
            self._stop_reason = (
                SWITCH.reason
                or ((hopeless.code, hopeless.message) if hopeless else None)
                or ((Code.STOP_REQUESTED, "stopped on request") if asked else None)
            )
        return self._stop_reason

    def stop(self, code: Code, message: str) -> None:
        """No new call from here on; what is in the air comes home. The first reason stays."""
        self._stop_reason = self.stop_reason or (code, message)

    @property
    def stopped(self) -> bool:
        """True once something made the rest of the run hopeless, or somebody asked it to end."""
        return self.stop_reason is not None

    def standing(self) -> Standing:
        """How the run stands, whoever works on it. Its pace is measured from the first time this is asked."""
        assert self.run_id is not None
        states = self.runs.progress(self.run_id)
        spent = self.ledger.read(lambda session: session.get_one(Run, self.run_id).spent_micro)
        now = time.monotonic()
        standing = standing_of(states, spent, self._pace, now, self._throttle.held_for)
        self._pace = self._pace or Pace(standing.done, now, self.concurrency)
        return standing

    def make(self, job_id: int) -> Outcome:
        """Bring one job as far as it goes. Safe to call at any moment, again and from anywhere."""
        with self.watch.of(Step.IMAGE):
            try:
                return self._make(job_id, received_only=self.stopped or self.run_id is None)
            except _Overtaken:
                return self._make(job_id, received_only=True)

    def _make(self, job_id: int, received_only: bool) -> Outcome:
        claim = self.ledger.claim(job_id, self.run_id, received_only=received_only)
        if claim is None:
            return Outcome(job_id, self.ledger.state(job_id))
        if claim.generation:
            return self._archive(claim)
        try:
            request = self._request(claim.job)
        except ArchiveError as error:  # the disk is full
            self._release(claim)
            return self._stop(claim.job_id, error)
        with self.watch.of(Step.SLOT) as waiting, self._slots.take() as slot:
            waiting.then(Step.TAKEN)
            if slot is None or self.stopped:
                self._release(claim)
                return Outcome(job_id, JobState.PLANNED)
            attempt, result = self._call(claim, request)
            if attempt is not None:
                slot.ended(result if isinstance(result, PackshotError) else None)
            if isinstance(result, PackshotError) and result.code.stops_run:
                return self._failed(claim, attempt, result)  # before the slot is free: no other call may follow
        if isinstance(result, PackshotError):
            return self._failed(claim, attempt, result)
        assert attempt is not None
        outcome = self._archive(self.ledger.received(claim, attempt, received_of(result)), self.run_id)
        return replace(outcome, call=self._paid(claim, result))

    # --- the paid part ----------------------------------------------------------------------------------------
    def _call(self, claim: Claim, request: ImageRequest) -> tuple[int | None, Answer | PackshotError]:
        """Commit the attempt, then make the call. Returns (attempt id, what came of it)."""
        job = claim.job
        assert self.run_id is not None
        try:
            price = self.settings.price_micro(job.model)
        except PackshotError as error:
            self._release(claim)
            return None, error
        try:
            with _overtaken():
                attempt = self.ledger.begin(
                    claim, self.run_id, price, self.settings.apiyi_format, self._slots.taken,
                    self.settings.day_limit_micro,
                )  # fmt: skip
        except PackshotError as error:  # the budget is used up; the ledger has taken the claim back
            return None, error
        self._slots.sent()
        try:
            with self.watch.of(Step.CALL):
                return attempt, self.client.generate(request, self.settings.spool, claim.spool_name)
        except PackshotError as error:
            return attempt, error
        except Exception as error:
            # Whatever it was, the call may have been billed: it must be settled. And its answer may be here.
            logger.exception("a call ended unexpectedly; its answer is looked for in the spool")
            with suppress(Exception):
                found = self.client.adopt(self.settings.spool, claim.spool_name)
                if isinstance(found, Answer):
                    return attempt, found
            return attempt, ProviderError(Code.UNEXPECTED, f"{type(error).__name__} in the client")

    def _release(self, claim: Claim) -> None:
        with _overtaken():
            self.ledger.release(claim)

    def _failed(self, claim: Claim, attempt: int | None, error: PackshotError) -> Outcome:
        if attempt is None:
            return self._stop(claim.job_id, error)
        if error.code is Code.RATE_LIMITED:
            self.watch.count("rate_limited")
        decision = self.ledger.not_received(
            claim, attempt, error, lambda past: after_call(error, past, self.settings, self._jitter())
        )
        return replace(self._outcome(claim.job_id, error, decision), call=self._paid(claim, error))

    def _paid(self, claim: Claim, result: Answer | PackshotError) -> Call:
        return Call.of(result, self.settings.price_micro(claim.job.model))

    # --- the free part ----------------------------------------------------------------------------------------
    def _archive(self, claim: Claim, run_id: int | None = None) -> Outcome:
        """Bring the image that was paid for to the store; the spool is emptied only after the ledger knows. ``run_id``:
        the run that paid, if it is known here."""
        job, generation = claim.job, claim.generation
        assert generation is not None
        ordered = pixels(job.aspect_ratio, job.image_size)
        try:
            with self.watch.of(Step.ARCHIVER) as waiting, self._archivers:
                self._slots.calls_first()
                waiting.end()
                archived = self._bring_home(claim, ordered)
        except Exception as error:  # noqa: BLE001  (the claim must be given back, whatever happened)
            problem = (
                error
                if isinstance(error, PackshotError)
                else ArchiveError(Code.ARCHIVE_FAILED, f"{type(error).__name__}: {error}")
            )

            def decide(tries: int) -> Decision:
                if problem.code is Code.SPOOL_MISSING and self._is_at_home_elsewhere(generation):
                    return Decision(Verdict.FAIL)
                return after_archive(problem, tries, self.settings, self._jitter(), in_spool=not generation.url)

            decision = self.ledger.not_archived(claim, problem, decide)
            return self._outcome(claim.job_id, problem, decision)
        wrong_size = not archived.size_ok and self.settings.on_wrong_size == "hold"
        message = (
            "" if archived.size_ok else f"ordered {ordered[0]}x{ordered[1]}, got {archived.width}x{archived.height}"
        )
        stored = _stored(archived)
        asset_id = self.ledger.archived(
            claim, stored, hold_for=Code.WRONG_SIZE if wrong_size else None, message=message
        )
        self.watch.count("images")
        remove(self.settings.spool, generation.spool_name)
        url = self.store.public_url(archived.key)
        if wrong_size:
            return Outcome(claim.job_id, JobState.HELD, Code.WRONG_SIZE, message, url)
        picture = picture_of(claim, asset_id, stored, run_id) if run_id else None
        return Outcome(claim.job_id, JobState.ARCHIVED, message=message, url=url, picture=picture)

    def _is_at_home_elsewhere(self, generation: Generation) -> bool:
        """Is another process perhaps about to archive it, with a spool of its own? It lets go of the job between two
        tries."""
        caller = claim_of_file(generation.spool_name)
        young = self.ledger.now() - generation.created_at < RETRIES_LAST
        return young and life_of(caller) != "dead" and not caller.startswith(f"{self.ledger.worker}:")

    def _bring_home(self, claim: Claim, ordered: tuple[int, int]) -> Archived:
        job, product, generation = claim.job, claim.product, claim.generation
        assert generation is not None
        name = product_name(product.product_key, product.variant_key)
        path = self.settings.spool / f"{generation.spool_name}.img"
        if not generation.url and not path.exists():
            raise ArchiveError(Code.SPOOL_MISSING, f"{path} is not on this machine")
        return archive_image(
            generation.url or path,
            ordered,
            Destination(product.catalog, name, job.shot),
            {"job": job.key, "shot": job.shot, "product": name, "model": job.model},
            store=self.store,
            policy=self.policy,
            max_pixels=self.settings.max_pixels,
            spool=self.settings.spool,
            expires_at=generation.expires_at,
            timing=self.watch.of,
        )

    # --- the parts --------------------------------------------------------------------------------------------
    def _request(self, job: ImageJob) -> ImageRequest:
        """With the photos on this machine's disk: another one may have planned the run."""
        photos = tuple((self.photos.have(photo["sha256"]), photo["mime"]) for photo in job.reference_photos)
        return ImageRequest(job.prompt, job.model, job.aspect_ratio, job.image_size, photos)

    def _outcome(self, job_id: int, error: PackshotError, decision: Decision) -> Outcome:
        if decision.stops_run:
            return self._stop(job_id, error)
        retry_in = decision.delay if decision.verdict is Verdict.RETRY else None
        return Outcome(job_id, self.ledger.state(job_id), error.code, error.message, retry_in=retry_in)

    def _stop(self, job_id: int, error: PackshotError) -> Outcome:
        self.stop(error.code, error.message)
        return Outcome(job_id, self.ledger.state(job_id), error.code, error.message)


def _stored(archived: Archived) -> Stored:
    return Stored(
        bucket=archived.bucket,
        key=archived.key,
        sha256=archived.sha256,
        bytes=archived.bytes,
        mime=archived.mime,
        width=archived.width,
        height=archived.height,
        size_as_ordered=archived.size_ok,
    )
