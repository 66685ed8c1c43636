from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from packshot.apiyi import ImageRequest
from packshot.apiyi.wire import wire_for
from packshot.errors import Code, ConfigError, PackshotError
from packshot.settings import Settings

REQUEST = ImageRequest('a "mug" é 杯子\n\ud800', "gemini-3-pro-image", "4:5", "2K")


def body(request: ImageRequest, **settings: Any) -> Any:
    return json.loads(wire_for(Settings(_env_file=None, **settings)).body(request))


def path(request: ImageRequest, **settings: Any) -> str:
    return wire_for(Settings(_env_file=None, **settings)).path(request)


def test_images_format_asks_for_pixels_and_names_no_count() -> None:
    request = replace(REQUEST, model="nano-banana-pro", prompt="a mug")
    assert path(request) == "/v1/images/generations"
    assert body(request) == {
        "model": "nano-banana-pro",
        "prompt": "a mug",
        "size": "1856x2304",
        "response_format": "url",
    }
    assert body(request, apiyi_response="b64_json")["response_format"] == "b64_json"


def test_images_format_refuses_photos_and_says_which_format_takes_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PACKSHOT_APIYI_FORMAT=gemini") as caught:
        body(replace(REQUEST, references=((tmp_path / "a.jpg", "image/jpeg"),)))
    assert caught.value.code is Code.SETTINGS_INVALID


def test_gemini_format_sends_one_text_and_the_photos_in_order(tmp_path: Path) -> None:
    photos = [
        (tmp_path / "b.jpg", "image/jpeg", b"\xff\xd8\xff front"),
        (tmp_path / "a.png", "image/png", bytes(range(256))),
    ]
    for file, _, data in photos:
        file.write_bytes(data)
    request = replace(REQUEST, references=tuple((file, mime) for file, mime, _ in photos))
    assert path(request, apiyi_format="gemini") == "/v1beta/models/gemini-3-pro-image:generateContent"
    sent = body(request, apiyi_format="gemini")
    text, *images = sent["contents"][0]["parts"]
    assert text == {"text": REQUEST.prompt}
    assert images == [
        {"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}} for _, mime, data in photos
    ]
    assert sent["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "imageConfig": {"aspectRatio": "4:5", "imageSize": "2K"},
    }


def test_a_model_name_cannot_leave_its_place_in_the_path() -> None:
    request = replace(REQUEST, model="../x?key=1#y")
    assert path(request, apiyi_format="gemini") == "/v1beta/models/..%2Fx%3Fkey%3D1%23y:generateContent"


@pytest.mark.parametrize(
    "model", ["gemini-2.5-flash-image", "gemini-2.5-flash-image-preview", "gemini-3.1-flash-lite-image"]
)
def test_models_of_one_size_are_not_sent_a_size(model: str) -> None:
    request = replace(REQUEST, model=model, image_size="1K")
    assert body(request, apiyi_format="gemini")["generationConfig"]["imageConfig"] == {"aspectRatio": "4:5"}
    with pytest.raises(ConfigError, match="1K images only"):
        body(replace(request, image_size="4K"), apiyi_format="gemini")


@pytest.mark.parametrize("chosen", ["images", "gemini"])
@pytest.mark.parametrize("change", [{"aspect_ratio": "7:5"}, {"image_size": "8K"}])
def test_ratios_and_sizes_the_api_does_not_make_are_refused(chosen: str, change: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        body(replace(REQUEST, **change), apiyi_format=chosen)  # type: ignore[arg-type]


def test_a_photo_that_is_gone_is_named_and_concerns_this_image_alone(tmp_path: Path) -> None:
    request = replace(REQUEST, references=((tmp_path / "gone.jpg", "image/jpeg"),))
    with pytest.raises(PackshotError, match=r"gone\.jpg cannot be read: No such file") as caught:
        body(request, apiyi_format="gemini")
    assert caught.value.code is Code.REFERENCE_UNAVAILABLE
    assert not caught.value.code.stops_run
