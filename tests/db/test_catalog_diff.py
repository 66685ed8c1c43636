"""What changed in a catalog, on both databases: every product that was known is the same, changed, refused or gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from packshot.catalog.model import Product, Reject
from packshot.db.catalog_changes import Comparison, changes, first_of_each
from packshot.db.catalog_diff import OTHER_READING, CatalogDiff, Picture, differences, identity, renewed
from packshot.db.engine import open_engine, upgrade
from packshot.db.queries import assets
from packshot.db.tables import CatalogChange, Run
from packshot.db.tables import Product as ProductRow
from packshot.errors import Code
from tests.db import racers
from tests.db.ledger_cases import PRICE, Book, product, received, stored

READING = "as usual"


def picture(title: str = "a", photos: Sequence[str] = (), all_photos: bool = True, **texts: str) -> Picture:
    usual = {"title": title, "description": "", "category": "", "brand": "", "attributes": ""}
    return {**usual, **texts, "photos": list(photos), "all_photos": all_photos}


class Shop:
    """Runs over a catalog: each is a mapping of product key to what decides its pictures."""

    def __init__(self, engine: Engine) -> None:
        self.book = Book(engine, jobs=0)

    def read(
        self,
        catalog: Mapping[str, Picture],
        refused: Sequence[str] = (),
        part: str = "",
        reading: str = READING,
        run_id: int | None = None,
    ) -> CatalogDiff:
        run_id = self.begin(catalog, refused) if run_id is None else run_id
        return self.book.runs.close_reading(run_id, reading, part)

    def begin(self, catalog: Mapping[str, Picture], refused: Sequence[str] = (), run_id: int | None = None) -> int:
        run_id = self.book.open_run() if run_id is None else run_id
        products, rejects, pictures = self._items(catalog, refused)
        self.book.runs.enroll(run_id, [(item, []) for item in products], rejects, pictures)
        return run_id

    def dry(
        self, catalog: Mapping[str, Picture], refused: Sequence[str] = (), part: str = "", reading: str = READING
    ) -> tuple[CatalogDiff, list[tuple[str, str, str]]]:
        comparison = Comparison(self.book.engine, "shop")
        comparison.add(*self._items(catalog, refused))
        diff = comparison.result(reading, part)
        return diff, [(row["product_key"], row["change"], row["what"]) for row in comparison.first]

    def noted(self, run_id: int | None = None) -> list[tuple[str, str, str]]:
        return [(row["product_key"], row["change"], row["what"]) for row in changes(self.book.engine, run_id)]

    @staticmethod
    def _items(
        catalog: Mapping[str, Picture], refused: Sequence[str]
    ) -> tuple[list[Product], list[Reject], dict[tuple[str, str, str], Picture]]:
        products = [product(key, sku=f"S-{key}") for key in catalog]
        rejects = [Reject("shop.csv", 1, 2, key, Code.MISSING_TITLE, "no title") for key in refused]
        return products, rejects, {identity(item): catalog[item.product_key] for item in products}


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)


A, B = picture("a"), picture("b")


# --- one run after the other ----------------------------------------------------------------------------------
def test_new_changed_same_and_gone(shop: Shop) -> None:
    first = shop.read({"cup": A, "mug": A, "pot": A})
    assert first == CatalogDiff(new=3, changed=0, same=0, refused=0, gone=0)
    assert shop.noted() == [("cup", "new", ""), ("mug", "new", ""), ("pot", "new", "")]
    second = shop.read({"pot": A, "mug": B, "jug": A})
    assert second == CatalogDiff(new=1, changed=1, same=1, refused=0, gone=1)
    assert shop.noted() == [("cup", "gone", ""), ("mug", "changed", "title"), ("jug", "new", "")]
    assert second.sentence == "products: 1 new, 1 changed, 1 the same, 1 gone"


def test_every_run_keeps_its_own_list(shop: Shop) -> None:
    one = shop.begin({"cup": A})
    two = shop.begin({"cup": B})
    shop.begin({"cup": A})
    assert shop.noted(one) == [("cup", "new", "")]
    assert shop.noted(two) == shop.noted() == [("cup", "changed", "title")]


def test_a_renamed_key_is_gone_and_new(shop: Shop) -> None:
    shop.read({"cup": A})
    assert shop.read({"mug": A}) == CatalogDiff(new=1, changed=0, same=0, refused=0, gone=1)


def test_gone_is_said_once_and_coming_back_is_new(shop: Shop) -> None:
    shop.read({"cup": A, "mug": A})
    assert shop.read({"mug": A}).gone == 1
    assert shop.read({"mug": A}) == CatalogDiff(new=0, changed=0, same=1, refused=0, gone=0)
    assert shop.read({"mug": A, "cup": A}).new == 1
    assert shop.noted() == [("cup", "new", "back")]
    assert shop.read({"mug": A}).gone == 1


def test_what_is_gone_keeps_its_images(engine: Engine) -> None:
    book = Book(engine, jobs=1)
    claim = book.ledger.claim(book.job)
    assert claim
    attempt = book.ledger.begin(claim, book.run_id, PRICE, "images", 1)
    book.ledger.archived(book.ledger.received(claim, attempt, received()), stored())
    second = book.open_run()
    assert book.runs.close_reading(second, READING, "").gone == 1
    [row] = changes(engine, second)
    assert (row["product_key"], row["change"], row["images"]) == ("p0", "gone", 1)
    assert len(assets(engine)) == 1


def test_other_catalogs_are_left_alone(shop: Shop) -> None:
    shop.read({"cup": A})
    other = shop.book.runs.open("outlet", "outlet.csv", {}, None, None)
    assert shop.book.runs.close_reading(other, READING, "") == CatalogDiff(refused=0, gone=0)
    assert shop.read({"cup": A}).same == 1


# --- readings that are not whole ------------------------------------------------------------------------------
def test_a_part_of_the_catalog_leaves_the_rest_as_it_is(shop: Shop) -> None:
    shop.read({"cup": A, "mug": A})
    part = shop.read({"mug": B}, part="the run ended at its limit")
    assert part == CatalogDiff(changed=1, gone_unknown="the run ended at its limit")
    assert part.sentence == "products: 0 new, 1 changed, 0 the same, gone: not known (the run ended at its limit)"
    assert shop.read({"cup": A, "mug": B}) == CatalogDiff(same=2, refused=0, gone=0)


def test_a_run_that_ends_early_says_that_it_does_not_know(shop: Shop) -> None:
    shop.read({"cup": A, "mug": A})
    died = shop.begin({"jug": A})
    run = shop.book.runs.get(died)
    assert CatalogDiff.of(run) == CatalogDiff(new=1, gone_unknown="planning did not end")
    assert shop.read({"cup": A, "mug": A, "jug": A}) == CatalogDiff(same=3, refused=0, gone=0)


def test_a_filter_that_was_tried_makes_nothing_look_gone(shop: Shop) -> None:
    shop.read({"cup": A, "mug": A})
    filtered = shop.read({"cup": A}, reading="only cups")
    assert (filtered.gone, filtered.gone_unknown) == (None, OTHER_READING)
    assert shop.read({"cup": A, "mug": A}).gone is None, "a comparison with the filtered reading says nothing either"
    assert shop.read({"cup": A}).gone == 1


def test_what_is_refused_is_not_gone(shop: Shop) -> None:
    shop.read({"cup": A, "mug": A, "pot": A})
    diff = shop.read({"cup": A}, refused=["mug", "S-pot", "unheard of"])
    assert diff == CatalogDiff(same=1, refused=2, gone=0)
    assert [kind for _, kind, _ in shop.noted()] == ["refused", "refused"]
    assert shop.read({"cup": A, "mug": A, "pot": A}).same == 3


# --- runs at the same time ------------------------------------------------------------------------------------
def test_a_product_that_a_later_run_has_read_is_not_gone_for_an_earlier_one(shop: Shop) -> None:
    shop.read({"cup": A})
    older = shop.begin({})
    shop.begin({"cup": A})
    assert shop.read({}, run_id=older).gone == 0


def test_an_earlier_run_does_not_take_back_what_a_later_one_has_seen(shop: Shop) -> None:
    shop.read({"cup": A, "mug": A})
    older = shop.book.open_run()
    newer = shop.begin({"cup": A})
    shop.begin({"cup": A, "mug": A}, run_id=older)
    assert shop.read({}, run_id=newer).gone == 1, "the mug"
    assert shop.noted(newer) == [("mug", "gone", "")]


def test_two_processes_reading_at_once_find_nothing_gone(engine: Engine, db_url: str) -> None:
    racers.race(racers.enroll, db_url, [(5, False), (5, True)])
    book = Book(engine, jobs=0)
    run_id = book.open_run()
    racers.race(racers.enroll, db_url, [(5, False)])
    assert book.runs.close_reading(run_id, READING, "").gone == 0


# --- the same without storing anything ------------------------------------------------------------------------
def test_a_dry_comparison_says_the_same_and_changes_nothing(shop: Shop) -> None:
    shop.read({"cup": A, "mug": A, "pot": A, "jug": A})
    shop.read({"cup": A, "mug": A, "pot": A})
    now, refused = {"cup": A, "mug": B, "jug": A, "can": A}, ["pot"]
    before = shop.book.rows(ProductRow), shop.book.rows(CatalogChange), shop.book.rows(Run)
    diff, named = shop.dry(now, refused)
    assert (shop.book.rows(ProductRow), shop.book.rows(CatalogChange), shop.book.rows(Run)) == before
    assert diff == shop.read(now, refused)
    assert sorted(named) == sorted(shop.noted())
    assert shop.dry(now, part="the catalog ends early")[0].gone_unknown == "the catalog ends early"
    assert shop.dry(now, reading="another")[0].gone_unknown == OTHER_READING


def test_a_dry_comparison_with_an_empty_database(shop: Shop) -> None:
    assert shop.dry({"cup": A})[0] == CatalogDiff(new=1, refused=0, gone=0)


KEYS = st.sampled_from("abcdef")
CATALOG = st.dictionaries(KEYS, st.sampled_from([A, B]), max_size=6)


@settings(max_examples=40, deadline=None)
@given(readings=st.lists(st.tuples(CATALOG, st.sets(KEYS), st.booleans()), min_size=1, max_size=5))
def test_the_figures_always_add_up(
    tmp_path_factory: pytest.TempPathFactory, readings: list[tuple[dict[str, Picture], set[str], bool]]
) -> None:
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('diff') / 'x.db'}")
    upgrade(engine)
    shop = Shop(engine)
    known: dict[str, Picture] = {}
    for catalog, refused, whole in readings:
        part = "" if whole else "part"
        dry, _ = shop.dry(catalog, sorted(refused), part)
        diff = shop.read(catalog, sorted(refused), part)
        assert dry == diff
        assert diff.new == len(catalog.keys() - known.keys())
        assert diff.changed == sum(known[key] != catalog[key] for key in catalog.keys() & known.keys())
        assert diff.new + diff.changed + diff.same == len(catalog)
        if whole:
            missed = known.keys() - catalog.keys()
            assert diff.refused is not None and diff.gone is not None  # noqa: PT018
            assert (diff.refused, diff.gone) == (len(missed & refused), len(missed - refused))
            assert len(known) == diff.same + diff.changed + diff.refused + diff.gone
            known = {key: value for key, value in known.items() if key in catalog or key in refused}
        else:
            assert diff.gone is None
        known |= catalog
    engine.dispose()


# --- comparing ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["title", "description", "category", "brand", "attributes"])
def test_each_text_is_named(name: str) -> None:
    assert differences(picture(), {**picture(), name: "other"}) == [name]


@pytest.mark.parametrize(
    ("before", "now", "differ"),
    [
        (picture(photos="ab"), picture(photos="ab"), False),
        (picture(photos="ab"), picture(photos="ba"), True),  # image 1 is another one
        (picture(photos="ab"), picture(photos="a"), True),  # it had two, and has one
        (picture(photos="a"), picture(photos="ab"), True),
        (picture(photos="ab"), picture(photos="a", all_photos=False), False),  # fewer were asked for
        (picture(photos="a", all_photos=False), picture(photos="ab"), False),  # more were
        (picture(photos="ab", all_photos=False), picture(photos="a"), True),
        (picture(photos="ab"), picture(all_photos=False), False),  # none are sent in this format
        (picture(photos=["a", ""]), picture(photos="ab"), False),  # what could not be read may be any
        (picture(photos="ab"), picture(photos=["", "b"]), False),
        (picture(photos="ab"), picture(photos=["", "c"]), True),
    ],
)
def test_photos(before: Picture, now: Picture, differ: bool) -> None:
    assert differences(before, now) == ["photos"] * differ


def test_what_is_known_of_photos_is_kept() -> None:
    whole = picture(photos="ab")
    for less in (picture(all_photos=False), picture(photos="a", all_photos=False), picture(photos=["", "b"])):
        assert renewed(whole, less) == whole
    assert renewed(whole, picture(photos="c", all_photos=False)) == picture(photos="c", all_photos=False)
    assert renewed({}, whole) == whole
    assert differences({}, whole) == [], "nothing was noted"


def test_the_first_of_each_kind(shop: Shop) -> None:
    shop.read({f"p{n}": A for n in range(9)})
    run_id = shop.begin({f"p{n}": B for n in range(5)} | {f"q{n}": A for n in range(4)})
    shop.read({}, run_id=run_id)
    rows: list[dict[str, Any]] = first_of_each(shop.book.engine, run_id, 2)
    assert [row["product_key"] for row in rows] == ["p5", "p6", "p0", "p1", "q0", "q1"]
