"""Response bodies as the gateway sends them, in the shapes its documentation and captured answers show."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from packshot.sandbox.orders import Order

JSON = "application/json"
HTML = "text/html; charset=utf-8"
_MARK = "\ue000"  # private use: no text of an answer holds it


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer: a small body that carries its Content-Length."""

    status: int
    body: bytes
    content_type: str = JSON


def dump(value: Any) -> bytes:
    """JSON as the gateway writes it: compact, with the escapes of Go's encoder (``&`` is ``\\u0026``).

    Bytes in it are strings that need no escapes, like base64: they go in as they are, because looking through 40 MB
    for what is not there takes longer than anything else about an answer.
    """
    plain: list[bytes] = []

    def mark(text: bytes) -> str:
        plain.append(text)
        return _MARK

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=mark)
    text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    first, *others = text.encode().split(_MARK.encode())
    return b"".join([first, *(piece for pair in zip(plain, others, strict=True) for piece in pair)])


def _gateway(status: int, message: str, *, outer: bool = False, **fields: Any) -> Refusal:
    error = {"message": message, "type": "shell_api_error", **fields}
    return Refusal(status, dump({"status_code": status, "error": error} if outer else {"error": error}))


def refusal(kind: str, *, request_id: str, model: str = "", message: str = "") -> Refusal:
    """The answer for a fault of the refusing kind."""
    match kind:
        case "rate_limited":
            return _gateway(429, message or "429 Too Many Requests", param="", code="rate_limit_exceeded")
        case "overloaded":
            return _gateway(503, "The model is overloaded. Please try again later.", param="", code=None)
        case "no_channel":
            text = f"当前分组 default 下对于模型 {model} 计费模式 [按次计费] 无可用渠道 (request id: {request_id})"
            return _gateway(503, text)
        case "model_not_found":
            text = f"No available channel for model {model} under group default (request id: {request_id})"
            return _gateway(503, text, param="", code="model_not_found")
        case "bad_gateway":
            return Refusal(502, b"", HTML)
        case "gateway_timeout":
            return _gateway(504, "Upstream model timed out", param="", code=None)
        case "cdn_timeout":
            return Refusal(524, b"<html><body><h1>Error 524</h1><p>A timeout occurred</p></body></html>", HTML)
        case "server_error":
            return _gateway(500, "", param="500", code="bad_response_status_code")
        case "write_failed":
            text = "write tcp 10.0.0.1:443->203.0.113.5:52310: write: connection reset by peer"
            return _gateway(500, text, outer=True, code="write_response_body_failed")
        case "bad_key":
            return _gateway(401, f"无效的令牌 (request id: {request_id})")
        case "balance_empty":
            return _gateway(
                403, message or "user [25359] quota [0] preConsumedQuota is not enough",
                localized_message="Insufficient user quota", param="", code="insufficient_user_quota",
            )  # fmt: skip
        case "moderation_blocked":
            text = "Your request was rejected by the safety system."
            return _gateway(400, text, outer=True, code="moderation_blocked")
        case "google_error":
            text = message or "Request contains an invalid argument."
            return Refusal(400, dump({"error": {"code": 400, "message": text, "status": "INVALID_ARGUMENT"}}))
        case "bad_request":
            text = message or "invalid request"
            return _gateway(400, f"{text} (request id: {request_id})", param="", code="invalid_request")
    raise ValueError(f"{kind} is not a refusal")


UNAUTHORIZED_ACCOUNT = dump(
    {
        "success": False,
        "message": "You are not authorized to perform this operation. The access token is invalid.",
    }
)
HTML_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>It works</h1></body></html>\n"


def not_found(method: str, path: str) -> Refusal:
    error = {"message": f"Invalid URL ({method} {path})", "type": "invalid_request_error", "param": "", "code": ""}
    return Refusal(404, dump({"error": error}))


# --- usage ----------------------------------------------------------------------------------------------------


def image_tokens(model: str, image_size: str) -> int:
    """Output tokens of one image, as measured and documented per model and size."""
    if image_size == "512":
        return 747
    if "3.1-flash-image" in model:
        return {"1K": 1120, "2K": 1680, "4K": 2520}[image_size]
    return 2000 if image_size == "4K" else 1120


def usage_of(order: Order, images: int, chance: Random) -> dict[str, Any]:
    """usageMetadata of an answer with ``images`` images; total = prompt + candidates + thoughts."""
    text, pictures = len(order.prompt) // 4 + 1, 258 * len(order.references)
    shown = images * image_tokens(order.model, order.image_size)
    thoughts = chance.randint(120, 420)
    # Refusals were seen in two ways: no candidate tokens at all, or as many as thoughts.
    candidates = shown + chance.randint(88, 630) if images else chance.choice([0, thoughts])
    details = [{"modality": "TEXT", "tokenCount": text}]
    if pictures:
        details.append({"modality": "IMAGE", "tokenCount": pictures})
    usage: dict[str, Any] = {
        "promptTokenCount": text + pictures,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": text + pictures + candidates + thoughts,
        "promptTokensDetails": details,
    }
    if images:
        usage["candidatesTokensDetails"] = [{"modality": "IMAGE", "tokenCount": shown}]
    return usage


def tokens_of(answer: Mapping[str, Any]) -> tuple[int, int]:
    """Prompt and completion tokens that an answer of either format states."""
    usage = answer.get("usageMetadata")
    if usage is not None:
        return usage["promptTokenCount"], usage["candidatesTokenCount"]
    return answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]


# --- gemini ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Carried:
    """One image as the answer carries it: its URL, or its bytes."""

    mime: str
    data: bytes
    url: str | None = None


def _signature(chance: Random) -> str:
    return base64.b64encode(chance.randbytes(48)).decode()


def _google_id(chance: Random) -> str:
    return base64.urlsafe_b64encode(chance.randbytes(16)).decode().rstrip("=")


def _base64(image: Carried, prefix: bool) -> bytes:
    text = base64.b64encode(image.data)
    return f"data:{image.mime};base64,".encode() + text if prefix else text


def _image_part(image: Carried, chance: Random, *, snake_case: bool, data_prefix: bool) -> dict[str, Any]:
    if image.url:
        return {"text": image.url, "thoughtSignature": _signature(chance)}
    mime_key, outer = ("mime_type", "inline_data") if snake_case else ("mimeType", "inlineData")
    inline = {mime_key: image.mime, "data": _base64(image, data_prefix)}
    return {outer: inline, "thoughtSignature": _signature(chance)}


def gemini_images(
    order: Order, images: Sequence[Carried], chance: Random, *, fault: str = "none", layout: str = "image"
) -> dict[str, Any]:
    """An answer with images. ``layout`` is ``image``, ``text,image`` or ``image,text``."""
    parts: list[dict[str, Any]] = [
        _image_part(image, chance, snake_case=fault == "snake_case", data_prefix=fault == "data_prefix")
        for image in images
    ]
    if layout == "text,image":
        parts.insert(0, {"text": "Here is your product image:\n"})
    elif layout == "image,text":
        parts.append({"text": "The image shows the product as described."})
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    return _gemini([candidate], usage_of(order, len(images), chance), order.model, chance)


def _gemini(candidates: Any, usage: Mapping[str, Any], model: str, chance: Random) -> dict[str, Any]:
    return {
        "candidates": candidates,
        "usageMetadata": usage,
        "modelVersion": model,
        "responseId": _google_id(chance),
    }


_FINISH = {
    "image_safety": (
        "IMAGE_SAFETY",
        "Unable to show the generated image. The image was filtered out because it violated Google's "
        "[Generative AI Prohibited Use policy](https://policies.google.com/terms/generative-ai/use-policy). "
        "You will not be charged for blocked images. Try rephrasing the prompt.",
    ),
    "prohibited": ("PROHIBITED_CONTENT", "The request was blocked because it contains prohibited content."),
    "no_image": ("NO_IMAGE", "Unable to show the generated image. The model could not generate the image."),
}


def gemini_without_image(order: Order, fault: str, chance: Random) -> dict[str, Any]:
    """A 200 that holds no image, in the shape the fault asks for."""
    usage = usage_of(order, 0, chance)
    if fault in _FINISH:
        reason, message = _FINISH[fault]
        blocked = {"content": {"parts": None}, "finishReason": reason, "finishMessage": message, "index": 0}
        answer = _gemini([blocked], usage, order.model, chance)
        return answer | {"promptFeedback": {"safetyRatings": None}}
    if fault == "text_refusal":
        part = {"text": "I can't generate this image for you.", "thoughtSignature": _signature(chance)}
        said = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
        words = chance.randint(11, 176)
        total = usage["promptTokenCount"] + words + usage["thoughtsTokenCount"]
        usage |= {"candidatesTokenCount": words, "totalTokenCount": total}
        return _gemini([said], usage, order.model, chance)
    prompt_tokens = usage["promptTokenCount"]
    short = {"promptTokenCount": prompt_tokens, "candidatesTokenCount": 0, "totalTokenCount": prompt_tokens}
    if fault == "prompt_blocked":
        answer = _gemini(None, short, order.model, chance)
        del answer["candidates"]
        return answer | {"promptFeedback": {"blockReason": "OTHER", "safetyRatings": []}}
    return _gemini([] if fault == "empty_data" else None, short, order.model, chance)


# --- images ---------------------------------------------------------------------------------------------------


def images_answer(
    order: Order, images: Sequence[Carried], created: int, chance: Random, *, fault: str = "none"
) -> dict[str, Any]:
    """The answer of /v1/images/generations; without images its data list is empty."""
    usage = usage_of(order, len(images), chance)
    tokens = {"input_tokens": usage["promptTokenCount"], "output_tokens": usage["candidatesTokenCount"]}
    data = [{"url": i.url} if i.url else {"b64_json": _base64(i, fault == "data_prefix")} for i in images]
    return {"created": created, "data": data, "usage": tokens | {"total_tokens": sum(tokens.values())}}
