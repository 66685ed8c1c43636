"""Channels: the presets fit what the API makes, and a shot cannot contradict one."""

from __future__ import annotations

from math import isclose
from pathlib import Path
from typing import get_args

import pytest

from packshot.apiyi.sizes import pixels
from packshot.catalog.model import Product
from packshot.errors import Code, ConfigError
from packshot.shots import Shot, jobs_for
from packshot.shots.archetypes import Archetypes
from packshot.shots.channels import channels, framing
from packshot.shots.load import parse_shot_list
from packshot.shots.model import ImageSize

SHOT = """\
version: 1
shots:
  - name: main
    channel: walmart
    prompt: "{{ facts }} {{ background }} {{ frame_share }} {{ aspect_ratio }}"
"""
WHITE = {"amazon_main", "google_main", "walmart", "zalando_packshot"}


@pytest.mark.parametrize("name", channels())
def test_the_master_has_all_the_pixels_and_no_smaller_one_has(name: str) -> None:
    channel = channels()[name]
    width, height = map(int, channel.aspect.split(":"))
    best, least = channel.best_px, channel.min_px
    assert isclose(best[0] / best[1], width / height, rel_tol=0.002)
    enough = []
    for size in get_args(ImageSize):
        made = pixels(channel.aspect_ratio, size)
        cropped = (min(made[0], made[1] * width / height), min(made[1], made[0] * height / width))
        if cropped[0] >= best[0] and cropped[1] >= best[1]:
            enough.append(size)
    assert enough[0] == channel.image_size
    assert (least[0] <= best[0], least[1] <= best[1]) == (True, True)
    made = pixels(channel.aspect_ratio, channel.image_size)
    assert channel.needs_crop == (made[0] * height != made[1] * width)
    assert channel.mime[0] == "image/jpeg"


def test_what_the_channels_are_known_for() -> None:
    table = {name: (c.aspect_ratio, c.image_size, c.best_px, c.needs_crop, c.max_mb) for name, c in channels().items()}
    assert table["amazon_main"] == ("1:1", "2K", (2000, 2000), False, 10)
    assert table["walmart"] == ("1:1", "4K", (2200, 2200), False, 5)  # 2200 are more than 2K has
    assert table["zalando_packshot"] == ("2:3", "4K", (1801, 2600), True, 20)
    assert table["instagram"] == ("4:5", "2K", (1080, 1350), True, 8)
    assert {name for name, c in channels().items() if c.background and "#FFFFFF" in c.background} == WHITE


def test_every_rule_names_its_source() -> None:
    import packshot.shots

    text = (Path(packshot.shots.__file__).parent / "channels.yaml").read_text("utf-8")
    assert text.count("https://") >= len(channels()) - 4  # amazon_main, google's second, the shop's own banners


@pytest.mark.parametrize(
    ("channel", "wants", "gets"),
    [(None, 75, 75), ("amazon_main", 75, 85), ("amazon_main", 90, 90), ("google_main", 95, 90), ("shopify", 60, 60)],
)
def test_the_share_of_the_frame_keeps_the_channels_rule(channel: str | None, wants: int, gets: int) -> None:
    assert framing(channel, wants).share == gets


def test_a_channel_fixes_ratio_size_and_background() -> None:
    [shot] = parse_shot_list(SHOT, "shop.yaml").shots
    assert (shot.aspect_ratio, shot.image_size, shot.channel) == ("1:1", "4K", "walmart")
    [job] = jobs_for(Product("c", "p", title="Mug"), shot, Archetypes()["jewellery"], [], [], "m", "h")
    assert (job.aspect_ratio, job.image_size) == ("1:1", "4K")
    assert "pure white (#FFFFFF" in job.prompt
    assert job.prompt.endswith("75 1:1")
    plain = shot.model_copy(update={"channel": None})
    [other] = jobs_for(Product("c", "p", title="Mug"), plain, Archetypes()["jewellery"], [], [], "m", "h")
    assert "pure white" not in other.prompt
    assert "#F2F2F2" in other.prompt
    assert other.key != job.key


def test_saying_the_same_as_the_channel_is_no_mistake() -> None:
    said = SHOT.replace("channel: walmart", "channel: walmart\n    aspect_ratio: 1:1\n    image_size: 4K")
    assert parse_shot_list(said, "shop.yaml").hash == parse_shot_list(SHOT, "shop.yaml").hash
    [shot] = parse_shot_list(said, "shop.yaml").shots
    assert Shot.model_validate(shot.model_dump()) == shot


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("channel: walmart\n    image_size: 2K", [":5: shot 'main', image_size found '2K'", "walmart needs '4K'"]),
        (
            "channel: walmart\n    aspect_ratio: 4:5",
            [":5: shot 'main', aspect_ratio found '4:5'", "walmart needs '1:1'"],
        ),
        ("channel: wallmart", [":4: shot 'main', channel found 'wallmart'", "did you mean 'walmart'?", "amazon_main"]),
        ("channel: [walmart]", ["shot 'main', channel", "allowed: amazon_main"]),
        ("channel:", ["aspect_ratio is missing", "image_size is missing"]),
    ],
)
def test_a_contradiction_is_refused(change: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_shot_list(SHOT.replace("channel: walmart", change), "shop.yaml")
    assert caught.value.code is Code.SHOTS_INVALID
    for word in words:
        assert word in caught.value.message, caught.value.message
