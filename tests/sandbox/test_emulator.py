"""The emulator's routes, checks, money and control, over real HTTP."""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from packshot.sandbox.emulator import Emulator
from packshot.sandbox.sizes import BY_PIXELS

KEY = {"Authorization": "Bearer sk-sandbox-key"}
TOKEN = {"Authorization": "sandbox-system-token"}
PRO = "gemini-3-pro-image"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def order(em: Emulator, headers: dict[str, str] = KEY, **fields: Any) -> requests.Response:
    body = {"model": "nano-banana-pro", "prompt": "Title: Red mug\nShot: main", "size": "1024x1024", **fields}
    return requests.post(f"{em.base_url}/v1/images/generations", json=body, headers=headers, timeout=20)


def gemini(
    em: Emulator, *parts: Any, model: str = PRO, headers: dict[str, str] = KEY, **config: Any
) -> requests.Response:
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Red mug"}, *parts]}]}
    if config:
        body["generationConfig"] = config
    url = f"{em.base_url}/v1beta/models/{model}:generateContent"
    return requests.post(url, json=body, headers=headers, timeout=20)


def get(em: Emulator, path: str, headers: dict[str, str] | None = None) -> requests.Response:
    return requests.get(em.base_url + path, headers=headers or {}, timeout=10)


def test_a_picture_given_answers_orders_of_its_size_and_each_is_another_file(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(photo(1024, 1024))
    with Emulator(picture=tmp_path / "picture.png") as em:
        files = []
        for _ in range(3):
            parts = gemini(em).json()["candidates"][0]["content"]["parts"]
            [inline] = [part["inlineData"] for part in parts if "inlineData" in part]
            assert inline["mimeType"] == "image/png"
            files.append(base64.b64decode(inline["data"]))
        other = requests.get(order(em, size="2048x2048").json()["data"][0]["url"], timeout=10)
    assert len(set(files)) == 3
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            image.load()  # with every chunk's checksum
            assert image.size == (1024, 1024)
            assert image.getpixel((512, 512)) == (255, 0, 255)
    assert Image.open(io.BytesIO(other.content)).size == (2048, 2048)


def test_a_picture_that_is_no_png_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(photo(kind="JPEG"))
    with pytest.raises(OSError):
        Emulator(picture=tmp_path / "picture.png")


def photo(width: int = 60, height: int = 40, colour: str = "magenta", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, kind)
    return buffer.getvalue()


def inline(data: bytes, mime: str = "image/png") -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}}


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def image_part(answer: requests.Response) -> dict[str, Any]:
    parts = answer.json()["candidates"][0]["content"]["parts"]
    return next(dict(part["inlineData"]) for part in parts if "inlineData" in part)


# --- images ---------------------------------------------------------------------------------------------------


def test_images_url_answer_leads_to_the_ordered_pixels(emulator: Emulator) -> None:
    answer = order(emulator, size="1696x2528")
    assert answer.status_code == 200
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    assert "\\u0026" in answer.text
    url = answer.json()["data"][0]["url"]
    download = requests.get(url, timeout=10)
    image = opened(download.content)
    assert image.size == (1696, 2528)
    assert download.headers["Content-Type"] == Image.MIME[image.format or ""]
    assert int(download.headers["Content-Length"]) == len(download.content)


def test_images_base64_answer(emulator: Emulator) -> None:
    entry = order(emulator, response_format="b64_json", n=4).json()["data"]
    assert len(entry) == 1, "n has no effect"
    assert opened(base64.b64decode(entry[0]["b64_json"])).size == (1024, 1024)


def test_both_file_types_occur_and_every_image_differs(emulator: Emulator) -> None:
    seen = [
        base64.b64decode(order(emulator, response_format="b64_json").json()["data"][0]["b64_json"]) for _ in range(8)
    ]
    assert {opened(data).format for data in seen} == {"PNG", "JPEG"}
    assert len(set(seen)) == 8


def test_same_seed_same_images() -> None:
    def first_three() -> list[str]:
        with Emulator(seed=5) as em:
            return [order(em, response_format="b64_json").json()["data"][0]["b64_json"] for _ in range(3)]

    assert first_three() == first_three()


def test_request_id_headers_have_the_documented_form(emulator: Emulator) -> None:
    answer = order(emulator)
    request_id = answer.headers["X-Shellapi-Request-Id"]
    assert request_id == answer.headers["x-request-id"]
    assert len(request_id) == len("2026080114481936471351696e93ae3FTV8WKfk")
    assert request_id[:23].isdigit()
    assert request_id == emulator.bill[0].request_id


@pytest.mark.parametrize("size", ["2k", "1000x1000", "4096x4097", 5, None])
def test_images_refuses_other_sizes(emulator: Emulator, size: Any) -> None:
    assert order(emulator, size=size).status_code == 400
    assert emulator.billed_micro == 0


def test_the_size_table_is_the_documented_one() -> None:
    assert len(BY_PIXELS) == 30
    assert BY_PIXELS["3584x4800"] == ("3:4", "4K")
    assert BY_PIXELS["2752x1536"] == ("16:9", "2K")


@pytest.mark.parametrize("fields", [{"prompt": " "}, {"prompt": None}, {"response_format": "webp"}])
def test_images_refuses_bad_fields_in_the_gateway_envelope(emulator: Emulator, fields: dict[str, Any]) -> None:
    answer = order(emulator, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "shell_api_error"
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_a_body_that_is_not_json_is_refused(emulator: Emulator) -> None:
    url = f"{emulator.base_url}/v1/images/generations"
    assert requests.post(url, data=b"{", headers=KEY, timeout=10).status_code == 400
    assert requests.post(url, data=b"[]", headers=KEY, timeout=10).status_code == 400


def test_a_chunked_upload_is_understood(emulator: Emulator) -> None:
    body = json.dumps({"model": "nano-banana-pro", "prompt": "Mug"}).encode()
    url = f"{emulator.base_url}/v1/images/generations"
    answer = requests.post(url, data=iter([body[:10], body[10:]]), headers=KEY, timeout=10)
    assert answer.status_code == 200


# --- gemini ---------------------------------------------------------------------------------------------------


def test_gemini_answer_has_the_documented_shape(emulator: Emulator) -> None:
    answer = gemini(emulator, inline(photo()), imageConfig={"aspectRatio": "4:5", "imageSize": "2K"})
    body = answer.json()
    assert body.keys() == {"candidates", "usageMetadata", "modelVersion", "responseId"}
    assert body["modelVersion"] == PRO
    candidate = body["candidates"][0]
    assert (candidate["finishReason"], candidate["index"]) == ("STOP", 0)
    part = image_part(answer)
    image = opened(base64.b64decode(part["data"], validate=True))
    assert image.size == (1856, 2304)
    assert Image.MIME[image.format or ""] == part["mimeType"]
    usage = body["usageMetadata"]
    assert usage["totalTokenCount"] == sum(usage[f"{k}TokenCount"] for k in ("prompt", "candidates", "thoughts"))
    assert usage["candidatesTokensDetails"] == [{"modality": "IMAGE", "tokenCount": 1120}]
    assert {"modality": "IMAGE", "tokenCount": 258} in usage["promptTokensDetails"]
    assert emulator.bill[0].completion_tokens == usage["candidatesTokenCount"]


@pytest.mark.parametrize(
    ("model", "config", "size"),
    [
        (PRO, {"aspectRatio": "21:9"}, (1584, 672)),
        ("gemini-3.1-flash-image", {"aspectRatio": "1:8", "imageSize": "512"}, (192, 1536)),
        ("gemini-3.1-flash-image", {"aspectRatio": "21:9", "imageSize": "512"}, (792, 168)),
        ("gemini-2.5-flash-image", {"aspectRatio": "9:16"}, (768, 1376)),
        (PRO, {}, (1024, 1024)),
    ],
)
def test_gemini_pixels(emulator: Emulator, model: str, config: dict[str, str], size: tuple[int, int]) -> None:
    answer = gemini(emulator, model=model, imageConfig=config)
    assert opened(base64.b64decode(image_part(answer)["data"])).size == size


def test_without_an_aspect_ratio_the_last_photo_decides(emulator: Emulator) -> None:
    answer = gemini(emulator, inline(photo(50, 50)), inline(photo(160, 90)))
    assert opened(base64.b64decode(image_part(answer)["data"])).size == (1376, 768)


def test_the_first_photo_is_in_the_picture(emulator: Emulator) -> None:
    answer = gemini(emulator, inline(photo(colour="#ff00ff")), imageConfig={"aspectRatio": "1:1"})
    image = opened(base64.b64decode(image_part(answer)["data"])).convert("RGB")
    pixel = image.getpixel((512, 370))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 240 > 15 > pixel[1]


def test_every_documented_layout_occurs(emulator: Emulator) -> None:
    layouts = set()
    for _ in range(40):
        parts = gemini(emulator).json()["candidates"][0]["content"]["parts"]
        layouts.add(tuple("image" if "inlineData" in part else "text" for part in parts))
    assert layouts == {("image",), ("text", "image"), ("image", "text")}


@pytest.mark.parametrize(
    ("parts", "config", "model"),
    [
        ([{"text": "a", **inline(photo())}], {}, PRO),
        ([{"inlineData": {"mimeType": "image/png", "data": "data:image/png;base64,AAAA"}}], {}, PRO),
        ([inline(photo(), "image/gif")], {}, PRO),
        ([inline(b"\x89PNG not a picture")], {}, PRO),
        ([inline(photo())] * 15, {}, PRO),
        ([inline(photo() + bytes(7 * 1024 * 1024))], {}, PRO),
        ([{"foo": 1}], {}, PRO),
        (["text"], {}, PRO),
        ([], {"imageConfig": {"imageSize": "2k"}}, PRO),
        ([], {"imageConfig": {"imageSize": "512"}}, PRO),
        ([], {"imageConfig": {"aspectRatio": "1:8"}}, PRO),
        ([], {"imageConfig": {"aspectRatio": "7:5"}}, PRO),
        ([], {"imageConfig": []}, PRO),
        ([], {"imageConfig": {"imageSize": "2K"}}, "gemini-3.1-flash-lite-image"),
        ([], {"imageConfig": {"imageSize": "1K"}}, "gemini-2.5-flash-image"),
        ([], {"responseModalities": ["VIDEO"]}, PRO),
    ],
)
def test_gemini_refuses_bad_parameters(
    emulator: Emulator, parts: list[Any], config: dict[str, Any], model: str
) -> None:
    answer = gemini(emulator, *parts, model=model, **config)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert [(row.billed, row.price_micro, row.http_status) for row in emulator.bill] == [(False, 0, 400)]


def test_fourteen_photos_are_allowed(emulator: Emulator) -> None:
    assert gemini(emulator, *[inline(photo())] * 14).status_code == 200


def test_oss_group_answers_with_a_url_in_a_text_part() -> None:
    with Emulator(url_mode="oss") as em:
        answer = gemini(em, imageConfig={"aspectRatio": "2:3"})
        parts = answer.json()["candidates"][0]["content"]["parts"]
        part = next(p for p in parts if p["text"].startswith("http"))
        assert part["thoughtSignature"]
        assert "\\u0026OSSAccessKeyId=" in answer.text
        assert opened(requests.get(part["text"], timeout=10).content).size == (848, 1264)


# --- keys, models, limits, money ------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk-other"}, {"Authorization": "sk-sandbox-key"}])
def test_a_wrong_key_is_refused(emulator: Emulator, headers: dict[str, str]) -> None:
    for answer in (order(emulator, headers), gemini(emulator, headers=headers), get(emulator, "/v1/models", headers)):
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "shell_api_error"
    assert emulator.billed_micro == 0


def test_unknown_models_have_no_channel(emulator: Emulator) -> None:
    for answer in (
        order(emulator, model="dall-e-9"),
        gemini(emulator, model="nano-banana-pro"),
        order(emulator, model=[]),
    ):
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "model_not_found"


def test_model_list_and_prices_can_be_extended() -> None:
    with Emulator(prices={"gemini-nano-banana-2.1": 0.0336}) as em:
        models = {row["id"] for row in get(em, "/v1/models", KEY).json()["data"]}
        assert {"gemini-nano-banana-2.1", "nano-banana-pro", PRO} <= models
        assert gemini(em, model="gemini-nano-banana-2.1").status_code == 200
        assert em.billed_micro == 33_600


def test_the_balance_runs_out_in_the_middle_of_a_batch() -> None:
    with Emulator(balance_usd=0.20) as em:
        answers = [order(em) for _ in range(4)]
        assert [a.status_code for a in answers] == [200, 200, 403, 403]
        assert answers[2].json()["error"]["code"] == "insufficient_user_quota"
        assert (em.billed_micro, em.balance_micro) == (180_000, 20_000)


def test_calls_above_the_limit_get_429_and_cost_nothing() -> None:
    with Emulator(max_in_flight=3, latency=0.4) as em, ThreadPoolExecutor(6) as pool:
        codes = sorted(answer.status_code for answer in pool.map(lambda _: order(em), range(6)))
        assert codes == [200] * 3 + [429] * 3
        assert em.billed_micro == 3 * 90_000
        assert em.in_flight_peak > 3


def test_the_account_shows_the_balance_to_the_raw_system_token_only(emulator: Emulator) -> None:
    order(emulator)
    data = get(emulator, "/api/user/self", TOKEN).json()["data"]
    assert (data["quota"], data["used_quota"]) == (99.91 * 500_000, 45_000)
    for headers in (KEY, {"Authorization": "Bearer sandbox-system-token"}, {}):
        refused = get(emulator, "/api/user/self", headers)
        assert (refused.status_code, refused.json()["success"]) == (401, False)


def test_the_log_lists_charged_calls_and_failed_writes_only(emulator: Emulator) -> None:
    emulator.queue("rate_limited")
    emulator.queue("write_failed")
    emulator.queue("image_safety")
    answers = [order(emulator) for _ in range(4)]
    rows = get(emulator, "/api/log/self?p=0&pageSize=100&type=2", TOKEN).json()["data"]
    assert [row["request_id"] for row in rows] == [a.headers["x-request-id"] for a in reversed(answers[1:])]
    assert [(row["quota"], row["error_code"]) for row in rows] == [
        (45_000, ""),
        (45_000, ""),
        (0, "write_response_body_failed"),
    ]
    assert isinstance(json.loads(rows[0]["other"]), dict)


def test_log_pages_and_filters(emulator: Emulator) -> None:
    ids = [order(emulator).headers["x-request-id"] for _ in range(12)][::-1]

    def log(query: str) -> list[Any]:
        return list(get(emulator, f"/api/log/self?{query}", TOKEN).json()["data"])

    assert len(log("type=2&page_size=100")) == 10, "page_size is not pageSize"
    assert [row["request_id"] for row in log("type=2&p=2&pageSize=5")] == ids[10:]
    assert log("type=2&p=3&pageSize=5") == []
    assert [row["request_id"] for row in log(f"request_id={ids[3]}")] == [ids[3]]
    now = int(time.time())
    assert len(log(f"type=2&pageSize=100&start_timestamp={now - 60}&end_timestamp={now + 60}")) == 12
    assert log(f"type=2&start_timestamp={now + 60}") == []
    assert log(f"type=2&end_timestamp={now - 60}") == []
    assert log("pageSize=100")[-1]["model_name"] == "", "without type=2 the top-up is listed, too"


# --- temporary URLs and photos --------------------------------------------------------------------------------


def test_temporary_urls_expire_and_resist_tampering() -> None:
    now = [1_800_000_000.0]
    with Emulator(url_lifetime=600, clock=lambda: now[0]) as em:
        url = order(em).json()["data"][0]["url"]
        assert "Expires=1800000600" in url
        assert requests.get(url, timeout=10).status_code == 200
        forged = requests.get(url.replace("Expires=1800000600", "Expires=1900000600"), timeout=10)
        assert (forged.status_code, "SignatureDoesNotMatch" in forged.text) == (403, True)
        assert requests.get(url.split("?")[0], timeout=10).status_code == 403
        now[0] += 600
        expired = requests.get(url, timeout=10)
        assert expired.status_code == 403
        assert expired.headers["Content-Type"] == "application/xml"
        assert "<Message>Request has expired.</Message>" in expired.text


def test_expired_images_are_deleted_and_the_folder_goes_with_the_emulator() -> None:
    now = [1_800_000_000.0]
    with Emulator(url_lifetime=600, clock=lambda: now[0]) as em:
        folder = em.oss.folder
        for _ in range(3):
            order(em)
        assert len(list(folder.iterdir())) == 3
        now[0] += 601
        order(em)
        assert len(list(folder.iterdir())) == 1
    assert not folder.exists()


def test_a_given_data_folder_keeps_its_images_and_their_urls_work_again(tmp_path: Path) -> None:
    with Emulator(data_dir=tmp_path) as em:
        url = order(em).json()["data"][0]["url"]
        path = url.removeprefix(em.base_url)
    with Emulator(data_dir=tmp_path) as em:
        assert get(em, path).status_code == 200


def test_an_image_that_is_gone_answers_404(tmp_path: Path) -> None:
    with Emulator(data_dir=tmp_path) as em:
        url = order(em).json()["data"][0]["url"]
        for file in (tmp_path / "oss").iterdir():
            file.unlink()
        answer = requests.get(url, timeout=10)
        assert (answer.status_code, "NoSuchKey" in answer.text) == (404, True)


def test_photos_are_served_from_their_folder_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "mug 1.jpg").write_bytes(photo(kind="JPEG"))
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "photos" / "link.txt").symlink_to(tmp_path / "secret.txt")
    with Emulator(photos_dir=tmp_path / "photos") as em:
        found = get(em, "/photos/a/mug%201.jpg")
        assert (found.status_code, found.headers["Content-Type"]) == (200, "image/jpeg")
        for path in ("%2e%2e/secret.txt", "a/..%2f..%2fsecret.txt", "link.txt", "a", "", "%00", "/etc/passwd"):
            assert get(em, f"/photos/{path}").status_code == 404, path
    with Emulator() as em:
        assert get(em, "/photos/a.jpg").status_code == 404


def test_unknown_routes(emulator: Emulator) -> None:
    assert get(emulator, "/").status_code == 404
    assert get(emulator, "/v1/tasks/1", KEY).json()["error"]["message"] == "Invalid URL (GET /v1/tasks/1)"
    assert get(emulator, "/v1/images/generations", KEY).status_code == 404


# --- history and control --------------------------------------------------------------------------------------


def test_history_has_everything_but_the_key_and_the_image_data(emulator: Emulator) -> None:
    data = photo()
    gemini(emulator, inline(data))
    get(emulator, "/v1/models", KEY)
    get(emulator, "/sandbox/health")
    first, second = emulator.history
    assert (first.method, first.path) == ("POST", f"/v1beta/models/{PRO}:generateContent")
    assert first.headers["content-type"] == "application/json"
    assert "sk-sandbox-key" not in str(first)
    kept = first.body["contents"][0]["parts"][1]["inlineData"]["data"]
    assert kept["length"] == len(data)
    assert len(kept["sha256"]) == 64
    assert (second.method, second.path, second.body) == ("GET", "/v1/models", None)
    assert emulator.calls == 1


def test_another_process_can_script_it(emulator: Emulator) -> None:
    def post(path: str, body: Any) -> requests.Response:
        return requests.post(f"{emulator.base_url}/sandbox/{path}", json=body, timeout=10)

    assert post("faults", {"fault": "rate_limited", "times": 2, "retry_after": 7}).json()["queued_faults"] == 2
    answers = [order(emulator) for _ in range(3)]
    assert [a.status_code for a in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert post("mix", {"shares": {"overloaded": 1.0}, "seed": 3}).status_code == 200
    assert order(emulator).status_code == 503
    assert post("mix", {"shares": {}}).status_code == 200
    assert post("latency", {"seconds": [0, 0.01]}).json()["latency"] == [0, 0.01]
    assert order(emulator).status_code == 200
    bill = get(emulator, "/sandbox/bill").json()
    assert bill["total_micro"] == emulator.billed_micro == 180_000
    assert [row["outcome"] for row in bill["rows"]] == ["rate_limited", "rate_limited", "image", "overloaded", "image"]
    assert len(get(emulator, "/sandbox/history").json()) == 5
    assert get(emulator, "/sandbox/health").json()["calls"] == 5


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {"fault": "no_such"}),
        ("faults", {"fault": "hang", "fraction": 1}),
        ("faults", {"fault": "slow_body", "seconds": "long"}),
        ("faults", {"fault": "hang", "times": 0}),
        ("faults", {"fault": "hang", "billed": 1}),
        ("faults", []),
        ("mix", {"shares": {"hang": 0.6, "none": 0.6}}),
        ("mix", {"shares": {"hang": -0.1}}),
        ("latency", {"seconds": -1}),
        ("latency", {"seconds": "x"}),
    ],
)
def test_control_says_what_is_wrong(emulator: Emulator, path: str, body: Any) -> None:
    answer = requests.post(f"{emulator.base_url}/sandbox/{path}", json=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_faults_are_drawn_by_accepted_requests_only(emulator: Emulator) -> None:
    emulator.queue("overloaded")
    assert order(emulator, {"Authorization": "Bearer x"}).status_code == 401
    assert order(emulator, size="1x1").status_code == 400
    assert order(emulator).status_code == 503


def test_a_mix_has_its_shares_and_repeats_with_its_seed() -> None:
    def outcomes() -> list[str]:
        with Emulator(balance_usd=1000) as em:
            em.mix({"rate_limited": 0.3, "overloaded": 0.2, "no_image": 0.5}, seed=4)
            for _ in range(60):
                order(em)
            return [row.outcome for row in em.bill]

    first = outcomes()
    assert first == outcomes()
    assert 10 <= first.count("rate_limited") <= 27
    assert 5 <= first.count("overloaded") <= 20


# --- behaviour under load and at the end ----------------------------------------------------------------------


def test_sixty_at_once_add_up() -> None:
    with Emulator(max_in_flight=60, latency=(0.2, 0.4)) as em, ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: order(em, response_format="b64_json"), range(60)))
        images = {a.json()["data"][0]["b64_json"] for a in answers}
        assert len(images) == 60
        assert len({row.request_id for row in em.bill}) == 60
        assert em.billed_micro == 60 * 90_000
        assert em.balance_micro == 100_000_000 - em.billed_micro
        assert em.calls == 60
        assert 30 < em.in_flight_peak <= 60


def test_two_hundred_can_wait_at_once() -> None:
    with Emulator(max_in_flight=200, latency=3.0) as em:
        em.queue("no_image", times=200)
        with ThreadPoolExecutor(200) as pool:
            codes = list(pool.map(lambda _: order(em).status_code, range(200)))
        assert codes == [200] * 200
        assert em.in_flight_peak > 150


def test_in_flight_never_counts_a_call_that_was_answered() -> None:
    with Emulator(latency=0.01) as em, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: order(em), range(40)))
        assert em.in_flight_peak <= 4


def test_a_client_that_leaves_is_charged_all_the_same() -> None:
    with Emulator(latency=0.5) as em:
        with pytest.raises(requests.Timeout):
            requests.post(
                f"{em.base_url}/v1/images/generations",
                json={"model": "nano-banana-pro", "prompt": "Mug"},
                headers=KEY,
                timeout=0.1,
            )
        assert em.bill == []
        deadline = time.monotonic() + 5
        while not em.bill and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [(row.billed, row.outcome) for row in em.bill] == [(True, "image")]


def test_stopping_ends_waiting_calls_at_once_and_charges_nothing() -> None:
    em = Emulator(latency=60)
    em.start()
    lost: list[bool] = []

    def call() -> None:
        try:
            order(em)
        except requests.ConnectionError:
            lost.append(True)

    waiting = threading.Thread(target=call)
    waiting.start()
    while em.calls < 1:
        time.sleep(0.01)
    began = time.monotonic()
    em.stop()
    waiting.join(5)
    assert time.monotonic() - began < 2
    assert lost == [True]
    assert (em.billed_micro, em.balance_micro) == (0, 100_000_000)


def test_a_port_in_use_is_one_clear_sentence(emulator: Emulator) -> None:
    port = emulator.base_url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "packshot.sandbox.emulator", "--port", port]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stderr) == (2, f"cannot listen on 127.0.0.1:{port}: Address already in use\n")


def test_as_a_process(tmp_path: Path) -> None:
    options = ["--port", "0", "--key", "sk-other", "--latency", "0", "0.01", "--data", str(tmp_path / "data")]
    command = [sys.executable, "-m", "packshot.sandbox.emulator", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        base_url = process.stdout.readline().split()[-1]
        answer = requests.post(
            f"{base_url}/v1/images/generations",
            json={"model": "nano-banana-pro", "prompt": "Mug"},
            headers={"Authorization": "Bearer sk-other"},
            timeout=20,
        )
        assert answer.status_code == 200
        assert len(list((tmp_path / "data" / "oss").iterdir())) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
