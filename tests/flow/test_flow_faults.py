"""The flow, when everything goes wrong at once, and when it becomes hopeless."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlmodel import Session, select

from packshot.db.queries import assets
from packshot.db.tables import Attempt, Generation, ImageJob, RunJob
from packshot.report import Report
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import OpenShop, Shop, write_catalog

PRICE = 90_000


def test_x(open_shop: OpenShop) -> None:
    shop = open_shop(url_mode="oss")
    shop.set(APIYI_FORMAT="gemini", SILENCE_TIMEOUT="1", MAX_ARCHIVE_TRIES=3, MAX_TRIES=6)
    from packshot.sandbox.faults import FAULTS

    for f in FAULTS:
        if f in ("hang", "bad_key", "balance_empty", "model_not_found", "no_channel"):
            continue
        shop2 = None
        kw = {"seconds": 1.5} if f in ("late_terminator", "slow_body", "tail_stall_fin", "url_slow") else {}
        if f == "big_body":
            kw = {"size": 3000000}
        shop.emulator.queue(f, **kw)
        cat = write_catalog(shop.folder / "c.csv", 1)
        cat.write_text(cat.read_text().replace("Product 1", "P " + f))
        r = shop.run(cat)
        shop.emulator.studio.deck._queue.clear()
        with Session(shop.engine) as s:
            at = s.exec(select(Attempt).where(Attempt.run_id == r.run.id)).all()
            print(
                "XX",
                f,
                [(a.code, a.billed, a.cost_micro, a.http_status) for a in at],
                [(u["outcome"], u["code"], u["message"]) for u in r.unfinished],
                r.run.archived,
                shop.emulator.bill[-len(at) :][0].price_micro,
            )
