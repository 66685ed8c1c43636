"""The real client against the emulator, over HTTP: every shape, every fault."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pickle
import re
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from packshot.apiyi import Answer, ApiyiClient, ImageRequest, pixels
from packshot.apiyi import spool as spool_module
from packshot.errors import Billed, Code, ConfigError, PackshotError, ProviderError
from packshot.sandbox.emulator import Emulator
from packshot.sandbox.faults import FAULTS

MakeClient = Callable[..., ApiyiClient]
FORMATS: dict[str, dict[str, Any]] = {
    "url": {"apiyi_format": "images", "apiyi_response": "url"},
    "b64": {"apiyi_format": "images", "apiyi_response": "b64_json"},
    "gemini": {"apiyi_format": "gemini"},
}
QUICKLY: dict[str, dict[str, Any]] = {
    "late_terminator": {"seconds": 5.0},
    "tail_stall_fin": {"seconds": 0.05},
    "slow_body": {"seconds": 0.4},
    "big_body": {"size": 3_000_000},
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def order(chosen: str, **fields: Any) -> ImageRequest:
    model = "gemini-3-pro-image" if chosen == "gemini" else "nano-banana-pro"
    usual: dict[str, Any] = {"prompt": "a mug", "model": model, "aspect_ratio": "4:5", "image_size": "1K"}
    return ImageRequest(**(usual | fields))


def size_of(answer: Answer) -> tuple[int, int]:
    data = answer.path.read_bytes() if answer.path else requests.get(answer.url or "", timeout=5).content
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.size


IMAGES = [
    "none", "many_images", "text_then_image", "image_then_text", "snake_case", "data_prefix", "wrong_size",
    "white_artefacts", "big_body", "group_failover", "slow_body", "tail_stall", "tail_stall_fin", "late_terminator",
]  # fmt: skip
STALLED = {"tail_stall", "tail_stall_fin", "late_terminator"}


@pytest.mark.parametrize("chosen", FORMATS)
@pytest.mark.parametrize("fault", IMAGES)
def test_an_image_comes_home(
    emulator: Emulator, make_client: MakeClient, tmp_path: Path, chosen: str, fault: str
) -> None:
    emulator.queue(fault, **QUICKLY.get(fault, {}))
    before = datetime.now(UTC)
    answer = make_client(emulator.base_url, **FORMATS[chosen]).generate(order(chosen), tmp_path / "spool", "job-1")
    assert answer.http_status == 200
    assert answer.stalled is (fault in STALLED)
    assert 0 < answer.seconds < 3
    assert answer.request_ids["x-shellapi-request-id"]
    assert answer.body_path == tmp_path / "spool" / "job-1.body"
    json.loads(answer.body_path.read_bytes())
    assert all(count >= 0 for count in answer.usage.values())
    assert answer.usage
    assert size_of(answer) == pixels("4:5", "1K")
    if chosen == "url":
        assert answer.path is None
        assert answer.expires_at is not None
        assert timedelta(minutes=59) < answer.expires_at - before < timedelta(minutes=61)
        assert sorted(p.name for p in (tmp_path / "spool").iterdir()) == ["job-1.body", "job-1.head"]
    else:
        assert (answer.url, answer.expires_at) == (None, None)
        assert answer.path == tmp_path / "spool" / "job-1.img"
        with Image.open(answer.path) as image:
            assert answer.mime == f"image/{str(image.format).lower()}"
    if chosen == "gemini":
        assert answer.model_version == "gemini-3-pro-image"
        assert answer.request_ids["responseId"]


REFUSALS = {
    "rate_limited": Code.RATE_LIMITED,
    "overloaded": Code.OVERLOADED,
    "no_channel": Code.MODEL_UNAVAILABLE,
    "model_not_found": Code.MODEL_UNAVAILABLE,
    "bad_gateway": Code.BAD_GATEWAY,
    "gateway_timeout": Code.GATEWAY_TIMEOUT,
    "cdn_timeout": Code.GATEWAY_TIMEOUT,
    "server_error": Code.SERVER_ERROR,
    "write_failed": Code.WRITE_FAILED,
    "bad_key": Code.BAD_KEY,
    "balance_empty": Code.BALANCE_EMPTY,
    "bad_request": Code.BAD_REQUEST,
    "moderation_blocked": Code.MODERATION_BLOCKED,
    "google_error": Code.BAD_REQUEST,
    "empty_data": Code.NO_IMAGE,
    "empty_200": Code.NO_IMAGE,
    "html_page": Code.NOT_JSON,
    "tail_stall_cut": Code.ANSWER_CUT,
    "truncated_json": Code.ANSWER_CUT,
    "reset_mid_body": Code.CONNECTION_LOST,
    "disconnect": Code.CONNECTION_LOST,
    "hang": Code.TIMEOUT,
}
# Only the gemini format says why there is no image.
REASONS = {
    "image_safety": Code.REFUSED_SAFETY,
    "prohibited": Code.REFUSED_PROHIBITED,
    "no_image": Code.NO_IMAGE,
    "text_refusal": Code.REFUSED_TEXT,
    "candidates_null": Code.INPUT_BLOCKED,
    "prompt_blocked": Code.INPUT_BLOCKED,
}
NO_ANSWER = {"disconnect", "hang"}


@pytest.mark.parametrize("chosen", FORMATS)
@pytest.mark.parametrize("fault", [*REFUSALS, *REASONS])
def test_a_call_without_an_image_says_why_and_leaves_nothing(
    emulator: Emulator, make_client: MakeClient, tmp_path: Path, chosen: str, fault: str
) -> None:
    emulator.queue(fault)
    client = make_client(emulator.base_url, **FORMATS[chosen], first_byte_timeout=0.5)
    charged = emulator.billed_micro
    with pytest.raises(ProviderError) as caught:
        client.generate(order(chosen), tmp_path, "job-1")
    error = caught.value
    assert error.code is (REFUSALS | (REASONS if chosen == "gemini" else dict.fromkeys(REASONS, Code.NO_IMAGE)))[fault]
    assert list(tmp_path.iterdir()) == []
    assert set(error.details) >= {"http_status", "request_ids", "seconds", "excerpt"}
    assert (error.details["http_status"] is None) is (fault in NO_ANSWER)
    assert bool(error.details["request_ids"]) is (fault not in NO_ANSWER)
    assert 0 <= error.details["seconds"] < 3
    if fault not in {*NO_ANSWER, "bad_gateway", "empty_200"}:
        assert error.details["excerpt"]
    assert error.details.get("maybe_transient", False) is (error.code is Code.MODEL_UNAVAILABLE)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code, copy.details) == (error.code, error.details)
    # A call the provider charged is never taken for one that cost nothing.
    if emulator.billed_micro > charged:
        assert error.code.billed is not Billed.NO
    # The line is good for the next call.
    assert client.generate(order(chosen), tmp_path, "job-2").http_status == 200


def test_every_fault_of_the_emulator_is_tried() -> None:
    of_the_download = {fault for fault in FAULTS if fault.startswith("url_")}
    assert {*IMAGES, *REFUSALS, *REASONS} | of_the_download == set(FAULTS)


def test_an_expired_url_says_so_itself(emulator: Emulator, make_client: MakeClient, tmp_path: Path) -> None:
    emulator.queue("url_expired", seconds=120.0)
    answer = make_client(emulator.base_url).generate(order("url"), tmp_path, "job-1")
    assert answer.expires_at is not None
    assert timedelta(minutes=1) < datetime.now(UTC) - answer.expires_at < timedelta(minutes=3)


def test_the_last_of_several_images_is_taken(emulator: Emulator, make_client: MakeClient, tmp_path: Path) -> None:
    emulator.queue("many_images", count=4)
    answer = make_client(emulator.base_url, apiyi_format="gemini").generate(order("gemini"), tmp_path, "job-1")
    raw = json.loads(answer.body_path.read_bytes())
    parts = [p["inlineData"]["data"] for p in raw["candidates"][0]["content"]["parts"] if "inlineData" in p]
    assert len(parts) == 4
    assert answer.path is not None
    assert answer.path.read_bytes() == base64.b64decode(parts[-1])
    assert parts[-1] != parts[0]


def test_a_token_of_an_oss_group_answers_gemini_calls_with_a_url(make_client: MakeClient, tmp_path: Path) -> None:
    with Emulator(url_mode="oss", url_lifetime=600) as oss:
        answer = make_client(oss.base_url, apiyi_format="gemini").generate(order("gemini"), tmp_path, "job-1")
    assert answer.url is not None
    assert re.fullmatch(re.escape(oss.base_url) + r"/oss/\S+\.png\?Expires=\d+\S*", answer.url)
    assert answer.path is None


def test_photos_arrive_whole_and_in_order(emulator: Emulator, make_client: MakeClient, tmp_path: Path) -> None:
    photos = []
    for name, colour in (("back.jpg", "red"), ("front.jpg", "blue")):
        Image.new("RGB", (640, 480), colour).save(tmp_path / name)
        photos.append(tmp_path / name)
    request = order("gemini", references=tuple((photo, "image/jpeg") for photo in photos))
    make_client(emulator.base_url, apiyi_format="gemini").generate(request, tmp_path / "spool", "job-1")
    parts = emulator.history[-1].body["contents"][0]["parts"]
    assert [p["inlineData"]["data"]["sha256"] for p in parts[1:]] == [
        hashlib.sha256(photo.read_bytes()).hexdigest() for photo in photos
    ]


def test_nothing_is_sent_for_a_request_that_cannot_be_made(
    emulator: Emulator, make_client: MakeClient, tmp_path: Path
) -> None:
    calls = emulator.calls
    with pytest.raises(ConfigError):
        make_client(emulator.base_url).generate(order("url", aspect_ratio="7:5"), tmp_path, "job-1")
    assert emulator.calls == calls
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_key_is_told_and_not_shown(emulator: Emulator, make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(emulator.base_url, apiyi_key="sk-wrong-key-123")
    for call in (client.models, lambda: client.generate(order("url"), tmp_path, "job-1")):
        with pytest.raises(ProviderError) as caught:
            call()
        assert caught.value.code is Code.BAD_KEY
        assert "wrong-key" not in str(caught.value) + str(caught.value.details)


def test_models(emulator: Emulator, make_client: MakeClient) -> None:
    charged = emulator.billed_micro
    models = make_client(emulator.base_url).models()
    assert "gemini-3-pro-image" in models
    assert models == sorted(models)
    assert emulator.billed_micro == charged


def test_many_threads_share_a_client(emulator: Emulator, make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(emulator.base_url, **FORMATS["gemini"])
    threads = threading.active_count()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.generate(order("gemini"), tmp_path, f"job-{n}"), range(24)))
    assert len({answer.path for answer in answers}) == 24
    assert len({answer.request_ids["responseId"] for answer in answers}) == 24
    client.close()
    assert sum(t.name == "packshot-watch" for t in threading.enumerate()) == 0
    assert threading.active_count() <= threads + 8  # the emulator's, one for each connection


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize(("wire", "full"), [("gemini", "job-1.body"), ("gemini", "job-1.img"), ("url", "job-1.body")])
def test_a_full_disk_is_booked_as_paid_and_stops_the_run(
    emulator: Emulator, make_client: MakeClient, tmp_path: Path, wire: str, full: str
) -> None:
    """The answers are a long one and, with a URL, one so short that a buffer holds all of it."""
    (tmp_path / full).symlink_to("/dev/full")
    with pytest.raises(ProviderError) as caught:
        make_client(emulator.base_url, **FORMATS[wire]).generate(order(wire), tmp_path, "job-1")
    error = caught.value
    assert error.code is Code.ANSWER_NOT_SAVED
    assert error.code.billed is Billed.YES
    assert error.code.stops_run
    assert "No space left" in error.message
    assert error.details["http_status"] == 200
    assert error.details["request_ids"]
    # The whole answer is on the disk when only the image did not fit: it stays.
    assert sorted(p.name for p in tmp_path.iterdir()) == (["job-1.body", "job-1.head"] if full == "job-1.img" else [])


def test_no_call_is_made_with_a_disk_that_is_nearly_full(
    emulator: Emulator, make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LEAST_FREE", 2**60)
    calls = emulator.calls
    with pytest.raises(PackshotError, match="nothing was bought") as caught:
        make_client(emulator.base_url).generate(order("url"), tmp_path, "job-1")
    assert caught.value.code is Code.DISK_FULL
    assert emulator.calls == calls


def test_a_spool_that_cannot_be_made_is_told_before_the_call(
    emulator: Emulator, make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    calls = emulator.calls
    with pytest.raises(ConfigError, match="PACKSHOT_HOME"):
        make_client(emulator.base_url).generate(order("url"), tmp_path / "file" / "spool", "job-1")
    assert emulator.calls == calls


def test_a_40_mb_answer_takes_little_memory(make_client: MakeClient, tmp_path: Path) -> None:
    """Of this process; the emulator, which holds its answers whole, runs in another one."""
    server = subprocess.Popen(
        [sys.executable, "-m", "packshot.sandbox.emulator", "--port", "0", "--latency", "0"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        base_url = server.stdout.readline().split()[-1]
        client = make_client(base_url, **FORMATS["gemini"], silence_timeout=10)
        client.generate(order("gemini"), tmp_path, "small")
        requests.post(f"{base_url}/sandbox/faults", json={"fault": "big_body", "size": 40_000_000}, timeout=5)
        tracemalloc.start()
        answer = client.generate(order("gemini"), tmp_path, "big")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        server.terminate()
        server.communicate(timeout=10)
    assert answer.body_path.stat().st_size > 39_000_000
    assert answer.path is not None
    assert answer.path.stat().st_size > 29_000_000
    assert peak < 12_000_000
