"""From real catalog files and shot lists to what is to be made, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from packshot.catalog.model import Product, Reject
from packshot.db.engine import open_engine, upgrade
from packshot.db.ledger import Ledger
from packshot.db.queries import job_states
from packshot.db.runs import PlannedProduct, Runs
from packshot.db.tables import DailySpend
from packshot.db.tables import ImageJob as JobRow
from packshot.db.types import JobState
from packshot.errors import ArchiveError, Code, ConfigError, ProviderError
from packshot.options import RunOptions
from packshot.plan import BATCH, SMALL_BATCH, Planner
from packshot.plan_result import Plan, foresee
from packshot.policy import Decision, Verdict
from packshot.run import plan_only, ready_engine
from packshot.settings import Settings
from packshot.shots import ImageJob
from tests.db.ledger_cases import START, Book, dump, received
from tests.fixtures_store import picture

SHOTS = """
version: 1
shots:
  - name: packshot
    prompt: "A photo of {{ title }}. {{ facts }}"
    aspect_ratio: "1:1"
    image_size: 1K
    references: 1
  - name: worn
    prompt: "{{ title }} in {{ attributes.colour }}, worn"
    aspect_ratio: "4:5"
    image_size: 2K
    model: gemini-2.5-flash-image
    variants: 2
    when: {category: [Shoes]}
"""
ROWS = [
    {"product_key": "boot", "sku": "B-1", "title": "Boot", "category": "Shoes", "colour": "brown", "image": "boot.png"},
    {"product_key": "cup", "sku": "C-1", "title": "Cup", "category": "Kitchen", "colour": "", "image": ""},
    {"product_key": "", "sku": "X", "title": "No key", "category": "", "colour": "", "image": ""},
]


class Shop:
    """A catalog file, its photos, a shot list, and what planning it says."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.catalog = folder / "shop.csv"
        self.write(ROWS)
        (folder / "boot.png").write_bytes(picture())
        (folder / "shots.yaml").write_text(SHOTS)
        self.settings = Settings(
            _env_file=None, home=folder / "home", shots=folder / "shots.yaml",
            **{"apiyi_format": "gemini"} | settings,
        )  # fmt: skip
        self.known: dict[str, JobState] = {}
        self.stored: list[PlannedProduct] = []
        self.rejects: list[Reject] = []

    def write(self, rows: list[dict[str, str]]) -> None:
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        self.catalog.write_text("\n".join(lines) + "\n")

    def options(self, **options: Any) -> RunOptions:
        mapping = {"product_key": "product_key", "title": "title", "image_refs": "image", "attributes.colour": "colour"}
        return RunOptions(**{"catalog": str(self.catalog), "mapping": mapping} | options)

    def plan(self, **options: Any) -> Plan:
        self.stored, self.rejects = [], []

        def store(planned: Sequence[PlannedProduct], rejects: Sequence[Reject], _pictures: object) -> None:
            self.stored += planned
            self.rejects += rejects

        return Planner(self.settings, self.options(**options)).plan(self._lookup, store)

    def _lookup(self, keys: Sequence[str]) -> dict[str, JobState]:
        return {key: self.known[key] for key in keys if key in self.known}

    @property
    def jobs(self) -> list[ImageJob]:
        return [job for _, jobs in self.stored for job in jobs]

    def keys(self) -> dict[str, list[str]]:
        return {product.product_key: [job.key for job in jobs] for product, jobs in self.stored}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def many(number: int) -> list[dict[str, str]]:
    return [ROWS[1] | {"product_key": f"cup{n}", "sku": f"C-{n}", "title": f"Cup {n}"} for n in range(number)]


# --- the whole way --------------------------------------------------------------------------------------------
def test_a_catalog_becomes_jobs_rejects_and_a_price(shop: Shop) -> None:
    plan = shop.plan()
    assert [(job.product_key, job.shot, job.variant) for job in shop.jobs] == [
        ("boot", "packshot", 1), ("boot", "worn", 1), ("boot", "worn", 2), ("cup", "packshot", 1),
    ]  # fmt: skip
    assert (plan.jobs, plan.to_make, plan.already, plan.held, plan.to_archive) == (4, 4, 0, 0, 0)
    assert plan.by_shot == {"packshot": 2, "worn": 2}
    assert plan.cost_micro == 2 * 90_000 + 2 * 20_000
    assert (plan.counts.records, plan.counts.accepted, plan.counts.rejected) == (3, 2, 1)
    assert plan.counts.balanced
    [reject] = shop.rejects
    assert (reject.code, reject.record, reject.line) == (Code.MISSING_KEY, 3, 4)
    assert plan.first_rejects == shop.rejects
    assert plan.headline == "catalog shop: 3 records, 4 images wanted, 0 are permanent, 4 to make for $0.22"


def test_a_job_carries_what_its_call_needs(shop: Shop) -> None:
    shop.plan()
    packshot, worn, *_ = shop.jobs
    assert (packshot.model, packshot.image_size, packshot.aspect_ratio) == ("gemini-3-pro-image", "1K", "1:1")
    assert packshot.prompt.startswith("A photo of Boot.")
    [photo] = packshot.references
    assert photo.source == "boot.png"
    assert Path(photo.path).is_file()
    assert (worn.model, worn.prompt, worn.references) == ("gemini-2.5-flash-image", "Boot in brown, worn", ())


def test_a_plan_is_plain_values_for_json(shop: Shop) -> None:
    facts = json.loads(json.dumps(shop.plan().facts()))
    assert facts["by_shot"] == {
        "packshot": {"images": 2, "expected_usd": 0.18}, "worn": {"images": 2, "expected_usd": 0.04},
    }  # fmt: skip
    assert facts["by_category"] == {
        "Shoes": {"images": 3, "expected_usd": 0.13}, "Kitchen": {"images": 1, "expected_usd": 0.09},
    }  # fmt: skip
    assert (facts["cost_usd"], facts["expected_cost_usd"], facts["expected_calls"]) == (0.22, 0.22, 4)
    assert facts["history"]["gemini-2.5-flash-image"]["images"] == 0
    assert facts["counts"]["records"] == 3
    assert facts["first_rejects"][0]["code"] == "missing_key"
    assert "cost_micro" not in facts


# --- what is there already ------------------------------------------------------------------------------------
def test_only_what_the_ledger_does_not_have_is_to_be_made(shop: Shop) -> None:
    shop.plan()
    states = [JobState.ARCHIVED, JobState.HELD, JobState.GENERATED, JobState.FAILED]
    shop.known = dict(zip([job.key for job in shop.jobs], states, strict=True))
    plan = shop.plan()
    assert (plan.jobs, plan.already, plan.held, plan.to_archive, plan.to_make) == (4, 1, 1, 1, 1)
    assert plan.cost_micro == 90_000
    assert "1 are permanent, 1 held, 1 paid for and to bring home, 1 to make" in plan.headline
    assert len(shop.jobs) == 4, "all of them belong to the run"


def test_an_unchanged_catalog_gives_the_same_keys(shop: Shop) -> None:
    shop.plan()
    before = shop.keys()
    shop.catalog.write_bytes(shop.catalog.read_bytes())
    shop.write([*ROWS[::-1]])  # another order is no change
    shop.plan()
    assert shop.keys() == before


def test_a_changed_title_makes_only_that_product_new(shop: Shop) -> None:
    shop.plan()
    before = shop.keys()
    shop.write([ROWS[0], ROWS[1] | {"title": "Mug"}, ROWS[2]])
    shop.plan()
    after = shop.keys()
    assert after["boot"] == before["boot"]
    assert not set(after["cup"]) & set(before["cup"])


def test_a_changed_photo_makes_only_the_shots_new_that_send_it(shop: Shop) -> None:
    shop.plan()
    before = shop.keys()
    (shop.folder / "boot.png").write_bytes(picture(color="red"))
    shop.plan()
    after = shop.keys()
    assert after["boot"][0] != before["boot"][0]
    assert after["boot"][1:] == before["boot"][1:]


# --- choosing -------------------------------------------------------------------------------------------------
def test_products_are_chosen_by_key_or_sku(shop: Shop) -> None:
    for chosen, expected in ((["cup"], ["cup"]), (["B-1"], ["boot"]), (["C-1", "boot"], ["boot", "cup"])):
        plan = shop.plan(products=chosen)
        assert list(shop.keys()) == expected
        assert plan.counts.accepted == 2, "the catalog was read all the same"


def test_an_unknown_product_is_an_error_that_names_it(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="no product with the key or SKU mug, saucer") as failure:
        shop.plan(products=["mug", "boot", "saucer"])
    assert failure.value.code is Code.CATALOG_INVALID


def test_shots_are_chosen_by_name(shop: Shop) -> None:
    shop.plan(shots=["worn"])
    assert {job.shot for job in shop.jobs} == {"worn"}
    with pytest.raises(ConfigError, match=r"there is no shot 'wron'.*worn"):
        shop.plan(shots=["wron"])


def test_products_are_chosen_by_category_and_the_others_are_counted(shop: Shop) -> None:
    plan = shop.plan(categories=["kitchen"])
    assert list(shop.keys()) == ["cup"]
    assert (plan.counts.accepted, plan.left_out) == (2, 1)
    assert "1 of 2 products read are not_selected: the run is not for them" in plan.notes
    assert shop.plan().left_out == 0


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"categories": ["Toys"]}, Code.CATALOG_INVALID, r"category 'Toys' \(it has: Kitchen, Shoes\)"),
        ({"products": ["cup"], "categories": ["Shoes"]}, Code.CATALOG_INVALID, "cup is in the category 'Shoes'"),
        ({"products": ["cup"], "shots": ["worn"]}, Code.SHOTS_INVALID, "shots worn are for none of the 1 products"),
    ],
)
def test_a_choice_that_nothing_fits_is_no_successful_run_of_no_images(
    shop: Shop, options: dict[str, Any], code: Code, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as failure:
        shop.plan(**options)
    assert failure.value.code is code


def test_a_chosen_product_that_is_refused_is_a_reject_and_no_wrong_choice(shop: Shop) -> None:
    shop.write([ROWS[0] | {"colour": ""}])
    assert shop.plan(products=["boot"], shots=["worn"]).jobs == 0
    assert [reject.code for reject in shop.rejects] == [Code.UNRENDERABLE]


@pytest.mark.parametrize("limit", [1, 3, SMALL_BATCH, SMALL_BATCH + 1])
def test_planning_ends_at_the_limit_of_new_images(shop: Shop, limit: int) -> None:
    shop.write(many(3 * SMALL_BATCH))
    plan = shop.plan(limit=limit)
    assert plan.to_make == len(shop.jobs) == limit
    assert f"planning ended at the limit of {limit} new images" in plan.notes
    assert plan.counts.balanced
    assert plan.counts.records < 3 * SMALL_BATCH, "the rest of the file is not read"


def test_the_limit_cuts_within_a_product_and_counts_new_images_only(shop: Shop) -> None:
    shop.plan()
    shop.known = {shop.jobs[0].key: JobState.ARCHIVED}
    plan = shop.plan(limit=1)
    assert [(job.shot, job.variant) for job in shop.jobs] == [("packshot", 1), ("worn", 1)]
    assert (plan.already, plan.to_make) == (1, 1)


def test_a_limit_that_is_not_reached_changes_nothing(shop: Shop) -> None:
    plan = shop.plan(limit=100)
    assert plan.to_make == 4
    assert not [note for note in plan.notes if "limit" in note]


@pytest.mark.parametrize(("wire_format", "size"), [("images", BATCH), ("gemini", SMALL_BATCH)])
def test_a_large_catalog_goes_through_in_batches(tmp_path: Path, wire_format: str, size: int) -> None:
    """Smaller ones where photos are read, which takes its time: a stop is heard between them."""
    sizes: list[int] = []
    shop = Shop(tmp_path, apiyi_format=wire_format)
    shop.write(many(2 * size + 7))
    planner = Planner(shop.settings, shop.options(shots=["packshot"]))
    plan = planner.plan(lambda keys: {}, lambda planned, rejects, pictures: sizes.append(len(planned)))
    assert sizes == [size, size, 7]
    assert plan.to_make == 2 * size + 7


# --- what cannot be made --------------------------------------------------------------------------------------
def test_a_missing_photo_holds_the_shots_that_send_it_and_no_others(shop: Shop) -> None:
    (shop.folder / "boot.png").unlink()
    plan = shop.plan(products=["boot"])
    packshot, *worn = shop.jobs
    assert packshot.missing_references == ("boot.png",)
    assert not any(job.missing_references for job in worn)
    assert (plan.held, plan.to_make) == (1, 2)


def test_a_full_disk_is_not_a_missing_photo(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every photo would look missing, and every job be held for a person."""
    import errno

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)  # the system's, not ours
    with pytest.raises(ArchiveError) as failure:
        shop.plan()
    assert failure.value.code is Code.DISK_FULL


def test_a_product_that_lacks_what_the_prompt_asks_for_is_a_reject_of_that_shot(shop: Shop) -> None:
    shop.write([ROWS[0] | {"colour": ""}, ROWS[1]])
    plan = shop.plan()
    assert [(job.product_key, job.shot) for job in shop.jobs] == [("boot", "packshot"), ("cup", "packshot")]
    [reject] = shop.rejects
    assert (reject.code, reject.key, reject.line) == (Code.UNRENDERABLE, "boot", 2)
    assert "worn" in reject.message
    assert "colour" in reject.message
    assert plan.counts.accepted == 2, "the record itself was fine"


def test_the_images_format_sends_no_photos_and_says_so(tmp_path: Path) -> None:
    shop = Shop(tmp_path, apiyi_format="images")
    plan = shop.plan()
    assert not any(job.references for job in shop.jobs)
    assert any("photos are not sent" in note for note in plan.notes)


def test_a_model_without_a_price_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    shop = Shop(tmp_path, apiyi_model="nano-banana-9")
    with pytest.raises(ConfigError, match=r"no price is known for model 'nano-banana-9'.*PACKSHOT_PRICES"):
        Planner(shop.settings, shop.options())
    shop = Shop(tmp_path, apiyi_model="nano-banana-9", prices={"nano-banana-9": Decimal("0.5")})
    assert shop.plan(shots=["packshot"]).cost_micro == 2 * 500_000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mapping": {"titel": "title"}}, "unknown target 'titel'"),
        ({"catalog": "/nowhere/shop.csv"}, "/nowhere/shop.csv"),
        ({"mapping": {"title": "Titel"}}, "Titel"),
    ],
)
def test_a_catalog_that_cannot_be_read_is_one_clear_error(shop: Shop, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as failure:
        shop.plan(**options)
    assert failure.value.code is Code.CATALOG_INVALID


# --- with the ledger ------------------------------------------------------------------------------------------
def test_planning_twice_into_the_ledger_plans_nothing_new(shop: Shop) -> None:
    engine = open_engine(shop.settings.db_url)
    upgrade(engine)
    runs = Runs(Ledger(engine))
    rows = []
    for _ in range(2):
        run_id = runs.open("shop", str(shop.catalog), {}, None, None)
        planner = Planner(shop.settings, shop.options())
        plan = planner.plan(
            lambda keys: job_states(engine, keys),
            lambda planned, rejects, _, run_id=run_id: runs.enroll(run_id, planned, rejects).states,  # type: ignore[misc]
        )
        runs.set_counts(run_id, plan.counts)
        run = runs.get(run_id)
        assert (run.planned, run.records, run.accepted, run.rejected) == (4, 3, 2, 1)
        rows.append(dump(engine)[str(JobRow.__tablename__)])
    assert rows[0] == rows[1]
    assert plan_only(shop.settings, shop.options()).to_make == 4
    engine.dispose()


def test_a_plan_expects_what_images_took_so_far(shop: Shop) -> None:
    plan = plan_only(shop.settings, shop.options())
    assert plan.headline.endswith("4 to make for $0.22"), "without history one call each"
    assert all("no history yet" in reason for reason in plan.forecast.reasons)

    book = Book(ready_engine(shop.settings), jobs=4)
    for number, errors in ((0, 0), (1, 1), (2, 0), (3, 1)):
        for error in (ProviderError(Code.TIMEOUT, "late"), None)[1 - errors :]:
            claim = book.ledger.claim(book.jobs[number])
            assert claim
            attempt = book.ledger.begin(claim, book.run_id, 90_000, "gemini", 1)
            if error:
                book.ledger.not_received(claim, attempt, error, lambda past: Decision(Verdict.RETRY))
            else:
                book.ledger.received(claim, attempt, received())
    settings = shop.settings.model_copy(update={"apiyi_model": "nano-banana-pro"})  # the model that has a history
    plan = plan_only(settings, shop.options())
    assert (plan.cost_micro, plan.forecast.expected_micro) == (220_000, 2 * 135_000 + 2 * 20_000)
    assert plan.forecast.expected_calls == 5
    assert plan.headline.endswith("4 to make for $0.22, $0.31 expected with the calls that fail")
    facts = plan.facts()
    assert facts["history"]["nano-banana-pro"]["purchases_per_image"] == 1.5
    assert (facts["cost_usd"], facts["expected_cost_usd"]) == (0.22, 0.31)


def test_a_plan_that_would_go_beyond_a_maximum_says_so(tmp_path: Path) -> None:
    def notes(limit: float = 0, **maximum: Any) -> list[str]:
        shop = Shop(tmp_path, **maximum)
        engine = ready_engine(shop.settings)
        plain = Planner(shop.settings, shop.options()).plan(lambda keys: {})
        plan = foresee(plain, engine, shop.settings, limit, lambda: START)
        return [note for note in plan.notes if "is more than" in note]

    assert notes() == []
    assert notes(max_cost_usd=Decimal("0.22"), max_cost_usd_per_day=Decimal("0.22")) == []
    assert len(notes(max_cost_usd=Decimal("0.21"))) == 1
    assert notes(0.5, max_cost_usd=Decimal("0.21")) == [], "the run's own maximum counts"
    assert "the $0.10 that a run may spend" in notes(0.1)[0]
    book = Book(ready_engine(Shop(tmp_path).settings), jobs=0)
    with book.ledger.write() as session:
        session.add(DailySpend(day=START.date(), spent_micro=100_000))
    assert "the $0.12 left of the $0.22" in notes(max_cost_usd_per_day=Decimal("0.22"))[0]


def test_products_of_a_plan_are_those_of_the_catalog(shop: Shop) -> None:
    shop.plan()
    products: list[Product] = [product for product, _ in shop.stored]
    assert [(p.catalog, p.product_key, p.sku, p.image_refs) for p in products] == [
        ("shop", "boot", "B-1", ("boot.png",)), ("shop", "cup", "C-1", ()),
    ]  # fmt: skip
