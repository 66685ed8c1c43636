"""Channels: what Amazon, Google and others want of a picture, as presets that a shot can name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from packshot.did_you_mean import did_you_mean
from packshot.errors import Code
from packshot.shots.archetypes import Percent
from packshot.shots.model import AspectRatio, ImageSize
from packshot.yaml_file import FaultAt, Grammar, parse_yaml

_STRICT = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

Pixels = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
"""Width and height."""


class Channel(BaseModel):
    """What one channel wants; channels.yaml explains the fields."""

    model_config = _STRICT

    purpose: str = Field(alias="for")
    aspect_ratio: AspectRatio
    image_size: ImageSize
    aspect: Annotated[str, Field(pattern=r"^[0-9]+:[0-9]+$")]
    needs_crop: bool
    min_px: Pixels
    best_px: Pixels
    mime: tuple[str, ...]
    max_mb: int | None = None
    background: str | None = None
    share: tuple[Percent, Percent] | None = None

    @property
    def description(self) -> str:
        """What to do with the master, for people."""
        (width, height), (least_width, least_height) = self.best_px, self.min_px
        crop = f"cropped to exactly {self.aspect}" if self.needs_crop else "whole"
        most = f", at most {self.max_mb} MB" if self.max_mb else ""
        return (
            f"{self.purpose}: the {self.image_size} master of {self.aspect_ratio}, {crop}, "
            f"scaled to {width} x {height} (never below {least_width} x {least_height}), {' or '.join(self.mime)}{most}"
        )


class Framing(NamedTuple):
    """What prompts say as ``background`` and ``frame_share`` (percent)."""

    background: str
    share: int


class _File(BaseModel):
    model_config = _STRICT

    background: str
    channels: Mapping[str, Channel]


@lru_cache(maxsize=1)
def _file() -> _File:
    text = resources.files("packshot.shots").joinpath("channels.yaml").read_text("utf-8")
    return parse_yaml(
        text, "channels.yaml", _File, Grammar("the channels", Code.SHOTS_INVALID, "`channels:`", lambda _: Channel)
    )


def channels() -> Mapping[str, Channel]:
    """All presets by name."""
    return _file().channels


def framing(channel: str | None, share: int) -> Framing:
    """Background and share of the frame: the channel's where it has a rule; ``share`` is what the archetype wants."""
    preset = channels()[channel] if channel else None
    least, most = preset.share if preset and preset.share else (share, share)
    return Framing((preset and preset.background) or _file().background, min(max(share, least), most))


def with_preset(shot: dict[str, Any]) -> dict[str, Any]:
    """A shot's fields as they were written, with those that its channel fixes.

    Raises:
        FaultAt: there is no such channel, or the shot says otherwise.
    """
    name = shot.get("channel")
    if name is None:
        return shot
    preset = channels().get(name) if isinstance(name, str) else None
    if preset is None:
        there = ", ".join(channels())
        raise FaultAt(f"found {name!r}{did_you_mean(str(name), channels())} (allowed: {there})", ("channel",))
    fixed = {"aspect_ratio": preset.aspect_ratio, "image_size": preset.image_size}
    for field, value in fixed.items():
        if shot.get(field, value) != value:
            raise FaultAt(
                f"found {shot[field]!r}, and the channel {name} needs {value!r}: leave out one of the two", (field,)
            )
    return shot | fixed
