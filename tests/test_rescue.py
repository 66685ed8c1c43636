"""What was paid for comes home: received images of dead processes, without a call, without a catalog."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session, col, select

from packshot.apiyi import Answer, ImageRequest
from packshot.cli import main
from packshot.db.moves import Claim
from packshot.db.queries import assets
from packshot.db.tables import Attempt, Generation, ImageJob, Run
from packshot.options import RunOptions
from packshot.recovery import received_of
from packshot.rescue import rescue_here
from packshot.run import start_run
from packshot.sandbox.seaweed import Seaweed
from packshot.studio import ARCHIVES_AT_ONCE, Studio
from packshot.worker import MACHINE
from tests.fixtures_shop import Shop, opened_shop, write_catalog

PRICE = 90_000


@pytest.fixture
def shop(seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with opened_shop(tmp_path / "shop", seaweed, monkeypatch) as shop:
        shop.set(BACKOFF="0.05")
        yield shop


@pytest.fixture(scope="module")
def dead() -> str:
    """A worker of this machine whose process has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{MACHINE}:{process.pid}:1"


class Yesterday:
    """A run whose process is dead by now: what it says from here on happens in that process."""

    def __init__(self, shop: Shop, worker: str, images: int) -> None:
        self.shop = shop
        catalog = write_catalog(shop.folder / "yesterday.csv", images)
        started = start_run(shop.settings, RunOptions(catalog=str(catalog)), None)
        self.studio = Studio(shop.settings, started.run_id)
        self.studio.ledger.worker = worker
        with self.studio.ledger.write() as session:
            run = session.get_one(Run, started.run_id)
            run.worker = worker
            session.add(run)
        self.jobs = [item.job_id for item in self.studio.runs.work(started.run_id, 0, images)]

    def call(self, job_id: int) -> tuple[Claim, int]:
        """Up to the moment before the POST."""
        claim = self.studio.ledger.claim(job_id)
        assert claim
        assert self.studio.run_id
        return claim, self.studio.ledger.begin(claim, self.studio.run_id, PRICE, "images", 1)

    def answer(self, job_id: int) -> tuple[Claim, int, Answer]:
        """Up to the moment before the answer is in the ledger."""
        claim, attempt = self.call(job_id)
        job = claim.job
        request = ImageRequest(job.prompt, job.model, job.aspect_ratio, job.image_size, ())
        return claim, attempt, self.studio.client.generate(request, self.shop.settings.spool, claim.spool_name)

    def receive(self, job_id: int, hours: int = 0) -> Claim:
        """Up to the moment before the download; ``hours`` of life that its URL is said to have."""
        claim, attempt, answer = self.answer(job_id)
        received = received_of(answer)
        if hours:
            received = replace(received, expires_at=self.studio.ledger.now() + timedelta(hours=hours))
        return self.studio.ledger.received(claim, attempt, received)


def downloads(shop: Shop) -> list[str]:
    return [seen.path for seen in shop.emulator.history if seen.method == "GET" and seen.path.startswith("/oss/")]


def job(shop: Shop, job_id: int) -> ImageJob:
    with Session(shop.engine) as session:
        return session.get_one(ImageJob, job_id)


def test_the_nearest_end_goes_first_and_nothing_is_bought(shop: Shop, dead: str) -> None:
    yesterday = Yesterday(shop, dead, 12)
    urls = {}
    for job_id, hours in zip(yesterday.jobs, (9, 4, 12, 1, 6, 11, 3, 8, 2, 10, 5, 7), strict=True):
        generation = yesterday.receive(job_id, hours).generation
        assert generation
        urls[hours] = re.sub(r"^http://[^/]*", "", generation.url or "").partition("?")[0]
    done = rescue_here(shop.settings)
    assert (done.archived, done.lost, done.waiting, done.recovered.freed) == (12, 0, 0, 12)
    assert done.headline == "12 images brought home; after a crash: 12 claims freed"
    assert shop.emulator.calls == 12
    order = [path.partition("?")[0] for path in downloads(shop)]
    assert set(order[:ARCHIVES_AT_ONCE]) == {urls[hours] for hours in range(1, ARCHIVES_AT_ONCE + 1)}
    assert len(order) == len(assets(shop.engine)) == 12
    assert rescue_here(shop.settings).archived == 0
    with Session(shop.engine) as session:
        [run] = session.exec(select(Run)).all()
    assert (run.state, run.code, run.archived, run.held) == ("crashed", "interrupted", 0, 12)


def test_what_is_in_the_spool_is_adopted_and_what_was_in_the_air_is_booked(shop: Shop, dead: str) -> None:
    shop.set(APIYI_RESPONSE="b64_json")
    yesterday = Yesterday(shop, dead, 4)
    answered, received, air, claimed = yesterday.jobs
    yesterday.answer(answered)
    yesterday.receive(received)
    yesterday.call(air)
    yesterday.studio.ledger.claim(claimed)
    done = rescue_here(shop.settings)
    assert (done.archived, done.recovered.adopted, done.recovered.freed) == (2, 1, 2)
    assert (done.recovered.unknown, done.recovered.unknown_micro) == (1, PRICE)
    assert [job(shop, one).state for one in yesterday.jobs] == ["archived", "archived", "planned", "planned"]
    assert shop.emulator.calls == 2
    assert list(shop.settings.spool.iterdir()) == []
    with Session(shop.engine) as session:
        calls = session.exec(select(Attempt).order_by(col(Attempt.id))).all()
    assert [(call.code, call.billed, call.cost_micro) for call in calls] == [
        (None, "yes", PRICE), (None, "yes", PRICE), ("interrupted", "unknown", PRICE),
    ]  # fmt: skip


@pytest.mark.parametrize(("policy", "state"), [("hold", "held"), ("retry", "planned")])
def test_what_came_too_late_is_lost_with_its_price(shop: Shop, dead: str, policy: str, state: str) -> None:
    shop.set(ON_LOST=policy)
    yesterday = Yesterday(shop, dead, 3)
    shop.emulator.queue("url_expired", times=2)
    for job_id in yesterday.jobs:
        yesterday.receive(job_id)
    done = rescue_here(shop.settings)
    assert (done.archived, done.lost, done.lost_micro) == (1, 2, 2 * PRICE)
    assert done.headline.startswith("1 images brought home, 2 lost, which cost $0.18")
    found = [job(shop, one) for one in yesterday.jobs]
    assert [(one.state, one.code) for one in found] == [(state, "lost"), (state, "lost"), ("archived", None)]
    with Session(shop.engine) as session:
        lost = session.exec(select(Generation).where(col(Generation.lost_at).is_not(None))).all()
    assert len(lost) == 2
    assert shop.emulator.calls == 3


def test_an_image_on_another_machine_waits_until_it_is_rescued_there(shop: Shop, dead: str, tmp_path: Path) -> None:
    shop.set(APIYI_RESPONSE="b64_json")
    yesterday = Yesterday(shop, dead, 1)
    yesterday.receive(yesterday.jobs[0])
    home, database = shop.home, shop.settings.db_url
    shop.set(HOME=tmp_path / "elsewhere", DATABASE_URL=database)
    assert rescue_here(shop.settings).held == 1
    assert job(shop, yesterday.jobs[0]).code == "spool_missing"
    assert rescue_here(shop.settings).held == 0  # nothing has changed, and nothing is tried in vain
    shop.set(HOME=home)
    assert rescue_here(shop.settings).archived == 1
    assert job(shop, yesterday.jobs[0]).state == "archived"
    assert shop.emulator.calls == 1


def test_two_rescues_at_once_share_the_work(shop: Shop, dead: str) -> None:
    yesterday = Yesterday(shop, dead, 12)
    for job_id in yesterday.jobs:
        yesterday.receive(job_id)
    together = threading.Barrier(2)

    def rescue() -> int:
        together.wait()
        return rescue_here(shop.settings).archived

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(rescue), pool.submit(rescue)
    assert len(assets(shop.engine)) == 12
    assert one.result() + two.result() >= 12  # an image that the other one has just stored counts for both
    assert len(downloads(shop)) == 12


def test_a_rescue_leaves_alone_what_a_living_run_has_in_hands(shop: Shop, dead: str) -> None:
    yesterday = Yesterday(shop, dead, 2)
    yesterday.receive(yesterday.jobs[0])
    today = Studio(shop.settings, yesterday.studio.run_id)
    shop.emulator.latency = 1.0
    with ThreadPoolExecutor(1) as pool, today.client:
        made = pool.submit(today.make, yesterday.jobs[1])
        while not shop.emulator.health()["in_flight"]:
            time.sleep(0.01)
        done = rescue_here(shop.settings)
        assert (done.archived, done.recovered.unknown) == (1, 0)
        assert job(shop, yesterday.jobs[1]).state == "calling"
        assert made.result().state == "archived"
    assert shop.emulator.calls == len(assets(shop.engine)) == 2


WRONG = {
    "bucket": ({"S3_BUCKET": "no-such-bucket"}, "bucket_missing", "no-such-bucket"),
    "store": ({"S3_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3_unreachable", "127.0.0.1:9"),
    "no store": ({"S3_BUCKET": ""}, "settings_invalid", "PACKSHOT_S3_BUCKET"),
    "database": ({"DATABASE_URL": "postgresql://u:pass-1234@127.0.0.1:9/d"}, "", "127.0.0.1"),
    "key": ({"APIYI_KEY": ""}, "bad_key", "PACKSHOT_APIYI_KEY"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_rescue_needs_is_said_in_one_line(
    shop: Shop, dead: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    yesterday = Yesterday(shop, dead, 1)
    yesterday.receive(yesterday.jobs[0])
    variables, code, words = WRONG[case]
    shop.set(**variables)
    monkeypatch.setattr(sys, "argv", ["packshot", "rescue"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith(f"error: {code}")
    assert words in line
    assert "pass-1234" not in line
    assert os.environ["PACKSHOT_S3_SECRET_ACCESS_KEY"] not in line
    if "DATABASE_URL" in variables:
        shop.unset("DATABASE_URL")
    assert job(shop, yesterday.jobs[0]).state == "generated"
