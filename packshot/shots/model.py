"""The shot list (what to make of each product) and the image job (one picture to make)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

AspectRatio = Literal["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"]
ImageSize = Literal["1K", "2K", "4K"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A photo sent along with a prompt. ``sha256`` is over the original bytes; ``path`` is the file to send."""

    source: str
    sha256: str
    path: str
    mime: str


class ImageJob(NamedTuple):
    """Product x shot x variant: one image to make. ``key`` covers everything that decides the picture."""

    key: str
    catalog: str
    product_key: str
    variant_key: str
    shot: str
    variant: int
    model: str
    prompt: str
    aspect_ratio: AspectRatio
    image_size: ImageSize
    references: tuple[Reference, ...]
    shot_list_hash: str
    template_hash: str
    """Of the wording: the shot's template, the archetype's texts, background and share. A record, not in the key."""
    template_version: int
    """What the shot list calls this wording."""
    missing_references: tuple[str, ...] = ()
    """Photos the shot asks for that could not be read: such a job is held, never bought."""
    left_out: tuple[str, ...] = ()
    """Photos that could not be read, and that it is made without."""
    remark: str = ""
    """What is wrong with the photos of either kind, for people."""
