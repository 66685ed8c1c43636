"""From one reading of a catalog to the next, with everything real but the purchases: what counts as changed, what
becomes of images whose photo is dead, and what a person is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from packshot.db.catalog_changes import changes
from packshot.db.catalog_diff import CatalogDiff
from packshot.db.holds import Answer, find, holds, resolve
from packshot.db.noteworthy import held_in_planning
from packshot.db.queries import runs, unfinished
from packshot.db.tables import ImageJob
from packshot.db.types import JobState
from packshot.errors import Code, PackshotError
from packshot.options import RunOptions
from packshot.plan_result import Plan
from packshot.report import make_report
from packshot.report_page import markdown
from packshot.run import StartedRun, finish_run, open_ledger, plan_only, start_run
from packshot.settings import Settings
from packshot.stopping import SWITCH
from packshot.storage import ObjectStore
from tests.fixtures_store import Web, page, picture

SHOTS = """
version: 1
shots:
  - {name: front, prompt: "{{ facts }} A photo.", aspect_ratio: "1:1", image_size: 1K, references: 2}
  - {name: scene, prompt: "{{ facts }} A scene.", aspect_ratio: "1:1", image_size: 1K}
"""
NEEDY = SHOTS.replace("references: 2", "references: 1, needs_reference: true")
HEAD = ["key", "sku", "title", "description", "category", "brand", "colour", "price", "status", "image"]
CUP = dict(zip(HEAD, ["cup", "C1", "Cup", "A cup.", "Home", "Acme", "red", "9.90", "active", ""], strict=True))
MUG = CUP | {"key": "mug", "sku": "M1", "title": "Mug"}


class Shop:
    def __init__(self, folder: Path, store: Settings) -> None:
        self.folder = folder
        self.catalog = folder / "shop.csv"
        (folder / "shots.yaml").write_text(SHOTS)
        values = {"apiyi_format": "gemini", "apiyi_key": "sk-x", "shots": folder / "shots.yaml"}
        self.settings = Settings(_env_file=None, **store.model_dump() | values | {"download_cidrs": ("127.0.0.0/8",)})
        self.engine = open_ledger(self.settings).engine

    def write(self, *rows: dict[str, str], head: list[str] = HEAD) -> None:
        lines = [",".join(head), *(",".join(row[name] for name in head) for row in rows)]
        self.catalog.write_text("\n".join(lines) + "\n")

    def set(self, **values: Any) -> None:
        self.settings = self.settings.model_copy(update=values)

    def options(self, **options: Any) -> RunOptions:
        mapping = {"product_key": "key", "image_refs": "image", "attributes.colour": "colour"}
        return RunOptions(**{"catalog": str(self.catalog), "mapping": mapping} | options)

    def dry(self, **options: Any) -> Plan:
        return plan_only(self.settings, self.options(**options))

    def start(self, **options: Any) -> StartedRun:
        """Plan a run; the dry plan must have said the same."""
        dry = self.dry(**options)
        started = start_run(self.settings, self.options(**options), None)
        assert started.plan.diff == dry.diff
        assert _named(started.plan) == _named(dry)
        return started

    def diff(self, **options: Any) -> CatalogDiff:
        return self.start(**options).plan.diff

    def jobs(self) -> dict[tuple[str, str], ImageJob]:
        with Session(self.engine) as session:
            return {(job.shot, job.key): job for job in session.exec(select(ImageJob))}

    def states(self) -> list[tuple[str, str, str | None]]:
        return sorted((job.shot, job.state, job.code) for job in self.jobs().values())


def _named(plan: Plan) -> list[tuple[str, str, str]]:
    return sorted((row["change"], row["product_key"], row["what"]) for row in plan.first_changes)


@pytest.fixture
def shop(tmp_path: Path, store_settings: Settings) -> Shop:
    return Shop(tmp_path, store_settings)


# --- what counts as changed -----------------------------------------------------------------------------------
SAME = CatalogDiff(same=1, refused=0, gone=0)


@pytest.mark.parametrize(
    "change",
    [{"price": "12.00"}, {"sku": "C2"}, {"status": "Active"}, {"title": " Cup "}, {"title": "Cup\u200b"}],
    ids=str,
)
def test_what_no_picture_shows_is_no_change(shop: Shop, change: dict[str, str]) -> None:
    shop.write(CUP)
    shop.start()
    before = set(shop.jobs())
    shop.write(CUP | change)
    assert shop.diff() == SAME
    assert set(shop.jobs()) == before, "nothing new is to be bought"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"title": "Bowl"}, "title"),
        ({"description": "A large cup."}, "description"),
        ({"category": "Home > Kitchen"}, "category"),
        ({"brand": "Other"}, "brand"),
        ({"colour": "blue"}, "attributes"),
        ({"title": "Bowl", "colour": "blue"}, "title, attributes"),
    ],
    ids=str,
)
def test_what_prompts_see_is_a_change_and_makes_new_images(shop: Shop, change: dict[str, str], what: str) -> None:
    shop.write(CUP, MUG)
    shop.start()
    before = set(shop.jobs())
    shop.write(CUP | change, MUG)
    assert shop.diff() == CatalogDiff(changed=1, same=1, refused=0, gone=0)
    [row] = changes(shop.engine)
    assert (row["product_key"], row["change"], row["what"]) == ("cup", "changed", what)
    assert len(set(shop.jobs()) - before) == 2


def test_the_order_of_rows_and_columns_is_no_change(shop: Shop) -> None:
    shop.write(CUP, MUG)
    shop.start()
    shop.write(MUG, CUP, head=HEAD[::-1])
    assert shop.diff() == CatalogDiff(same=2, refused=0, gone=0)


def test_other_shots_models_and_formats_are_no_change_of_the_products(shop: Shop) -> None:
    (shop.folder / "a.png").write_bytes(picture())
    shop.write(CUP | {"image": "a.png"})
    shop.start()
    assert shop.diff(shots=["scene"]) == SAME
    shop.set(apiyi_format="images")
    assert shop.diff() == SAME
    (shop.folder / "shots.yaml").write_text(SHOTS.replace("A photo.", "A large photo."))
    shop.set(apiyi_format="gemini", apiyi_model="gemini-2.5-flash-image")
    assert shop.diff() == SAME


# --- parts of a catalog ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"limit": 1}, "the run ended at its limit"),
        ({"products": ["mug"]}, "the run was for a part of the catalog"),
        ({"categories": ["Garden"]}, "the run was for a part of the catalog"),
    ],
)
def test_a_run_for_a_part_makes_nothing_gone(shop: Shop, options: dict[str, Any], why: str) -> None:
    shop.write(CUP, MUG | {"category": "Garden"})
    shop.start()
    shop.write(MUG | {"category": "Garden", "title": "Beaker"}, CUP | {"key": "new"})
    diff = shop.diff(**options)
    assert (diff.gone, diff.gone_unknown) == (None, why)
    assert shop.diff().gone == 1


def test_a_limit_that_is_not_reached_is_no_part(shop: Shop) -> None:
    shop.write(CUP, MUG)
    shop.start()
    shop.write(CUP)
    assert shop.diff(limit=100).gone == 1


def test_a_catalog_that_ends_in_the_middle_makes_nothing_gone(shop: Shop) -> None:
    shop.write(CUP, MUG)
    shop.start()
    shop.write(CUP)
    with shop.catalog.open("a") as file:
        file.write('jug,J1,"Jug')
    diff = shop.diff()
    assert (diff.same, diff.gone, diff.gone_unknown) == (1, None, "the catalog ends early")


def test_a_product_whose_record_is_refused_is_not_gone(shop: Shop) -> None:
    shop.write(CUP, MUG)
    shop.start()
    shop.write(CUP, MUG | {"title": ""})
    assert shop.diff() == CatalogDiff(same=1, refused=1, gone=0)


def test_a_run_that_is_stopped_while_it_is_planned_does_not_know(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write(CUP, MUG)
    shop.start()
    shop.write(CUP)
    monkeypatch.setattr(SWITCH, "reason", (Code.STOP_REQUESTED, "stopped"))
    with pytest.raises(PackshotError) as failure:
        start_run(shop.settings, shop.options(), None)
    assert failure.value.code is Code.STOP_REQUESTED
    [run] = runs(shop.engine, 1)
    assert (run["state"], run["products_gone"], run["gone_unknown"]) == ("stopped", None, "planning did not end")
    assert shop.dry().diff.gone == 1, "it is still to be noticed"


def test_the_report_has_it(shop: Shop) -> None:
    shop.write(CUP, MUG)
    shop.start()
    shop.write(CUP | {"colour": "blue"})
    started = shop.start()
    report = finish_run(shop.settings, started.run_id)
    assert report.diff == CatalogDiff(changed=1, refused=0, gone=1)
    text = markdown(report)
    assert "- gone: mug\n- changed: cup (attributes)\n" in text


# --- photos ---------------------------------------------------------------------------------------------------
def test_a_new_photo_makes_new_images_and_an_unchanged_one_none(shop: Shop) -> None:
    photo = shop.folder / "a.png"
    photo.write_bytes(picture())
    shop.write(CUP | {"image": "a.png"})
    shop.start()
    before = set(shop.jobs())
    photo.touch()
    assert shop.diff() == SAME
    photo.rename(shop.folder / "b.png")  # the same photo somewhere else
    shop.write(CUP | {"image": "b.png"})
    assert shop.diff() == SAME
    assert set(shop.jobs()) == before
    (shop.folder / "b.png").write_bytes(picture(color="red"))
    assert shop.diff().changed == 1
    assert changes(shop.engine)[0]["what"] == "photos"
    assert {shot for shot, _ in set(shop.jobs()) - before} == {"front"}, "the scene sends no photo"


def test_a_dead_photo_holds_and_says_which_and_why(shop: Shop, web: Web) -> None:
    url = web.url("/a.png?token=secret")
    shop.write(CUP | {"image": url})
    started = shop.start()
    assert shop.states() == [("front", "held", "reference_unavailable"), ("scene", "planned", None)]
    [hold] = holds(shop.engine)
    assert (hold["product_key"], hold["shot"], hold["code"]) == ("cup", "front", "reference_unavailable")
    assert hold["message"] == f"photo {web.url('/a.png')} answers 404"
    assert "PACKSHOT_ON_DEAD_PHOTO" in hold["next_step"]
    assert [image.shot for image in held_in_planning(shop.engine, started.run_id, 9)] == ["front"]
    [note] = [note for note in started.notes if "is held" in note]
    assert f"product cup is held: {hold['message']}" in note
    web.pages["/a.png"] = page(b"<html>moved", mime="text/html")
    again = shop.start()
    assert "text/html" in holds(shop.engine)[0]["message"], "today's reason"
    assert held_in_planning(shop.engine, again.run_id, 9) == [], "it is news once"


def test_a_photo_that_is_back_releases_its_image_by_itself(shop: Shop, web: Web) -> None:
    shop.write(CUP | {"image": web.url("/a.png")})
    first = shop.start()
    finish_run(shop.settings, first.run_id)
    web.pages["/a.png"] = page(picture())
    started = shop.start()
    assert holds(shop.engine) == []
    assert started.plan.diff == SAME, "the product itself is as it was"
    assert (started.plan.held, started.plan.to_make) == (0, 2)
    [released] = [job for job in shop.jobs().values() if job.shot == "front" and job.state == JobState.PLANNED]
    assert [photo["source"] for photo in released.reference_photos] == [web.url("/a.png")]
    assert [row["code"] for row in unfinished(shop.engine, first.run_id)].count("reference_unavailable") == 1


def test_a_photo_that_dies_again_holds_again_and_is_never_bought_without(shop: Shop, web: Web) -> None:
    shop.write(CUP | {"image": web.url("/a.png")})
    dead = {}
    for state in ("held", "planned", "held", "planned"):
        dead = {} if state == "held" else {"/a.png": page(picture())}
        web.pages.clear()
        web.pages.update(dead)
        plan = shop.start().plan
        assert plan.held == (state == "held")
        assert len(holds(shop.engine)) == (state == "held")
    assert shop.states() == [
        ("front", "failed", "superseded"), ("front", "planned", None), ("scene", "planned", None),
    ]  # fmt: skip


def test_a_person_may_skip_it(shop: Shop, web: Web) -> None:
    shop.write(CUP | {"image": web.url("/a.png")})
    shop.start()
    ledger = open_ledger(shop.settings)
    [waiting] = find(shop.engine, [holds(shop.engine)[0]["job_key"]])
    assert resolve(ledger, waiting, Answer.SKIP)
    plan = shop.start().plan
    assert holds(shop.engine) == []
    assert plan.to_make == 1


def test_going_on_without_a_dead_photo_is_said_and_recorded(shop: Shop, web: Web) -> None:
    web.pages["/b.png"] = page(picture())
    shop.write(CUP | {"image": f'"{web.url("/a.png")},{web.url("/b.png")}"'})
    shop.set(on_dead_photo="without")
    started = shop.start()
    assert (started.plan.held, started.plan.to_make, started.plan.without_photo) == (0, 2, 1)
    [front] = [job for job in shop.jobs().values() if job.shot == "front"]
    assert front.remark == f"photo {web.url('/a.png')} answers 404"
    assert [photo["source"] for photo in front.reference_photos] == [web.url("/b.png")]
    assert (front.state, front.code, front.message) == ("planned", None, "")
    assert any("product cup goes on without" in note for note in started.notes)
    assert any("1 images do without a photo" in note for note in started.notes)
    report = make_report(shop.engine, finish_run(shop.settings, started.run_id).run, started.notes)
    assert "do without a photo" in markdown(report)


def test_when_the_photo_is_back_the_better_picture_is_made(shop: Shop, web: Web) -> None:
    shop.write(CUP | {"image": web.url("/a.png")})
    shop.set(on_dead_photo="without")
    shop.start()
    [without] = [key for shot, key in shop.jobs() if shot == "front"]
    web.pages["/a.png"] = page(picture())
    shop.start()
    [better] = [key for shot, key in shop.jobs() if shot == "front" and key != without]
    shop.write(CUP)
    web.pages.clear()
    shop.start()
    assert {key for shot, key in shop.jobs() if shot == "front"} == {without, better}, "as without any photo"


def test_from_hold_to_without_releases_what_was_held(shop: Shop, web: Web) -> None:
    shop.write(CUP | {"image": web.url("/a.png")})
    shop.start()
    assert len(holds(shop.engine)) == 1
    shop.set(on_dead_photo="without")
    shop.start()
    assert holds(shop.engine) == []
    shop.set(on_dead_photo="hold")
    shop.start()
    assert len(holds(shop.engine)) == 1


def test_a_shot_that_needs_a_photo_refuses_when_none_is_left(shop: Shop, web: Web) -> None:
    (shop.folder / "shots.yaml").write_text(NEEDY)
    shop.write(CUP | {"image": web.url("/a.png")})
    shop.set(on_dead_photo="without")
    plan = shop.start().plan
    assert (plan.jobs, plan.held) == (1, 0)
    [reject] = plan.first_rejects
    assert reject.code is Code.PHOTO_NEEDED
    assert f"none can be read: {web.url('/a.png')}" in reject.message


def test_the_bucket_keeps_the_photos_of_a_run_and_not_of_a_plan(shop: Shop) -> None:
    (shop.folder / "a.png").write_bytes(picture())
    shop.write(CUP | {"image": "a.png"})
    prefix = f"references/{shop.folder.name}"
    shop.set(reference_prefix=prefix)
    store = ObjectStore(shop.settings)

    def kept() -> int:
        found = store._client.list_objects_v2(Bucket=store.bucket, Prefix=prefix)
        return int(found["KeyCount"])

    shop.dry()
    assert kept() == 0
    shop.start()
    assert kept() == 1


def test_a_bucket_that_keeps_no_photos_is_a_note_and_no_hold(shop: Shop) -> None:
    (shop.folder / "a.png").write_bytes(picture())
    shop.write(CUP | {"image": "a.png"})
    started = start_run(shop.settings, shop.options(), None)
    assert not [note for note in started.notes if "kept" in note]
    shop.set(reference_prefix="x" * 1100)  # longer than a key may be
    shop.write(replace_photo(shop, "b.png"))
    started = start_run(shop.settings, shop.options(), None)
    assert started.plan.held == 0
    assert [note for note in started.notes if "not kept in the bucket" in note]


def replace_photo(shop: Shop, name: str) -> dict[str, str]:
    (shop.folder / name).write_bytes(picture(color="red"))
    return CUP | {"image": name}
