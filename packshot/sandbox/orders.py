"""What a generation request orders, after the provider's documented parameter checks."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from packshot.sandbox import sizes

Route = Literal["gemini", "images"]

MAX_REFERENCES = 14
MAX_REFERENCE_BYTES = 7 * 1024 * 1024
MAX_UPLOAD_BYTES = 100 * 1024 * 1024
REFERENCE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
IMAGES_ONLY_MODELS = frozenset({"nano-banana-pro"})


class Refused(Exception):
    """The request is refused before anything is made, so it costs nothing. ``kind`` is a fault name."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True)
class Order:
    """One image to make. ``wants`` is how it travels: base64 in the answer, or a temporary URL."""

    route: Route
    model: str
    prompt: str
    aspect_ratio: str
    image_size: str
    wants: Literal["b64", "url"]
    references: tuple[bytes, ...] = ()

    @property
    def pixels(self) -> tuple[int, int]:
        return sizes.pixels(self.aspect_ratio, self.image_size)


def parse_json(raw: bytes) -> dict[str, Any]:
    if len(raw) >= MAX_UPLOAD_BYTES:
        raise Refused("bad_request", f"request of {len(raw)} bytes: an upload must stay below {MAX_UPLOAD_BYTES}")
    try:
        body = json.loads(raw)
    except ValueError:
        raise Refused("bad_request", "the request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise Refused("bad_request", "the request body must be a JSON object")
    return body


def known_model(model: str, route: Route, models: Mapping[str, int]) -> None:
    if model not in models or (route == "gemini" and model in IMAGES_ONLY_MODELS):
        raise Refused("model_not_found")


def read_images_order(body: dict[str, Any]) -> Order:
    """An order of ``POST /v1/images/generations``. Unknown fields (``n`` among them) have no effect."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise Refused("bad_request", "prompt is required")
    size = body.get("size", "1024x1024")
    if size not in sizes.BY_PIXELS:
        raise Refused("bad_request", f"invalid size {size!r}; supported: {', '.join(sizes.BY_PIXELS)}")
    wants = body.get("response_format", "url")
    if wants not in ("url", "b64_json"):
        raise Refused("bad_request", f"invalid response_format {wants!r}; supported: url, b64_json")
    ratio, image_size = sizes.BY_PIXELS[size]
    return Order("images", str(body["model"]), prompt, ratio, image_size, "url" if wants == "url" else "b64")


def read_gemini_order(model: str, body: dict[str, Any], wants: Literal["b64", "url"]) -> Order:
    """An order of ``POST /v1beta/models/{model}:generateContent``."""
    texts, references = _read_parts(body)
    config = _object(body, "generationConfig")
    modalities = config.get("responseModalities", ["TEXT", "IMAGE"])
    if not isinstance(modalities, list) or not {"IMAGE"} <= set(modalities) <= {"TEXT", "IMAGE"}:
        raise Refused("bad_request", f"responseModalities {modalities!r}: use ['IMAGE'] or ['TEXT', 'IMAGE']")
    image = _object(config, "imageConfig")
    ratio, size = _check_image_config(model, image)
    if not ratio:
        ratio = _followed_ratio(references)
    return Order("gemini", model, "\n".join(texts), ratio, size, wants, tuple(references))


def _check_image_config(model: str, image: dict[str, Any]) -> tuple[str, str]:
    ratio, size = image.get("aspectRatio", ""), image.get("imageSize", "")
    flash = "3.1-flash-image" in model
    allowed_sizes = ["1K"] if "lite" in model or "2.5" in model else ["1K", "2K", "4K"]
    if size and "2.5" in model:
        raise Refused("bad_request", f"{model} does not take imageSize: remove it")
    if size and size not in (["512", *allowed_sizes] if flash else allowed_sizes):
        raise Refused("bad_request", f"invalid imageSize {size!r} for {model}; supported: {', '.join(allowed_sizes)}")
    if ratio and (ratio not in sizes.PIXELS_1K or (ratio in sizes.FLASH_ONLY_RATIOS and not flash)):
        raise Refused("bad_request", f"invalid aspectRatio {ratio!r} for {model}")
    return ratio, size or "1K"


def _read_parts(body: dict[str, Any]) -> tuple[list[str], list[bytes]]:
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise Refused("bad_request", "contents is required")
    texts: list[str] = []
    references: list[bytes] = []
    for content in contents:
        parts = content.get("parts") if isinstance(content, dict) else None
        if not isinstance(parts, list) or not parts:
            raise Refused("bad_request", "contents[].parts is required")
        for part in parts:
            _read_part(part, texts, references)
    if len(references) > MAX_REFERENCES:
        raise Refused("bad_request", f"{len(references)} reference images; at most {MAX_REFERENCES} are supported")
    if not "".join(texts).strip():
        raise Refused("bad_request", "a text part is required")
    return texts, references


def _read_part(part: Any, texts: list[str], references: list[bytes]) -> None:
    if not isinstance(part, dict):
        raise Refused("bad_request", "a part must be an object")
    inline = part.get("inlineData", part.get("inline_data"))
    if inline is not None and "text" in part:
        raise Refused("bad_request", "a part must be either text or inlineData, never both")
    if inline is not None:
        references.append(_read_reference(inline))
    elif isinstance(part.get("text"), str):
        texts.append(part["text"])
    elif "fileData" not in part and "file_data" not in part:
        # A picture by URL is accepted and, like an unreachable one, not looked at.
        raise Refused("bad_request", "a part must have text, inlineData or fileData")


def _read_reference(inline: Any) -> bytes:
    if not isinstance(inline, dict) or not isinstance(inline.get("data"), str):
        raise Refused("bad_request", "inlineData needs mimeType and data")
    mime = inline.get("mimeType", inline.get("mime_type"))
    if mime not in REFERENCE_TYPES:
        raise Refused("bad_request", f"unsupported mimeType {mime!r}; supported: {', '.join(sorted(REFERENCE_TYPES))}")
    try:
        data = base64.b64decode(inline["data"], validate=True)
    except (binascii.Error, ValueError):
        raise Refused("bad_request", "inlineData.data is not plain base64 (a data: prefix is not allowed)") from None
    if len(data) > MAX_REFERENCE_BYTES:
        raise Refused("bad_request", f"a reference image of {len(data)} bytes; at most {MAX_REFERENCE_BYTES}")
    if mime not in ("image/heic", "image/heif"):
        _size_of(data)
    return data


def _followed_ratio(references: list[bytes]) -> str:
    """Without aspectRatio the last photo decides; one in a format we cannot open (HEIC) decides nothing."""
    try:
        return sizes.nearest_ratio(*_size_of(references[-1]))
    except (IndexError, Refused):
        return "1:1"


def _size_of(data: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except (OSError, ValueError, Image.DecompressionBombError):
        raise Refused("google_error", "Unable to process input image. Please retry or report the error.") from None


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise Refused("bad_request", f"{name} must be an object")
    return value
