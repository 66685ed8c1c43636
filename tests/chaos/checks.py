"""What must be true after any disaster: ledger, the provider's bill, the bucket and the spool are held against each
other, and each difference is a figure with its reasons.

The ledger is not asked about itself alone: the image API counts the calls by their prompt, :class:`Witness` reads the
answers that lay on the disk when a process died, and the bucket is listed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from packshot.archive import DOWNLOADS
from packshot.db.tables import Asset, Attempt, Generation, ImageJob, Run
from packshot.db.types import JobState, RunState
from packshot.errors import Billed, code_of
from packshot.reconcile import reconcile
from packshot.run_sheet import FOLDER as SHEETS
from packshot.sandbox.emulator import Emulator
from packshot.sandbox.history import LIMIT
from packshot.settings import Settings
from packshot.storage import ObjectStore
from packshot.storage.client import s3_client

RUN_SHEET = re.compile(r"run-[0-9]+-[0-9a-f]{8}\.jpg")


class Witness:
    """Remembers every image whose whole answer lay in the spool when a process ended, by its SHA-256.

    Knows the images format alone: a URL of the emulator, or ``b64_json``.
    """

    def __init__(self, spool: Path, emulator: Emulator) -> None:
        self._spool = spool
        self._emulator = emulator
        self.seen: dict[str, str] = {}
        """SHA-256 of the image -> name of the answer's file."""

    def look(self) -> None:
        """Read what lies in the spool now."""
        for path in sorted(self._spool.glob("*.body")):
            try:
                answer = json.loads(path.read_bytes())
            except (OSError, ValueError):  # gone meanwhile; or not whole
                continue
            for image in self._images(answer):
                self.seen.setdefault(hashlib.sha256(image).hexdigest(), path.name)

    def _images(self, answer: Any) -> Iterator[bytes]:
        for item in answer.get("data") or [] if isinstance(answer, dict) else []:
            if item.get("b64_json"):
                yield base64.b64decode(item["b64_json"].rpartition(",")[2])
            elif item.get("url"):
                file = self._emulator.oss.folder / urlsplit(item["url"]).path.rpartition("/")[2]
                if file.exists():
                    yield file.read_bytes()


@dataclass
class Figures:
    """The state of affairs. ``broken`` says which promises do not hold; empty is what is wanted.

    Money is micro-dollars. ``reasons`` explains every figure that is not as it should be.
    """

    runs: int = 0
    jobs: int = 0
    states: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    """Generation requests that reached the image API."""
    unknown: int = 0
    """Calls of unknown outcome, each at most once bought again."""
    witnessed: int = 0
    """Images whose whole answer lay on the disk when a process ended."""
    received: int = 0
    """Images that the ledger knows as received."""
    lost: int = 0
    """Images of either kind without an asset."""
    duplicates: int = 0
    """Calls that no counted retry explains."""
    assets: int = 0
    assets_without_object: int = 0
    objects_without_row: int = 0
    """Contact sheets left out: they are no assets."""
    contact_sheets: int = 0
    bill: int = 0
    unknown_money: int = 0
    """Ledger minus bill: what calls of unknown outcome are booked with, and were not billed."""
    ledger: int = 0
    """After the calls of unknown outcome were looked up in the provider's log, as ``packshot costs reconcile`` does."""
    unexplained: int = 0
    """That ledger minus the bill."""
    unbalanced_runs: int = 0
    open_runs: int = 0
    open_jobs: int = 0
    leftovers: int = 0
    """Files in the spool of images that are archived, and half downloads."""
    reasons: list[str] = field(default_factory=list)

    BARS = (
        "lost", "duplicates", "assets_without_object", "objects_without_row", "unexplained", "unbalanced_runs",
        "open_runs", "open_jobs", "leftovers",
    )  # fmt: skip

    @property
    def broken(self) -> list[str]:
        return [f"{name} = {getattr(self, name)}, not 0" for name in self.BARS if getattr(self, name)]

    def table(self) -> str:
        """The figures, one a line."""
        states = ", ".join(f"{number} {state}" for state, number in sorted(self.states.items()))
        rows: list[tuple[str, object]] = [
            ("runs", self.runs),
            ("jobs", f"{self.jobs} ({states})"),
            ("calls that reached the image API", self.calls),
            ("calls of unknown outcome", self.unknown),
            ("images seen on the disk at a death", self.witnessed),
            ("images received", self.received),
            ("images received and lost", self.lost),
            ("duplicate purchases beyond the counted retries", self.duplicates),
            ("assets", self.assets),
            ("assets without object", self.assets_without_object),
            ("objects without row", self.objects_without_row),
            ("contact sheets", self.contact_sheets),
            ("bill of the provider, micro-dollars", self.bill),
            ("ledger minus bill, before this reconciling", self.unknown_money),
            ("ledger minus bill, after it", self.unexplained),
            ("runs whose sums are wrong", self.unbalanced_runs),
            ("runs that seem to run", self.open_runs),
            ("jobs that seem to be in work", self.open_jobs),
            ("leftovers in the spool", self.leftovers),
        ]
        return "\n".join(f"{name:<50}{value:>12}" for name, value in rows)


def look_into(settings: Settings, engine: Engine, emulator: Emulator, witness: Witness) -> Figures:
    """Gather all figures, and reconcile the ledger with the provider's log as a person would a day later.

    Nothing may be at work meanwhile: no child, and no call at the image API.
    """
    witness.look()
    figures = Figures()
    with Session(engine) as session:
        jobs = {job.id or 0: job for job in session.exec(select(ImageJob))}
        attempts = list(session.exec(select(Attempt).order_by(col(Attempt.id))))
        assets = list(session.exec(select(Asset)))
        generations = list(session.exec(select(Generation)))
        runs = list(session.exec(select(Run).order_by(col(Run.id))))
    _count_jobs(figures, jobs, runs)
    _find_lost(figures, jobs, assets, generations, witness)
    _find_duplicates(figures, jobs, attempts, emulator)
    _compare_bucket(figures, settings, assets)
    _compare_money(figures, settings, engine, emulator, attempts)
    _find_leftovers(figures, settings.spool, jobs, attempts)
    return figures


def _count_jobs(figures: Figures, jobs: dict[int, ImageJob], runs: list[Run]) -> None:
    figures.runs, figures.jobs = len(runs), len(jobs)
    figures.states = dict(Counter(job.state for job in jobs.values()))
    done = (JobState.ARCHIVED, JobState.FAILED, JobState.HELD)
    for number, job in jobs.items():
        if job.state not in done or job.claimed_by:
            figures.open_jobs += 1
            figures.reasons.append(f"job {number} is {job.state} ({job.code}), claimed by {job.claimed_by}")
    for run in runs:
        if run.state == RunState.RUNNING:
            figures.open_runs += 1
            figures.reasons.append(f"run {run.id} is {run.state}")
            continue
        records = run.accepted + run.rejected + run.blank + run.continuation
        ended = run.archived + run.failed + run.held
        if run.records != records or run.planned != ended:
            figures.unbalanced_runs += 1
            figures.reasons.append(
                f"run {run.id} ({run.state}): {run.records} records, {records} with a fate; "
                f"{run.planned} planned, {ended} with an end"
            )


def _find_lost(
    figures: Figures, jobs: dict[int, ImageJob], assets: list[Asset], generations: list[Generation], witness: Witness
) -> None:
    kept = {asset.sha256 for asset in assets}
    bought = {asset.attempt_id for asset in assets}
    figures.witnessed, figures.received, figures.assets = len(witness.seen), len(generations), len(assets)
    unnoticed = {name for sha256, name in witness.seen.items() if sha256 not in kept}
    missing = [generation for generation in generations if generation.attempt_id not in bought]
    noticed = {f"{generation.spool_name}.body" for generation in missing}
    figures.lost = len(unnoticed - noticed) + len(missing)
    for name in sorted(unnoticed - noticed):
        figures.reasons.append(f"the whole answer {name} lay on the disk, and its image is nowhere")
    for generation in missing:
        job = jobs[generation.job_id]
        figures.reasons.append(f"attempt {generation.attempt_id} brought an image; its job is {job.state} ({job.code})")


def _find_duplicates(figures: Figures, jobs: dict[int, ImageJob], attempts: list[Attempt], emulator: Emulator) -> None:
    """A call is explained by the attempt that was written before it; an attempt by being the job's first, by one before
    it that was not billed, or as the one counted retry of a call that brought no image. Nothing follows an image."""
    assert len(emulator.history) < LIMIT, "the image API has forgotten its first calls"
    posts = Counter(
        str(request.body["prompt"])
        for request in emulator.history
        if request.method == "POST" and request.path.startswith("/v1/images/") and _came_whole(request.body)
    )
    figures.calls = posts.total()
    figures.unknown = sum(map(_is_unknown, attempts))
    by_prompt = Counter(jobs[attempt.job_id].prompt for attempt in attempts)
    for prompt, number in posts.items():
        if number > by_prompt[prompt]:
            figures.duplicates += number - by_prompt[prompt]
            figures.reasons.append(f"{number} calls and {by_prompt[prompt]} attempts for {prompt[-80:]!r}")
    of_job: dict[int, list[Attempt]] = {}
    for attempt in attempts:
        of_job.setdefault(attempt.job_id, []).append(attempt)
    for number, made in of_job.items():
        settled = [attempt for attempt in made if attempt.settled_at]
        paid = Counter(a.code for a in settled if a.code and code_of(a.code).billed is Billed.YES)
        image = next((attempt.number for attempt in settled if attempt.code is None), None)
        too_many = sum(image is not None and attempt.number > image for attempt in made)
        too_many += max(0, sum(attempt.billed != Billed.NO for attempt in settled if _is_unknown(attempt)) - 2)
        too_many += sum(times - 2 for times in paid.values() if times > 2)
        if too_many:
            figures.duplicates += too_many
            figures.reasons.append(f"job {number} was bought {[(a.number, a.code, a.billed) for a in made]}")


def _came_whole(body: object) -> bool:
    """A caller that dies while it sends leaves half a request: the API refuses it, and nothing is billed."""
    return isinstance(body, dict) and "prompt" in body


def _is_unknown(attempt: Attempt) -> bool:
    """Did it end so that nobody could say whether it was billed? Reconciling changes its price, not this."""
    return attempt.code is not None and code_of(attempt.code).billed is Billed.UNKNOWN


def _compare_bucket(figures: Figures, settings: Settings, assets: list[Asset]) -> None:
    store = ObjectStore(settings)
    assert settings.s3_access_key_id
    assert settings.s3_secret_access_key
    client = s3_client(
        endpoint=settings.s3_endpoint_url,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id.get_secret_value(),
        secret_access_key=settings.s3_secret_access_key.get_secret_value(),
        addressing="path",
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket, Prefix=settings.s3_prefix + "/")
    listed = {str(entry["Key"]) for page in pages for entry in page.get("Contents", [])}
    for asset in assets:
        found = store.head(asset.key)
        actual = found and (found.bytes, found.metadata.get("sha256"))
        if actual != (asset.bytes, asset.sha256):
            figures.assets_without_object += 1
            figures.reasons.append(f"asset {asset.id} is {asset.key} of {asset.bytes} bytes; the store has {actual}")
    sheets = {key for key in listed if key.split("/")[-2] == SHEETS and RUN_SHEET.fullmatch(key.split("/")[-1])}
    figures.contact_sheets = len(sheets)
    for key in sorted(listed - {asset.key for asset in assets} - sheets):
        figures.objects_without_row += 1
        figures.reasons.append(f"the object {key} has no row")


def _compare_money(
    figures: Figures, settings: Settings, engine: Engine, emulator: Emulator, attempts: list[Attempt]
) -> None:
    """The day after: by then the provider's log has every call that it will ever have."""
    figures.bill = emulator.billed_micro
    figures.unknown_money = sum(attempt.cost_micro for attempt in attempts) - figures.bill
    if not attempts:
        return
    since = min(attempt.started_at for attempt in attempts) - timedelta(minutes=1)
    tomorrow = datetime.now(UTC) + timedelta(hours=20)
    found = reconcile(settings, since, apply=True, now=tomorrow, sleep=lambda _: None)
    with Session(engine) as session:
        figures.ledger = sum(session.exec(select(Attempt.cost_micro)))
    figures.unexplained = figures.ledger - figures.bill
    for difference in found.left:
        call, row = difference.attempt, difference.row
        figures.reasons.append(
            f"{difference.kind}: attempt {call and call.id} booked {difference.booked_micro}, "
            f"call {row and row.request_id} charged {difference.charged_micro}"
        )


def _find_leftovers(figures: Figures, spool: Path, jobs: dict[int, ImageJob], attempts: list[Attempt]) -> None:
    archived = {attempt.spool_name for attempt in attempts if jobs[attempt.job_id].state == JobState.ARCHIVED}
    for path in sorted(spool.iterdir()) if spool.exists() else []:
        if path.name.startswith(DOWNLOADS) or path.stem in archived:
            figures.leftovers += 1
            figures.reasons.append(f"{path.name} is left in the spool")
