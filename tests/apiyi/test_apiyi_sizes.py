from __future__ import annotations

from typing import get_args

import pytest

from packshot.apiyi import ASPECT_RATIOS, SIZES, pixels, size_text
from packshot.errors import Code, ConfigError
from packshot.shots.model import AspectRatio, ImageSize

# The provider's published table, written out.
TABLE = {
    "1:1": ["1024x1024", "2048x2048", "4096x4096"],
    "2:3": ["848x1264", "1696x2528", "3392x5056"],
    "3:2": ["1264x848", "2528x1696", "5056x3392"],
    "3:4": ["896x1200", "1792x2400", "3584x4800"],
    "4:3": ["1200x896", "2400x1792", "4800x3584"],
    "4:5": ["928x1152", "1856x2304", "3712x4608"],
    "5:4": ["1152x928", "2304x1856", "4608x3712"],
    "9:16": ["768x1376", "1536x2752", "3072x5504"],
    "16:9": ["1376x768", "2752x1536", "5504x3072"],
    "21:9": ["1584x672", "3168x1344", "6336x2688"],
}


@pytest.mark.parametrize("ratio", TABLE)
def test_pixels_are_those_of_the_published_table(ratio: str) -> None:
    assert [size_text(ratio, size) for size in ("1K", "2K", "4K")] == TABLE[ratio]


def test_every_ratio_and_size_a_shot_list_may_name_is_known() -> None:
    assert set(ASPECT_RATIOS) == set(get_args(AspectRatio)) == set(TABLE)
    assert set(SIZES) == set(get_args(ImageSize))


@pytest.mark.parametrize(
    ("ratio", "size", "named"), [("7:5", "1K", "'7:5'"), ("1:1", "4k", "'4k'"), ("1:1", "512", "1K, 2K, 4K")]
)
def test_what_the_api_does_not_make_is_refused_by_name(ratio: str, size: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        pixels(ratio, size)
    assert caught.value.code is Code.SHOTS_INVALID
