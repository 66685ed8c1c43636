"""Finding the image in an answer, or the reason why there is none: pure, over the parsed JSON.

Every shape is read whatever was asked for: gateways have changed the field they answer with. Sources: docs.apiyi.com
(usage metadata, error and URL-output pages), Google's FinishReason and BlockedReason enums.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from packshot.apiyi.body import Blob
from packshot.apiyi.classify import code_of, envelope
from packshot.apiyi.scrub import excerpt, says, scrub
from packshot.errors import Billed, Code, ProviderError

_SAFETY = {"IMAGE_SAFETY", "SAFETY"}
_PROHIBITED = {
    "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "IMAGE_RECITATION",
}  # fmt: skip
_URL = re.compile(r"https?://[^\s\x00-\x1f\x7f\ud800-\udfff]+", re.IGNORECASE)
_DATA_URL = re.compile(r"data:", re.IGNORECASE)
_URL_IN_TEXT = re.compile(r"https?://[^\s\"'<>()\[\]\\`\x00-\x1f\x7f\ud800-\udfff]+(?<![.,;:!?])")
_IMAGE_NAME = re.compile(r"\.(png|jpe?g|webp)$", re.IGNORECASE)
# APIYI: the bucket in the host "may change over time", the vendor's domain does not.
_IMAGE_HOST = ".aliyuncs.com"


@dataclass(frozen=True, slots=True)
class FoundImage:
    """What an answer brought: exactly one of ``url`` and ``data`` (base64, as it stands in the JSON) is set."""

    url: str | None = None
    data: Blob | str | None = None
    mime: str | None = None
    """As the answer declares it; it may be wrong."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an answer says about itself, with an image or without."""

    model_version: str | None = None
    response_id: str | None = None
    usage: dict[str, int] = field(default_factory=dict)


def read_answer(status: int, answer: Any, key: str = "") -> FoundImage | ProviderError:
    """The image in a parsed 2xx answer (see :func:`read_body`), or the error that says why there is none.

    Of several inline images the last is the finished one; parts marked as thoughts do not count. Unknown values
    never raise: they mean NO_IMAGE. The error's ``details`` hold http_status and an excerpt; ``key`` appears nowhere.
    """
    if image := _last_inline(answer) or _first_of_data(answer) or _last_url_in_text(answer):
        return image
    code, message = _why_not(status, answer)
    return ProviderError(code, says(message, key), http_status=status, excerpt=excerpt(readable(answer), key))


def read_facts(answer: Any) -> Facts:
    """Model version, Google's response id and token counts, as far as the answer has them."""
    if not isinstance(answer, dict):
        return Facts()
    usage = _get(answer, "usageMetadata", "usage_metadata", "usage")
    return Facts(
        model_version=_name(_get(answer, "modelVersion", "model_version", "model")),
        response_id=_name(_get(answer, "responseId", "response_id")),
        usage={name: count for name, count in _dict(usage).items() if type(count) is int},
    )


def readable(answer: Any) -> str:
    """An answer as text, with the length of each long string in its place."""
    return "" if answer is None else json.dumps(answer, default=str, ensure_ascii=False)


def _last_inline(answer: Any) -> FoundImage | None:
    found = None
    for part in _parts(answer):
        inline = _dict(_get(part, "inlineData", "inline_data"))
        mime = _text(_get(inline, "mimeType", "mime_type"))
        if mime is None or mime.startswith("image/"):
            found = _image(inline.get("data"), mime) or found
    return found


def _first_of_data(answer: Any) -> FoundImage | None:
    for item in _dicts(_dict(answer).get("data")):
        url = _image(item.get("url"), None)
        if url and (url.url or isinstance(url.data, Blob) or _DATA_URL.match(url.data or "")):
            return url
        if image := _image(item.get("b64_json"), None):
            return image
    return None


def _last_url_in_text(answer: Any) -> FoundImage | None:
    urls = [url for text in _texts(answer) for url in _URL_IN_TEXT.findall(text) if _is_image_url(url, text)]
    return FoundImage(url=urls[-1]) if urls else None


def _is_image_url(url: str, text: str) -> bool:
    """A refusal may hold a link as well, to a policy page for instance."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    from_store = (parts.hostname or "").endswith(_IMAGE_HOST)
    return text.strip() == url or from_store or bool(_IMAGE_NAME.search(parts.path))


def _image(value: Any, mime: str | None) -> FoundImage | None:
    if isinstance(value, Blob):
        return FoundImage(data=value, mime=mime)
    if not isinstance(value, str) or not value.strip():
        return None
    value = value.strip()
    if value.lower().startswith(("http://", "https://")):
        return FoundImage(url=value, mime=mime) if _URL.fullmatch(value) else None
    return FoundImage(data=value, mime=mime)


def _why_not(status: int, answer: Any) -> tuple[Code, str]:
    if error := envelope(answer):
        code = code_of(200, error)
        if code.billed is Billed.NO and code.retryable:  # what is answered with a 2xx may be charged all the same
            code = Code.SERVER_ERROR
        return code, f"HTTP {status} with an error, {error.code}: {error.message}"
    body = _dict(answer)
    feedback = _dict(_get(body, "promptFeedback", "prompt_feedback"))
    if reason := _get(feedback, "blockReason", "block_reason"):
        return Code.INPUT_BLOCKED, f"the provider blocked the input: {reason}"
    candidates = list(_dicts(body.get("candidates")))
    if not candidates:
        if "candidates" in body and body["candidates"] is None:
            return Code.INPUT_BLOCKED, "the provider returned no candidate: its input check refused"
        return Code.NO_IMAGE, "the answer is empty" if not body else "the answer holds no image"
    reason = str(_get(candidates[0], "finishReason", "finish_reason") or "")
    explained = _text(_get(candidates[0], "finishMessage", "finish_message")) or " ".join(_texts(answer))
    because = f"{reason or 'no reason given'}{': ' if explained else ''}{explained}"
    if reason.upper() in _SAFETY:
        return Code.REFUSED_SAFETY, f"the provider's filter withheld the image: {because}"
    if reason.upper() in _PROHIBITED:
        return Code.REFUSED_PROHIBITED, f"the provider refused: {because}"
    if reason.upper() in ("", "STOP") and explained.strip():
        return Code.REFUSED_TEXT, f"the model answered with text: {explained}"
    return Code.NO_IMAGE, f"the answer holds no image: {because}"


def _parts(answer: Any) -> Iterator[dict[str, Any]]:
    for candidate in _dicts(_dict(answer).get("candidates")):
        for part in _dicts(_dict(candidate.get("content")).get("parts")):
            if part.get("thought") is not True:
                yield part


def _texts(answer: Any) -> Iterator[str]:
    return (text for part in _parts(answer) if (text := _text(part.get("text"))))


def _get(mapping: dict[str, Any], *names: str) -> Any:
    return next((mapping[name] for name in names if mapping.get(name) is not None), None)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _name(value: Any) -> str | None:
    return scrub(value)[:200] if isinstance(value, str) and value else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
