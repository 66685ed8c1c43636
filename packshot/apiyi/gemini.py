"""Wire format ``gemini``: ``:generateContent`` as Google defines it and APIYI documents it.

The image comes back as base64, or, for a token of an OSS group, as a URL inside a text part.
"""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

from packshot.apiyi.model import ImageRequest
from packshot.apiyi.sizes import pixels
from packshot.errors import Code, ConfigError, PackshotError

# docs.apiyi.com: the first generation and the Lite model make 1K only, and a call that names imageSize fails.
_ONE_SIZE = re.compile(r"gemini-2\.5-flash-image|-flash-lite-image")


class GeminiFormat:
    def path(self, request: ImageRequest) -> str:
        return f"/v1beta/models/{quote(request.model, safe='')}:generateContent"

    def body(self, request: ImageRequest) -> bytes:
        """One text part, then one part for each photo, in the order the prompt counts them.

        Put together from pieces, so that at most one photo is in memory beside the body.

        Raises:
            ConfigError: a ratio or resolution the API, or this model, does not make.
            PackshotError: REFERENCE_UNAVAILABLE, a photo's file cannot be read.
        """
        pieces = [b'{"contents":[{"role":"user","parts":[', _dump({"text": request.prompt})]
        for path, mime in request.references:
            try:
                photo = base64.b64encode(path.read_bytes())
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise PackshotError(Code.REFERENCE_UNAVAILABLE, f"the photo {path} cannot be read: {reason}") from None
            pieces += [b',{"inlineData":{"mimeType":', _dump(mime), b',"data":"', photo, b'"}}']
        config = {"responseModalities": ["IMAGE"], "imageConfig": _image_config(request)}
        pieces += [b']}],"generationConfig":', _dump(config), b"}"]
        return b"".join(pieces)


def _image_config(request: ImageRequest) -> dict[str, str]:
    pixels(request.aspect_ratio, request.image_size)  # refuses what the API does not make
    config = {"aspectRatio": request.aspect_ratio}
    if not _ONE_SIZE.search(request.model):
        config["imageSize"] = request.image_size
    elif request.image_size != "1K":
        raise ConfigError(
            Code.SHOTS_INVALID,
            f"model {request.model} makes 1K images only, and this shot asks for {request.image_size}",
        )
    return config


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
