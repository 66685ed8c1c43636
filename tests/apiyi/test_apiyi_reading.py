from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.apiyi.body import Blob
from packshot.apiyi.reading import FoundImage, read_answer, read_facts
from packshot.errors import Code, ProviderError

OSS = "http://mycdn-gg.oss-us-west-1.aliyuncs.com/x.png?Expires=1795348800&Signature=a%2Fb%3D"


def gemini(*parts: Any, reason: Any = "STOP", **candidate: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": list(parts) or None}
    return {"candidates": [{"content": content, "finishReason": reason, "index": 0} | candidate]}


def inline(data: Any, mime: str | None = "image/png", **beside: Any) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime, "data": data}, "thoughtSignature": "s"} | beside


def found(answer: Any) -> FoundImage:
    image = read_answer(200, answer)
    assert isinstance(image, FoundImage)
    return image


def refused(answer: Any, status: int = 200) -> ProviderError:
    error = read_answer(status, answer)
    assert isinstance(error, ProviderError)
    return error


@pytest.mark.parametrize(
    ("answer", "image"),
    [
        (gemini(inline("AAAA")), FoundImage(data="AAAA", mime="image/png")),
        (gemini({"text": "Here:"}, inline("AAAA", "image/jpeg")), FoundImage(data="AAAA", mime="image/jpeg")),
        (gemini(inline("AAAA"), {"text": "See https://example.com/x.png"}), FoundImage(data="AAAA", mime="image/png")),
        (gemini(inline("1"), inline("2"), inline("last", "image/jpeg")), FoundImage(data="last", mime="image/jpeg")),
        (gemini(inline("good"), inline("")), FoundImage(data="good", mime="image/png")),
        (gemini(inline("good"), inline("draft", thought=True)), FoundImage(data="good", mime="image/png")),
        (gemini(inline("good"), inline("AAAA", "text/plain")), FoundImage(data="good", mime="image/png")),
        (gemini({"inline_data": {"mime_type": "image/webp", "data": "AA"}}), FoundImage(data="AA", mime="image/webp")),
        (gemini(inline("AAAA", None)), FoundImage(data="AAAA")),
        (gemini(inline("AAAA"), reason="IMAGE_SAFETY"), FoundImage(data="AAAA", mime="image/png")),
        (gemini(inline("AAAA"), reason={"new": 1}), FoundImage(data="AAAA", mime="image/png")),
        (gemini({"text": OSS, "thoughtSignature": "s"}), FoundImage(url=OSS)),
        (gemini({"text": f"![image]({OSS})"}), FoundImage(url=OSS)),
        (gemini({"text": f"first https://a.example/1.png, then {OSS}."}), FoundImage(url=OSS)),
        (gemini({"text": " https://cdn.example/no-extension?x=1\n"}), FoundImage(url="https://cdn.example/no-extension?x=1")),
        ({"data": [{"url": OSS, "revised_prompt": "x"}]}, FoundImage(url=OSS)),
        ({"data": [{"url": None, "b64_json": "AAAA"}]}, FoundImage(data="AAAA")),
        ({"data": [{"url": "", "b64_json": "AAAA"}]}, FoundImage(data="AAAA")),
        ({"data": [{"url": "data:image/png;base64,AAAA"}]}, FoundImage(data="data:image/png;base64,AAAA")),
        ({"data": [{"b64_json": OSS}]}, FoundImage(url=OSS)),
        ({"data": [{}, {"url": OSS}]}, FoundImage(url=OSS)),
        ({"error": None, "data": [{"url": OSS}]}, FoundImage(url=OSS)),
    ],
)  # fmt: skip
def test_finds_the_image_in_every_shape(answer: Any, image: FoundImage) -> None:
    assert found(answer) == image


def test_finds_images_that_stayed_in_the_file() -> None:
    blob = Blob(Path("x.body"), 10, 90_000)
    assert found(gemini(inline("draft"), inline(blob))).data is blob
    assert found({"data": [{"url": blob}]}).data is blob


BLOCKED = {"promptFeedback": {"blockReason": "OTHER", "safetyRatings": []}, "usageMetadata": {"promptTokenCount": 9}}


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (gemini(reason="IMAGE_SAFETY", finishMessage="filtered out"), Code.REFUSED_SAFETY, "filtered out"),
        (gemini(reason="SAFETY"), Code.REFUSED_SAFETY, "SAFETY"),
        (gemini(reason="image_safety"), Code.REFUSED_SAFETY, "image_safety"),
        (gemini(reason="PROHIBITED_CONTENT"), Code.REFUSED_PROHIBITED, "PROHIBITED_CONTENT"),
        (gemini(reason="IMAGE_PROHIBITED_CONTENT"), Code.REFUSED_PROHIBITED, ""),
        (gemini(reason="BLOCKLIST"), Code.REFUSED_PROHIBITED, ""),
        (gemini(reason="SPII"), Code.REFUSED_PROHIBITED, ""),
        (gemini(reason="RECITATION"), Code.REFUSED_PROHIBITED, ""),
        (gemini(reason="IMAGE_RECITATION"), Code.REFUSED_PROHIBITED, ""),
        (gemini({"text": "I can't generate that."}), Code.REFUSED_TEXT, "I can't generate that."),
        (gemini({"text": "No, see https://policies.google.com/terms."}), Code.REFUSED_TEXT, "policies"),
        (gemini({"text": "x" * 5000}), Code.REFUSED_TEXT, "xxx..."),
        (gemini({"text": "Hm."}, reason=None), Code.REFUSED_TEXT, "Hm."),
        (gemini({"text": "thinking", "thought": True}), Code.NO_IMAGE, "STOP"),
        (gemini({"text": "http://[broken"}), Code.REFUSED_TEXT, "broken"),
        (gemini(reason="NO_IMAGE"), Code.NO_IMAGE, "NO_IMAGE"),
        (gemini({"text": "I tried."}, reason="NO_IMAGE"), Code.NO_IMAGE, "I tried."),
        (gemini(reason="IMAGE_OTHER"), Code.NO_IMAGE, "IMAGE_OTHER"),
        (gemini(reason="SOMETHING_OF_2027"), Code.NO_IMAGE, "SOMETHING_OF_2027"),
        (gemini(), Code.NO_IMAGE, ""),
        ({"candidates": None, "usageMetadata": {"promptTokenCount": 271}}, Code.INPUT_BLOCKED, ""),
        (BLOCKED, Code.INPUT_BLOCKED, "OTHER"),
        ({"prompt_feedback": {"block_reason": "SAFETY"}}, Code.INPUT_BLOCKED, "SAFETY"),
        ({"candidates": [], "usageMetadata": {}}, Code.NO_IMAGE, ""),
        ({"data": []}, Code.NO_IMAGE, ""),
        ({"data": None}, Code.NO_IMAGE, ""),
        ({"data": [{"url": "oss/AAAA"}, {"url": "https://a b"}, {"b64_json": 7}]}, Code.NO_IMAGE, ""),
        (None, Code.NO_IMAGE, "empty"),
        ({}, Code.NO_IMAGE, "empty"),
        ([], Code.NO_IMAGE, ""),
        (42, Code.NO_IMAGE, ""),
        # a 200 that is an error in truth
        ({"error": {"code": "insufficient_user_quota", "message": "no"}}, Code.BALANCE_EMPTY, "user_quota"),
        # which may be charged, as all that is answered with a 200
            ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "q"}}, Code.SERVER_ERROR, ""),
        ({"status_code": 503, "error": {"message": "busy"}}, Code.SERVER_ERROR, "busy"),
        ({"error": {"message": "无效的令牌"}}, Code.BAD_KEY, "无效的令牌"),
        ({"error": "something broke"}, Code.SERVER_ERROR, "something broke"),
        ([{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}], Code.BAD_REQUEST, "bad"),
        ({"success": False, "message": "no"}, Code.SERVER_ERROR, "no"),
    ],
)  # fmt: skip
def test_says_why_there_is_no_image(answer: Any, code: Code, said: str) -> None:
    error = refused(answer)
    assert error.code is code
    assert said in error.message
    assert len(error.message) < 600
    assert error.details["http_status"] == 200


def test_the_excerpt_shows_the_answer_without_images_and_without_the_key() -> None:
    answer = gemini({"text": "my-own-key and sk-abcdefgh"}, reason="NO_IMAGE") | {"big": Blob(Path("x"), 0, 70_000)}
    error = read_answer(200, answer, key="my-own-key")
    assert isinstance(error, ProviderError)
    assert "<70000 bytes>" in error.details["excerpt"]
    assert "my-own-key" not in str(error) + str(error.details)
    assert "sk-abcdefgh" not in str(error) + str(error.details)


def test_facts_of_both_formats() -> None:
    facts = read_facts(
        {
            "modelVersion": "gemini-3-pro-image\ud800",
            "responseId": "BK54",
            "usageMetadata": {"promptTokenCount": 615, "totalTokenCount": 3301, "promptTokensDetails": [{}], "x": True},
        }
    )
    assert (facts.model_version, facts.response_id) == ("gemini-3-pro-image ", "BK54")
    assert facts.usage == {"promptTokenCount": 615, "totalTokenCount": 3301}
    assert read_facts({"data": [], "usage": {"input_tokens": 98}}).usage == {"input_tokens": 98}
    assert read_facts(None).usage == {}


names = st.sampled_from(
    ["candidates", "content", "parts", "inlineData", "data", "text", "finishReason", "promptFeedback", "blockReason",
     "error", "url", "b64_json", "mimeType", "thought", "usageMetadata", "code", "message", "modelVersion"]
)  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(OSS) | st.just(Blob(Path("x"), 0, 9)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6),
    max_leaves=25,
)


@given(answer=anything)
def test_no_answer_makes_it_crash(answer: Any) -> None:
    assert isinstance(read_answer(200, answer), FoundImage | ProviderError)
    read_facts(answer)
