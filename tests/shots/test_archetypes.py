"""Archetypes: which category leads to which, and what a shot list may change."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog.model import Product
from packshot.errors import Code, ConfigError
from packshot.shots import Reference, Shot, jobs_for, load_shot_list
from packshot.shots.archetypes import GENERIC, Archetypes, packaged_entries, steps_of
from packshot.shots.load import parse_shot_list

TABLE = Archetypes()
WORDS = ("pose", "angle", "light", "scene", "surface", "closeup")
OWN = """\
version: 1
archetypes:
  footwear:
    categories: [Winter > On your feet]
    share: 70
  bicycles:
    like: toys
    categories: [Bicycles]
    pose: The bicycle stands upright.
shots:
  - name: front
    aspect_ratio: 1:1
    image_size: 1K
    prompt: "{{ facts }} {{ archetype.name }}: {{ archetype.pose }} {{ archetype.scene }} {{ frame_share }}"
"""


@pytest.mark.parametrize(
    ("category", "name", "entry"),
    [
        ("Apparel & Accessories > Clothing > Clothing Tops > Shirts", "apparel", "Shirts"),
        ("Apparel & Accessories > Clothing > Kimonos", "apparel", "Apparel & Accessories > Clothing"),
        ("Apparel & Accessories > Shoes", "footwear", "Apparel & Accessories > Shoes"),
        ("apparel and accessories / shoes", "footwear", "Apparel & Accessories > Shoes"),
        ("Apparel & Accessories > Jewelry > Watches", "jewellery", "Watches"),
        ("Clothing > Shoes", "footwear", "Shoes"),
        ("Shoes > Clothing", "apparel", "Clothing"),
        ("Apparel & Accessories > Handbags, Wallets & Cases > Handbags", "bags", "Handbags"),
        ("Luggage & Bags > Backpacks > Daypacks", "bags", "Backpacks"),
        ("Health & Beauty > Personal Care > Cosmetics > Bath & Body > Bar Soap", "beauty", "Bath & Body"),
        ("Food, Beverages & Tobacco > Food Items > Candy", "food", "Food, Beverages & Tobacco"),
        ("Electronics > Audio > Audio Players", "electronics", "Audio"),
        ("Furniture > Office Furniture > Desks", "furniture", "Desks"),
        ("Home & Garden > Kitchen & Dining > Tableware > Drinkware > Mugs", "homeware", "Mugs"),
        ("Home & Garden > Kitchen & Dining > Kitchen Appliances > Toasters", "electronics",
         "Home & Garden > Kitchen & Dining > Kitchen Appliances"),
        ("Toys & Games > Toys > Dolls > Doll Shoes", "toys", "Dolls"),  # a step is compared whole
        ("Hardware > Tools > Hammers", "tools", "Tools"),
        ("MEN|SHOES|SNEAKERS", "footwear", "Sneakers"),
        ("Shoe", "footwear", "Shoes"),
        ("T-shirt", "apparel", "T-Shirts"),
        ("New > Women; Women > Shoes; Women > Dresses", "footwear", "Shoes"),
        ("Snowshoes", GENERIC, ""),
        ("Shoe care", GENERIC, ""),
        ("Schuhe", GENERIC, ""),
        (" > ", GENERIC, ""),
        ("", GENERIC, ""),
    ],
)  # fmt: skip
def test_a_category_leads_to_an_archetype(category: str, name: str, entry: str) -> None:
    choice = TABLE.choose(category)
    assert (choice.archetype.name, choice.entry) == (name, entry)
    assert choice.why.startswith(f"{name}: ")
    assert entry in choice.why


def test_every_entry_leads_to_its_own_archetype_and_no_two_are_equal() -> None:
    entries = [(name, category) for name, entry in packaged_entries().items() for category in entry.categories]
    assert len(entries) > 100
    assert len({steps_of(category) for _, category in entries}) == len(entries)
    for name, category in entries:
        assert TABLE.choose(category).archetype.name == name
        assert TABLE.choose(f"Anything > {category.upper()} > 2026").archetype.name == name


@pytest.mark.parametrize("name", TABLE.names)
def test_the_texts_are_sentences_for_every_kind_of_order(name: str) -> None:
    archetype = TABLE[name]
    for word in WORDS:
        text = getattr(archetype, word)
        assert "image 1" not in text.lower(), "only `keep` is printed together with a photo"
        assert not set("{}<>#") & set(text)
    for word in ("pose", "angle", "light", "keep", "surface"):  # the others end a sentence of the prompt
        text = getattr(archetype, word)
        assert (text[0].isupper(), text[-1]) == (True, "."), (word, text)
    assert "image 1" in archetype.keep
    assert archetype.person is False


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters=">/|;"))))
def test_no_category_breaks_it(steps: list[str]) -> None:
    for mark in (">", "/", "|", " > "):
        assert TABLE.choose(mark.join(steps)) == TABLE.choose(mark.join(steps))
    assert TABLE.choose(" > ".join([*steps, "Shoes"])).archetype.name == "footwear"


# --- what a shot list says ------------------------------------------------------------------------------------------
def test_a_list_changes_and_adds() -> None:
    shots = parse_shot_list(OWN, "shop.yaml")
    packaged = TABLE["footwear"]
    winter = shots.choose(Product("c", "p", category="Winter > On your feet > Warm")).archetype
    assert (winter.name, winter.share, winter.pose) == ("footwear", 70, packaged.pose)
    assert shots.choose(Product("c", "p", category="Shoes")).archetype == winter  # packshot's categories remain
    bicycle = shots.choose(Product("c", "p", category="Sport > Bicycle")).archetype
    assert (bicycle.name, bicycle.pose, bicycle.scene) == (
        "bicycles",
        "The bicycle stands upright.",
        TABLE["toys"].scene,
    )
    assert load_shot_list(None).choose(Product("c", "p", category="Bicycles")).archetype.name == GENERIC


def test_an_entry_of_the_list_takes_the_place_of_packshots() -> None:
    shots = parse_shot_list(OWN.replace("[Bicycles]", "[SHOE]"), "shop.yaml")
    assert shots.choose(Product("c", "p", category="Shoes")).archetype.name == "bicycles"


def test_a_text_is_part_of_the_prompt_and_so_of_the_key() -> None:
    product = Product("c", "p", title="Bike", category="Bicycles")

    def job(text: str, more: str = "") -> tuple[str, str, str, int]:
        shots = parse_shot_list(text + more, "shop.yaml")
        [job] = jobs_for(product, shots.shots[0], shots.choose(product).archetype, [], [], "m", shots.hash)
        return job.key, job.template_hash, job.shot_list_hash, job.template_version

    key, wording, listed, version = job(OWN)
    assert version == 1
    other = job(OWN.replace("stands upright", "leans on a wall"))
    assert (other[0] == key, other[1] == wording, other[2] == listed) == (False, False, False)
    unused = job(OWN.replace("share: 70", "share: 71"))
    assert (unused[0] == key, unused[1] == wording, unused[2] == listed) == (True, True, False)
    version_only = job(OWN, "    template_version: 7\n")
    assert (version_only[0] == key, version_only[1] == wording, version_only[3]) == (True, True, 7)


def test_the_wording_is_told_apart_where_prompts_are() -> None:
    shot = load_shot_list(None).shots[0]
    product, photo = Product("c", "p", title="Thing", image_refs=("a",)), Reference("a", "0" * 64, "a", "image/jpeg")
    jobs = [jobs_for(product, shot, TABLE[name], [photo], [], "m", "h")[0] for name in TABLE.names]
    assert len({job.prompt for job in jobs}) == len({job.template_hash for job in jobs}) == len(TABLE.names)
    assert all(len(job.template_hash) == 12 for job in jobs)


def test_shots_can_be_for_archetypes() -> None:
    shots = parse_shot_list(OWN + "    when: {archetype: [footwear, bicycles]}\n", "shop.yaml")
    [shot] = shots.shots
    product = Product("c", "p", title="x", category="Shoes")
    assert [shot.applies_to(product, name) for name in ("footwear", "bicycles", "toys")] == [True, True, False]


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_shot_list(text, "shop.yaml")
    assert caught.value.code is Code.SHOTS_INVALID
    return caught.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("like: toys", "like: toy"), [":7: archetype 'bicycles', like", "'toy'", "did you mean 'toys'?", "generic"]),
        (("share: 70", "like: toys"), [":5: archetype 'footwear', like", "comes with packshot"]),
        (("share: 70", "shape: 70"), ["archetype 'footwear', shape is not a field", "did you mean 'share'?"]),
        (("share: 70", "share: 7"), ["archetype 'footwear', share", "greater than or equal to 10", "'7'"]),
        (("share: 70", "person: maybe"), ["must be true or false (found 'maybe')"]),
        (("pose: The bicycle stands upright.", "pose: ''"), ["archetype 'bicycles', pose must not be empty"]),
        (("[Bicycles]", "['Bicycles > > Racing']"), [":8: archetype 'bicycles', categories.0", "without a word"]),
        (("  bicycles:", "  Bi Cycles:"), ["lower-case letters and digits"]),
        (("archetype.scene", "archetype.scenery"), [":14:", "'archetype.scenery' - did you mean 'scene'?"]),
        (("1K\n", "1K\n    when: {archetype: [footwear, bicycle]}\n"),
         [":14: shot 'front', when.archetype", "'bicycle' - did you mean 'bicycles'?"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_place_and_cure(change: tuple[str, str], words: list[str]) -> None:
    assert change[0] in OWN
    message = refusal(OWN.replace(*change, 1))
    for word in words:
        assert word in message, message


def test_a_hash_of_a_part_is_its_own() -> None:
    shots = parse_shot_list(OWN + OWN[OWN.index("  - name") :].replace("front", "back"), "shop.yaml")
    assert len({shots.hash, shots.select(["back"]).hash, shots.select(["front"]).hash}) == 3
    assert shots.select(["back"]).table["footwear"].share == shots.without_photos().table["footwear"].share == 70


def test_a_person_comes_only_where_it_is_asked_for() -> None:
    text = OWN.split("shots:")[0].replace("share: 70", "person: true")
    lifestyle = load_shot_list(None).select(["lifestyle"]).shots[0]
    shots = parse_shot_list(f"{text}shots: [{{name: a, aspect_ratio: '1:1', image_size: 1K, prompt: x}}]", "shop.yaml")
    product = Product("c", "p", title="Boot", category="Shoes")
    with_person, without = (
        jobs_for(product, lifestyle, table.choose(product.category).archetype, [], [], "m", "h")[0].prompt
        for table in (shots.table, TABLE)
    )
    assert ("One adult wears" in with_person, "Nobody is in the picture" in with_person) == (True, False)
    assert ("One adult wears" in without, "Nobody is in the picture" in without) == (False, True)


def test_a_missing_text_would_be_refused() -> None:
    """Texts are strict variables: a template cannot print nothing in the place of one."""
    with pytest.raises(ValueError, match=r"archetype\.mood"):
        Shot(name="a", aspect_ratio="1:1", image_size="1K", prompt="{{ archetype.mood }}")
