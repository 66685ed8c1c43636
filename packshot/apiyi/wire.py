"""The interface between the client and the two wire formats."""

from __future__ import annotations

from typing import Protocol

from packshot.apiyi.gemini import GeminiFormat
from packshot.apiyi.images import ImagesFormat
from packshot.apiyi.model import ImageRequest
from packshot.settings import Settings


class Wire(Protocol):
    """How an image is asked for. Answers need no such thing: :func:`read_answer` knows every shape."""

    def path(self, request: ImageRequest) -> str:
        """Path of the endpoint, with its leading slash."""
        ...

    def body(self, request: ImageRequest) -> bytes:
        """The JSON to post. Raises ConfigError for what this format or model cannot express."""
        ...


def wire_for(settings: Settings) -> Wire:
    """The wire format the settings choose."""
    return GeminiFormat() if settings.apiyi_format == "gemini" else ImagesFormat(settings.apiyi_response)
