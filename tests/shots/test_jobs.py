"""Jobs and their keys: a key changes with everything that decides the picture, and with nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog.model import Product
from packshot.errors import Code, PackshotError
from packshot.shots import KEY_VERSION, Reference, Shot, job_key, jobs_for
from packshot.shots.archetypes import Archetypes

MUG = Product(
    catalog="shop", product_key="mug", variant_key="blue", sku="M-1", title="Mug", category="Kitchen",
    attributes={"Color": "Blue", "Material": "Clay", "Size": "0.3 l"}, image_refs=("a.jpg", "b.jpg"),
)  # fmt: skip
A = Reference("a.jpg", "a" * 64, "/x/a", "image/jpeg")
B = Reference("b.jpg", "b" * 64, "/x/b", "image/png")
SHOT = Shot(name="front", prompt="{{ facts }}", aspect_ratio="1:1", image_size="2K", references=2, variants=2)

ANY = Archetypes()["generic"]
FIELDS: dict[str, Any] = {
    "catalog": "shop", "product_key": "mug", "variant_key": "blue", "shot": "front", "variant": 1, "model": "m",
    "prompt": "A mug.", "image_size": "2K", "aspect_ratio": "1:1", "reference_hashes": ["a", "b"],
}  # fmt: skip
TEXT = st.text(st.characters(codec=None), max_size=8)  # lone surrogates too
LINES = st.text(st.sampled_from('a\n"\\\x7f\u2028\ud83d😀'))
CONTROLS = st.text(st.sampled_from('a\n"\t\r\b\f\x00\x1f'))
KEYS = st.fixed_dictionaries(
    {name: TEXT for name, value in FIELDS.items() if isinstance(value, str)}
    | {"variant": st.integers(1, 10), "reference_hashes": st.lists(TEXT, max_size=3)}
)


def keys(product: Product = MUG, shot: Shot = SHOT, photos: tuple[Reference, ...] = (A, B), **more: Any) -> list[str]:
    given_ = {"missing": (), "default_model": "m", "shot_list_hash": "h"} | more
    return [job.key for job in jobs_for(product, shot, ANY, photos, **given_)]


def test_one_job_a_variant_with_everything_in_it() -> None:
    first, second = jobs_for(MUG, SHOT, ANY, [B, A], ["unrelated.jpg"], "usual-model", "h1")
    assert (first.variant, second.variant) == (1, 2)
    assert first.key != second.key
    assert first._replace(key=second.key, variant=2) == second
    assert (first.catalog, first.product_key, first.variant_key, first.shot) == ("shop", "mug", "blue", "front")
    assert (first.model, first.aspect_ratio, first.image_size, first.shot_list_hash) == (
        "usual-model",
        "1:1",
        "2K",
        "h1",
    )
    assert first.references == (A, B)  # the catalog's order, whatever order they were read in
    assert first.missing_references == ()
    assert "Title: Mug\n" in first.prompt


def test_a_shot_says_its_own_model() -> None:
    assert jobs_for(MUG, SHOT.model_copy(update={"model": "own"}), ANY, [A, B], [], "usual", "h")[0].model == "own"


def test_a_shot_that_is_not_for_the_product_makes_no_job() -> None:
    shot = Shot.model_validate(SHOT.model_dump() | {"when": {"category": ["Shoes"]}})
    assert jobs_for(MUG, shot, ANY, [A, B], [], "m", "h") == []


def test_only_the_photos_the_shot_asks_for_are_sent() -> None:
    assert jobs_for(MUG, SHOT.model_copy(update={"references": 1}), ANY, [A, B], [], "m", "h")[0].references == (A,)
    assert jobs_for(MUG, SHOT.model_copy(update={"references": 0}), ANY, [A, B], [], "m", "h")[0].references == ()


def test_a_photo_that_could_not_be_read_is_told_and_changes_the_key() -> None:
    job = jobs_for(MUG, SHOT, ANY, [B], ["a.jpg"], "m", "h")[0]
    assert (job.references, job.missing_references) == ((B,), ("a.jpg",))
    whole, without_a, without_b = keys(), keys(photos=(B,), missing=["a.jpg"]), keys(photos=(A,), missing=["b.jpg"])
    assert len({*whole, *without_a, *without_b}) == 6


def test_a_photo_nobody_speaks_of_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match=r"neither read nor reported missing: \['a.jpg'\]"):
        jobs_for(MUG, SHOT, ANY, [B], [], "m", "h")


def test_a_shot_that_needs_a_photo_says_which_product_has_none() -> None:
    shot = SHOT.model_copy(update={"needs_reference": True})
    assert len(jobs_for(MUG, shot, ANY, [A, B], [], "m", "h")) == 2
    with pytest.raises(
        PackshotError, match="'mug/blue', shot 'front' needs a photo, but the product has none"
    ) as caught:
        jobs_for(MUG._replace(image_refs=()), shot, ANY, [], [], "m", "h")
    assert caught.value.code is Code.PHOTO_NEEDED
    with pytest.raises(PackshotError, match="this wire format sends none"):
        jobs_for(MUG, shot.model_copy(update={"references": 0}), ANY, [], [], "m", "h")


@pytest.mark.parametrize(
    "change",
    [
        {"sku": "M-2"}, {"status": "draft"}, {"source": "b.csv"}, {"record": 9}, {"line": 9},
        {"attributes": dict(sorted(MUG.attributes.items(), reverse=True))},
        {"attributes": {**MUG.attributes, "Price": "9.90", "Barcode": "4006381333931"}},
        {"title": " Mug\n"}, {"image_refs": ("a.jpg", "b.jpg", "c.jpg")},
    ],
)  # fmt: skip
def test_what_does_not_show_does_not_buy_again(change: dict[str, Any]) -> None:
    assert keys(MUG._replace(**change)) == keys()


def test_another_shot_list_or_place_of_a_photo_does_not_buy_again() -> None:
    assert keys(shot_list_hash="other") == keys()
    assert keys(photos=(replace(A, path="/y/a", mime="image/png"), B)) == keys()
    assert keys(shot=SHOT.model_copy(update={"variants": 1})) == keys()[:1]


@pytest.mark.parametrize(
    "change",
    [
        {"catalog": "x"}, {"product_key": "x"}, {"variant_key": "x"}, {"title": "x"}, {"description": "x"},
        {"category": "x"}, {"brand": "x"}, {"attributes": {"Color": "Red"}}, {"image_refs": ("b.jpg", "a.jpg")},
    ],
)  # fmt: skip
def test_what_shows_makes_a_new_picture(change: dict[str, Any]) -> None:
    assert not set(keys(MUG._replace(**change))) & set(keys())


@pytest.mark.parametrize(
    "change",
    [{"name": "x"}, {"prompt": "x"}, {"model": "x"}, {"aspect_ratio": "4:5"}, {"image_size": "4K"}, {"references": 1}],
)
def test_a_changed_shot_makes_a_new_picture(change: dict[str, Any]) -> None:
    assert not set(keys(shot=SHOT.model_copy(update=change))) & set(keys())


def test_a_changed_photo_makes_a_new_picture() -> None:
    assert not set(keys(photos=(A, replace(B, sha256="c" * 64)))) & set(keys())


@settings(deadline=None)  # other work on the machine must not fail it
@given(KEYS, KEYS)
def test_keys_are_equal_exactly_when_the_fields_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (job_key(**one) == job_key(**other)) == (one == other)
    assert job_key(**one) == job_key(**dict(reversed(one.items())))


@settings(deadline=None)  # other work on the machine must not fail it
@given(KEYS, LINES | CONTROLS)
def test_a_key_is_over_the_json_of_its_fields(fields: dict[str, Any], prompt: str) -> None:
    fields |= {"prompt": prompt}
    names = ("catalog", "product_key", "variant_key", "shot", "variant", "model", "prompt", "image_size")
    decides = [1, *(fields[name] for name in names), fields["aspect_ratio"], fields["reference_hashes"]]
    said = json.dumps(decides, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    assert job_key(**fields) == hashlib.sha256(said).hexdigest()


@settings(deadline=None)  # other work on the machine must not fail it
@given(KEYS, st.sampled_from(sorted(FIELDS)), st.data())
def test_any_one_field_changes_the_key(fields: dict[str, Any], name: str, data: st.DataObject) -> None:
    kind = {"variant": st.integers(1, 10), "reference_hashes": st.lists(TEXT, max_size=3)}.get(name, TEXT)
    other = data.draw(kind.filter(lambda value: value != fields[name]))
    assert job_key(**fields | {name: other}) != job_key(**fields)


@settings(deadline=None)  # other work on the machine must not fail it
@given(st.text(st.sampled_from('ab",[]\\ \ud83d\ude00😀'), min_size=1), st.data())
def test_moving_the_border_between_fields_changes_the_key(text: str, data: st.DataObject) -> None:
    cuts = [data.draw(st.integers(0, len(text))) for _ in range(2)]
    for left, right in [
        ("catalog", "product_key"),
        ("product_key", "variant_key"),
        ("variant_key", "shot"),
        ("shot", "model"),
    ]:
        one, other = ({left: text[:cut], right: text[cut:]} for cut in cuts)
        assert (job_key(**FIELDS | one) == job_key(**FIELDS | other)) == (cuts[0] == cuts[1])
    keys_of_hashes = {job_key(**FIELDS | {"reference_hashes": [text[:cut], text[cut:]]}) for cut in cuts}
    assert len(keys_of_hashes) == len(set(cuts))
    assert job_key(**FIELDS | {"reference_hashes": [text]}) != job_key(**FIELDS | {"reference_hashes": [text, ""]})


def test_half_surrogates_are_not_the_whole_character() -> None:
    assert job_key(**FIELDS | {"product_key": "\ud83d\ude00"}) != job_key(**FIELDS | {"product_key": "😀"})


def test_keys_of_today_stay() -> None:
    """When one of these fails, every user buys every picture again: only together with a new KEY_VERSION."""
    assert KEY_VERSION == 1
    assert job_key(**FIELDS) == "29ac71834f696382e834b1894117f94aceb712147dce8d30f85242fc6c984118"
    assert [key[:16] for key in keys()] == ["fa106c85b2411425", "40b321b56b9773ca"]
