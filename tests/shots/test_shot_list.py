"""Shot lists: what loads, what is refused in which words, and which products a shot is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from packshot.catalog.model import Product
from packshot.errors import Code, ConfigError
from packshot.shots import Shot, When, load_shot_list
from packshot.shots.load import parse_shot_list

GOOD = """\
version: 1
shots:
  - name: front
    aspect_ratio: 4:5
    image_size: 2K
    prompt: |
      A photo.
      {{ facts }}
  - name: back
    aspect_ratio: 16:9
    image_size: 4K
    model: other-model
    variants: 3
    references: 2
    needs_reference: true
    prompt: The back of {{ title }}.
    when:
      category: [Shoes]
      attributes: {colour: [red, blue]}
"""


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_shot_list(text, "shop.yaml")
    assert caught.value.code is Code.SHOTS_INVALID
    return caught.value.message


def test_fields_arrive_and_ratios_stay_ratios() -> None:
    front, back = parse_shot_list(GOOD, "shop.yaml").shots
    # Plain YAML 1.1 reads 4:5 and 16:9 as the base-60 numbers 245 and 969.
    assert (front.aspect_ratio, back.aspect_ratio) == ("4:5", "16:9")
    assert (front.model, front.variants, front.references, front.needs_reference, front.when) == (
        None, 1, 0, False, None,
    )  # fmt: skip
    assert (back.model, back.variants, back.references, back.needs_reference) == ("other-model", 3, 2, True)
    assert back.when == When(category=("Shoes",), attributes={"colour": ("red", "blue")})
    assert front.prompt == "A photo.\n{{ facts }}"


def test_the_packaged_list_is_what_none_means() -> None:
    shots = load_shot_list(None)
    assert shots.names == ("packshot", "lifestyle", "detail")
    assert [s.aspect_ratio for s in shots.shots] == ["1:1", "4:5", "1:1"]
    assert {s.image_size for s in shots.shots} == {"2K"}


def test_the_example_loads() -> None:
    shots = load_shot_list(Path(__file__).parents[2] / "examples/shots/shop.yaml")
    assert shots.names == ("packshot", "amazon", "pair", "sparkle", "banner")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("prompt: The", "promt: The"), ["shop.yaml:16: shot 'back', promt", "mean 'prompt'?", "allowed: name"]),
        (("aspect_ratio: 4:5", "aspect_ratio: 4x5"), [":4: shot 'front', aspect_ratio", "'4x5'", "did you mean '4:5'"]),
        (("image_size: 2K", "image_size: 2k"), [":5: shot 'front', image_size", "'2k'", "did you mean '2K'"]),
        (("image_size: 2K\n", "\n"), [":3: shot 'front', image_size is missing"]),
        (("variants: 3", "variants: 11"), [":13: shot 'back', variants", "less than or equal to 10", "found '11'"]),
        (("variants: 3", "variants: few"), ["must be a whole number (found 'few')"]),
        (("references: 2", "references: 15"), ["shot 'back', references", "less than or equal to 14"]),
        (("references: 2", "references: 0"), ["shot 'back': needs_reference is true", "1 or more"]),
        (("needs_reference: true", "needs_reference: maybe"), ["must be true or false (found 'maybe')"]),
        (("name: back", "name: Back Side"), ["shot 'Back Side', name", "lower-case letters and digits"]),
        (("name: back", "name: front"), ["shots every shot needs a name of its own", "front"]),
        (("category: [Shoes]", "categroy: [Shoes]"), [":18: shot 'back', when.categroy", "did you mean 'category'"]),
        (("category: [Shoes]", "category: Shoes"), ["when.category must be a list, like [a, b] (found 'Shoes')"]),
        (("category: [Shoes]", "category: []"), ["when.category must not be empty (found an empty list)"]),
        (("version: 1", "version: 2"), [":1: version found '2'", "allowed: 1"]),
        (("version: 1\n", ""), ["version is missing"]),
        (("A photo.", "A {{ titel }}."), [":7: shot 'front', prompt", "'titel' - did you mean 'title'?"]),
        (("      {{ facts }}", "      {% if facts %}"), [":8: shot 'front', prompt template error", "endif"]),
        (("{{ facts }}", "{{ facts | uper }}"), [":8: shot 'front', prompt template error", "uper"]),
        (("{{ facts }}", "{% include 'x' %}"), ["include, import and extends cannot be used"]),
        (("{{ facts }}", "{{ ['a', 'b'] | random }}"), ["template error", "random"]),
        (("{{ title }}", "{{ sku }}"), ["unknown template variable 'sku'"]),
        (("name: back", "name: back\n    name: side"), [":10: 'name' is given twice"]),
        (("image_size: 2K", "image_size: [2K"), ["this is not YAML", ":6:"]),
        (("- name: back", "- back\n  - name: back"), ["shot number 2: must hold fields", "found 'back'"]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_place_and_cure(change: tuple[str, str], words: list[str]) -> None:
    old, new = change
    assert old in GOOD
    message = refusal(GOOD.replace(old, new, 1))
    for word in words:
        assert word in message, message


def test_several_mistakes_are_all_told_up_to_five() -> None:
    message = refusal(GOOD.replace("2K", "2k").replace("4:5", "1:2").replace("4K", "8K"))
    assert message.count("shop.yaml:") == 3
    message = refusal("version: 1\nshots: [{name: A}, {name: B}, {name: C}]")
    assert message.count("shop.yaml:") == 5
    assert message.endswith("and 7 more")


def test_a_template_error_below_blank_lines_has_the_right_line() -> None:
    text = (
        "version: 1\nshots:\n- name: a\n  aspect_ratio: 1:1\n  image_size: 1K\n  prompt: |\n\n\n    ok\n    {{ x }}\n"
    )
    assert refusal(text).startswith("shop.yaml:10: shot 'a', prompt")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "the file must hold fields"),
        ("version: 1\nshots: []\n", "shots must not be empty"),
        ("version: 1\nshots: none\n", "shots must be a list"),
        ("a: !!python/object/apply:os.system [ls]\n", "not YAML"),
        ("a: &a [*a]\n", "a is not a field here"),
        ("a: \x00\n", "not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
    ],
)
def test_what_is_no_shot_list_at_all(text: str, word: str) -> None:
    assert word in refusal(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"version: 1 # caf\xe9")
    (tmp_path / "big.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
    for path, word in [
        (tmp_path / "no.yaml", "No such file"),
        (tmp_path, "cannot be read"),
        (tmp_path / "latin.yaml", "not UTF-8"),
        (tmp_path / "big.yaml", "at most"),
    ]:
        with pytest.raises(ConfigError, match=word) as caught:
            load_shot_list(path)
        assert str(path) in caught.value.message


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert load_shot_list(path).names == ("front", "back")


def test_anchors_and_merges_work() -> None:
    text = (
        "version: 1\nshots:\n- &base {name: a, aspect_ratio: 1:1, image_size: 1K, prompt: x}\n- {<<: *base, name: b}\n"
    )
    assert parse_shot_list(text, "f").names == ("a", "b")


def test_hash_is_about_what_is_said() -> None:
    said = parse_shot_list(GOOD, "a.yaml").hash
    same = GOOD.replace("name: front", "variants: 1 # the default\n    name: 'front'").replace(
        "[red, blue]", "['red', \"blue\"]"
    )
    assert parse_shot_list(same, "b.yaml").hash == said
    for old, new in [
        ("A photo.", "A picture."),
        ("2K", "1K"),
        ("[red, blue]", "[red]"),
        ("variants: 3", "variants: 2"),
    ]:
        assert parse_shot_list(GOOD.replace(old, new), "c.yaml").hash != said


def test_select_keeps_the_order_of_the_list_and_refuses_unknown_names() -> None:
    shots = load_shot_list(None)
    assert shots.select(["detail", "packshot"]).names == ("packshot", "detail")
    with pytest.raises(
        ConfigError, match=r"'pakshot' - did you mean 'packshot'\?.*the list has: packshot, lifestyle, detail"
    ):
        shots.select(["detail", "pakshot"])
    with pytest.raises(ConfigError, match="no shot was named"):
        shots.select([])


def test_without_photos_asks_for_none() -> None:
    bare = parse_shot_list(GOOD, "a.yaml").without_photos()
    assert [s.references for s in bare.shots] == [0, 0]
    assert [s.needs_reference for s in bare.shots] == [False, True]
    assert bare.hash != parse_shot_list(GOOD, "a.yaml").hash


def shot_for(when: When | None) -> Shot:
    return Shot(name="s", prompt="x", aspect_ratio="1:1", image_size="1K", when=when)


@pytest.mark.parametrize(
    ("when", "applies"),
    [
        (None, True),
        (When(), True),
        (When(category=("shoes",)), True),
        (When(category=("SHOES > b",)), True),
        (When(category=("boots",)), False),
        (When(category=("*boots",)), True),
        (When(category=("*boot",)), False),
        (When(category=("bags", "sh?es*")), True),
        (When(attributes={"color": ("red",)}), True),
        (When(attributes={"Colour": ("blue", "RED")}), True),
        (When(attributes={"shoe_size": ("42",)}), True),
        (When(attributes={"colour": ("red",), "material": ("suede",)}), False),
        (When(attributes={"sole": ("rubber",)}), False),
        (When(category=("shoes",), attributes={"colour": ("blue",)}), False),
    ],
)
def test_when(when: When | None, applies: bool) -> None:
    attributes = {"Color": "Red", "Shoe size": "42", "Material": "Leather"}
    product = Product("c", "p", category="Shoes > Boots", attributes=attributes)
    assert shot_for(when).applies_to(product, "generic") is applies


def test_photos_are_the_first_ones_each_once() -> None:
    shot = Shot(name="s", prompt="x", aspect_ratio="1:1", image_size="1K", references=2)
    assert shot.photos_of(Product("c", "p", image_refs=("a", "a", "b", "c"))) == ("a", "b")
    assert shot.photos_of(Product("c", "p")) == ()
