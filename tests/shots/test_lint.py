"""Lint: each kind of mistake is found, told in a sentence that says what to do, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from packshot.catalog.model import Product
from packshot.shots import load_shot_list
from packshot.shots.lint import CatalogLint, lint
from packshot.shots.load import parse_shot_list

ROOT = Path(__file__).parents[2]
GOOD = """\
version: 1
archetypes:
  bicycles:
    categories: [Bicycles]
shots:
  - name: front
    aspect_ratio: 1:1
    image_size: 1K
    references: 1
    prompt: |
      {% if reference_count %}Image 1 is a photo of the product.{% endif %}
      {{ facts }} The front. {{ background }}
  - name: back
    channel: amazon_main
    prompt: |
      {{ facts }} The back fills {{ frame_share }} percent. {{ background }}
    when:
      archetype: [footwear, bicycles]
      attributes: {colour: [red]}
"""


def found(text: str) -> list[str]:
    return [str(finding) for finding in lint(parse_shot_list(text, "shop.yaml"))]


@pytest.mark.parametrize("path", [None, ROOT / "examples/shots/shop.yaml"])
def test_what_we_ship_has_nothing_to_mend(path: Path | None) -> None:
    assert lint(load_shot_list(path)) == []


def test_a_good_list_has_nothing_to_mend() -> None:
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("The front.", "The front is {{ attributes.size }}.",
         ["'front'", "only the title is known gets no picture", "no attribute 'size'"]),
        ("The front.", "{{ 'x' * 9000 }}", ["'front'", "with long texts gets no picture", "12000 are allowed"]),
        ("{{ facts }} The front. {{ background }}", "The front.", ["'front'", "says nothing of the product"]),
        ("The front.", "{{ title }}, {{ description }}", ["'front'", "{{ description }} outside the facts"]),
        ("{% if reference_count %}Image 1 is a photo of the product.{% endif %}", "",
         ["'front'", "does not say what for"]),
        ("{% if reference_count %}Image 1 is a photo of the product.{% endif %}", "Image 1 is the product.",
         ["'front'", "also when no photo is sent"]),
        (" percent. {{ background }}", " percent.", ["'back'", "amazon_main has a rule for the background"]),
        ("{{ frame_share }}", "85", ["'back'", "amazon_main has a rule for the share"]),
        ("    categories: [Bicycles]\n", "    share: 50\n", ["archetype 'bicycles' is for no product", "categories"]),
        ("[footwear, bicycles]", "[toys]\n      category: [Shoes > Boots]",
         ["'back'", "wants toys", "'Shoes > Boots' is footwear"]),
        ("{colour: [red]}", "{colour: [red], Color: [blue]}", ["'back'", "'colour' in 2 spellings"]),
        ("{colour: [red]}", "{'--': [red]}", ["'back'", "needs a letter or a digit"]),
    ],
)  # fmt: skip
def test_each_mistake_is_told(old: str, new: str, words: list[str]) -> None:
    assert old in GOOD
    told = "\n".join(found(GOOD.replace(old, new, 1)))
    for word in words:
        assert word in told, told


def test_an_attribute_that_the_condition_promises_may_be_printed() -> None:
    assert found(GOOD.replace("The back fills", "The {{ attributes.color }} back fills")) == []


def test_two_shots_that_order_the_same_are_told() -> None:
    front = GOOD[GOOD.index("  - name: front") : GOOD.index("  - name: back")]
    twice = GOOD + front.replace("name: front", "name: again")
    assert found(twice) == [
        "shot 'again': it renders the same prompts as 'front': the same picture would be bought twice"
    ]
    assert found(twice.replace("name: again\n    aspect_ratio: 1:1", "name: again\n    aspect_ratio: 4:5")) == []
    assert found(f"{twice}    when: {{archetype: [toys]}}\n") != []
    apart = twice.replace("name: front\n", "name: front\n    when: {archetype: [food]}\n", 1)
    assert found(f"{apart}    when: {{archetype: [toys]}}\n") == []


def test_a_shot_that_needs_a_photo_may_speak_of_it() -> None:
    text = GOOD.replace("{% if reference_count %}Image 1 is a photo of the product.{% endif %}", "Image 1 is it.")
    assert found(text.replace("references: 1", "references: 1\n    needs_reference: true")) == []


def test_against_a_catalog() -> None:
    tried = CatalogLint(parse_shot_list(GOOD.replace("[Bicycles]", "[Bicycles, Velo]"), "shop.yaml"))
    tried.add([Product("c", str(n), title="x", category="Sport > Bicycles") for n in range(3)])
    tried.add([Product("c", "k", title="x", category="Kites"), Product("c", "l", title="x")])
    assert [str(finding) for finding in tried.findings] == [
        "shot 'back': `when` holds for none of the 5 products of the catalog",
        "archetype 'bicycles': 'Velo' fits no category of the catalog",
    ]
    assert list(tried.notes) == [
        "3 products are bicycles",
        "2 products are generic",
        "categories that no archetype knows: 'Kites' (1), 'none' (1)",
    ]
    tried.add([Product("c", "m", title="x", category="Velo", attributes={"Color": "Red"})])
    assert tried.findings == []
