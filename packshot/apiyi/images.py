"""Wire format ``images``: OpenAI's ``/v1/images/generations``, answered by a temporary URL or base64."""

from __future__ import annotations

import json
from dataclasses import dataclass

from packshot.apiyi.model import ImageRequest, ResponseFormat
from packshot.apiyi.sizes import size_text
from packshot.errors import Code, ConfigError


@dataclass(frozen=True, slots=True)
class ImagesFormat:
    """``response_format`` is what we ask for; the gateway may send the other one, and that is read too."""

    response_format: ResponseFormat

    def path(self, request: ImageRequest) -> str:
        return "/v1/images/generations"

    def body(self, request: ImageRequest) -> bytes:
        """No ``n``: the gateway ignores it, so one call makes one image.

        Raises:
            ConfigError: the request has reference photos (the endpoint has no field for them), or a ratio or
                resolution the API does not make.
        """
        if request.references:
            raise ConfigError(
                Code.SETTINGS_INVALID,
                f"this shot sends {len(request.references)} reference photo(s), and the format 'images' has no field "
                "for them. Set PACKSHOT_APIYI_FORMAT=gemini",
            )
        order = {
            "model": request.model,
            "prompt": request.prompt,
            "size": size_text(request.aspect_ratio, request.image_size),
            "response_format": self.response_format,
        }
        return json.dumps(order).encode("ascii")
