"""What goes into a paid call and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

WireFormat = Literal["images", "gemini"]
ResponseFormat = Literal["url", "b64_json"]


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image to buy. ``references`` are image files, already within the API's limits, in the order of the prompt."""

    prompt: str
    model: str
    aspect_ratio: str
    image_size: str
    references: tuple[tuple[Path, str], ...] = ()
    """(file, mime type) pairs."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that holds an image: exactly one of ``url`` and ``path`` is set.

    ``expires_at`` is read from the URL where it says so, else assumed from the settings; always UTC-aware.
    ``path`` is the decoded image in the spool, fsynced. ``body_path`` is the raw answer, kept until the image is
    archived.
    """

    url: str | None
    expires_at: datetime | None
    path: Path | None
    mime: str | None
    body_path: Path
    http_status: int
    request_ids: dict[str, str] = field(default_factory=dict)
    """Response headers that support asks for, lower-case name to value; plus ``responseId`` of the body."""
    model_version: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    stalled: bool = False
    """True when the complete answer was used although the line never closed."""
