"""Every fault, seen from the wire by a client that hides nothing: a bare socket or http.client."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from packshot.sandbox.emulator import Emulator
from packshot.sandbox.faults import FAULTS, Deck, Fault

PRICE = 90_000
KEY = {"Authorization": "Bearer sk-sandbox-key", "Content-Type": "application/json"}
IMAGES, GEMINI = "/v1/images/generations", "/v1beta/models/gemini-3-pro-image:generateContent"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def payload(path: str, **fields: Any) -> bytes:
    if path == GEMINI:
        config = {"generationConfig": {"imageConfig": {"imageSize": fields.get("imageSize", "1K")}}}
        return json.dumps({"contents": [{"parts": [{"text": "Red mug"}]}]} | config).encode()
    return json.dumps({"model": "nano-banana-pro", "prompt": "Red mug", **fields}).encode()


def connect(em: Emulator) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", urlsplit(em.base_url).port, timeout=5)


def call(em: Emulator, path: str = GEMINI, **fields: Any) -> tuple[http.client.HTTPResponse, bytes]:
    """One whole exchange on its own connection."""
    with closing(connect(em)) as connection:
        connection.request("POST", path, payload(path, **fields), KEY)
        response = connection.getresponse()
        return response, response.read()


def raw(em: Emulator, path: str = GEMINI) -> socket.socket:
    """A socket with the request sent and nothing read."""
    connection = socket.create_connection(("127.0.0.1", urlsplit(em.base_url).port or 0), timeout=5)
    body = payload(path)
    fields = {"Host": "x", "Content-Length": len(body), **KEY}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    connection.sendall(f"{head}\r\n".encode() + body)
    return connection


def read_until_silent(connection: socket.socket, silence: float = 0.3) -> tuple[bytes, str]:
    """All bytes until the line is silent, closed or reset; and which of the three it was."""
    connection.settimeout(silence)
    received = b""
    try:
        while block := connection.recv(1 << 20):
            received += block
    except TimeoutError:
        return received, "silent"
    except ConnectionResetError:
        return received, "reset"
    return received, "closed"


def dechunk(received: bytes) -> tuple[bytes, bool]:
    """(body, did the terminating chunk come)."""
    rest, body = received.split(b"\r\n\r\n", 1)[1], b""
    while rest:
        size, rest = rest.split(b"\r\n", 1)
        length = int(size, 16)
        if length == 0:
            return body, True
        body, rest = body + rest[:length], rest[length + 2 :]
    return body, False


def parts_of(body: bytes) -> list[dict[str, Any]]:
    return list(json.loads(body)["candidates"][0]["content"]["parts"])


def images_of(body: bytes) -> list[Image.Image]:
    found: list[Image.Image] = []
    for part in parts_of(body):
        if "inlineData" in part:
            image = Image.open(io.BytesIO(base64.b64decode(part["inlineData"]["data"])))
            image.load()
            found.append(image)
    return found


# --- refusals -------------------------------------------------------------------------------------------------

REFUSALS = {
    "rate_limited": (429, "rate_limit_exceeded"),
    "overloaded": (503, None),
    "no_channel": (503, None),
    "model_not_found": (503, "model_not_found"),
    "server_error": (500, "bad_response_status_code"),
    "write_failed": (500, "write_response_body_failed"),
    "bad_key": (401, None),
    "balance_empty": (403, "insufficient_user_quota"),
    "bad_request": (400, "invalid_request"),
    "moderation_blocked": (400, "moderation_blocked"),
    "google_error": (400, 400),
    "gateway_timeout": (504, None),
}


@pytest.mark.parametrize("path", [IMAGES, GEMINI])
@pytest.mark.parametrize("fault", REFUSALS)
def test_refusals(emulator: Emulator, fault: str, path: str) -> None:
    emulator.queue(fault)
    response, body = call(emulator, path)
    status, code = REFUSALS[fault]
    assert response.status == status
    assert response.headers["Content-Length"] == str(len(body))
    assert response.headers["X-Shellapi-Request-Id"] == emulator.bill[0].request_id
    assert "Retry-After" not in response.headers
    assert json.loads(body)["error"].get("code") == code
    billed = fault == "gateway_timeout"
    assert (emulator.bill[0].outcome, emulator.bill[0].billed) == (fault, billed)
    assert emulator.billed_micro == (PRICE if billed else 0)
    assert emulator.balance_micro == 100_000_000 - emulator.billed_micro


def test_refusals_in_their_own_words(emulator: Emulator) -> None:
    for fault in ("no_channel", "server_error", "google_error"):
        emulator.queue(fault)
    no_channel, server_error, google = (json.loads(call(emulator)[1])["error"] for _ in range(3))
    assert "无可用渠道" in no_channel["message"]
    assert server_error["message"] == ""
    assert google["status"] == "INVALID_ARGUMENT"


def test_bad_gateway_has_an_empty_body(emulator: Emulator) -> None:
    emulator.queue("bad_gateway")
    response, body = call(emulator)
    assert (response.status, body, response.headers["Content-Length"]) == (502, b"", "0")
    assert emulator.billed_micro == 0


def test_cdn_timeout_is_a_page_and_is_charged(emulator: Emulator) -> None:
    emulator.queue("cdn_timeout")
    response, body = call(emulator)
    assert (response.status, body.startswith(b"<html>")) == (524, True)
    assert emulator.billed_micro == PRICE


def test_whether_a_fault_is_charged_can_be_chosen(emulator: Emulator) -> None:
    emulator.queue("gateway_timeout", billed=False)
    emulator.queue("server_error", billed=True)
    call(emulator)
    call(emulator)
    assert [row.billed for row in emulator.bill] == [False, True]
    assert emulator.billed_micro == PRICE


# --- 200 without an image -------------------------------------------------------------------------------------

NO_IMAGE = {
    "image_safety": {"finishReason": "IMAGE_SAFETY"},
    "prohibited": {"finishReason": "PROHIBITED_CONTENT"},
    "no_image": {"finishReason": "NO_IMAGE"},
}


@pytest.mark.parametrize("fault", NO_IMAGE)
def test_finish_reasons(emulator: Emulator, fault: str) -> None:
    emulator.queue(fault)
    response, body = call(emulator)
    assert response.status == 200
    candidate = json.loads(body)["candidates"][0]
    assert candidate["content"] == {"parts": None}
    assert candidate["finishReason"] == NO_IMAGE[fault]["finishReason"]
    assert candidate["finishMessage"]
    assert emulator.billed_micro == PRICE


def test_refusals_count_tokens_in_both_ways(emulator: Emulator) -> None:
    emulator.queue("image_safety", times=12)
    ways = set()
    for _ in range(12):
        usage = json.loads(call(emulator)[1])["usageMetadata"]
        ways.add("none" if usage["candidatesTokenCount"] == 0 else "as thoughts")
        assert usage["candidatesTokenCount"] in (0, usage["thoughtsTokenCount"])
    assert ways == {"none", "as thoughts"}


def test_text_refusal(emulator: Emulator) -> None:
    emulator.queue("text_refusal")
    answer = json.loads(call(emulator)[1])
    candidate = answer["candidates"][0]
    assert candidate["finishReason"] == "STOP"
    assert [part.keys() for part in candidate["content"]["parts"]] == [{"text", "thoughtSignature"}]
    assert 11 <= answer["usageMetadata"]["candidatesTokenCount"] <= 176


def test_candidates_null_prompt_blocked_and_empty_data(emulator: Emulator) -> None:
    for fault in ("candidates_null", "prompt_blocked", "empty_data"):
        emulator.queue(fault)
    null, blocked, empty = (json.loads(call(emulator)[1]) for _ in range(3))
    assert null["candidates"] is None
    assert null["usageMetadata"]["totalTokenCount"] == null["usageMetadata"]["promptTokenCount"]
    assert "candidates" not in blocked
    assert blocked["promptFeedback"] == {"blockReason": "OTHER", "safetyRatings": []}
    assert empty["candidates"] == []
    assert emulator.billed_micro == 3 * PRICE


@pytest.mark.parametrize(
    "fault",
    ["image_safety", "prohibited", "no_image", "text_refusal", "candidates_null", "prompt_blocked", "empty_data"],
)
def test_the_images_format_answers_with_an_empty_list(emulator: Emulator, fault: str) -> None:
    emulator.queue(fault)
    response, body = call(emulator, IMAGES)
    assert (response.status, json.loads(body)["data"]) == (200, [])
    assert emulator.billed_micro == PRICE


def test_a_200_without_a_body_and_one_with_a_page(emulator: Emulator) -> None:
    emulator.queue("empty_200")
    emulator.queue("html_page")
    empty, nothing = call(emulator)
    assert (empty.status, nothing) == (200, b"")
    page, html = call(emulator)
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert html.startswith(b"<!DOCTYPE html>")


# --- 200 with an image in an unusual shape --------------------------------------------------------------------


def test_many_images_end_with_the_final_one(emulator: Emulator) -> None:
    emulator.queue("many_images", count=4)
    body = call(emulator)[1]
    images = images_of(body)
    assert len({image.tobytes() for image in images}) == 4
    assert all("thoughtSignature" in part for part in parts_of(body) if "inlineData" in part)
    assert json.loads(body)["usageMetadata"]["candidatesTokensDetails"][0]["tokenCount"] == 4 * 1120
    emulator.queue("many_images", count=2)
    assert len(json.loads(call(emulator, IMAGES)[1])["data"]) == 2
    assert emulator.billed_micro == 2 * PRICE, "drafts cost nothing extra"


def test_text_before_and_after_the_image(emulator: Emulator) -> None:
    emulator.queue("text_then_image")
    emulator.queue("image_then_text")
    orders = [["text" in part for part in parts_of(call(emulator)[1])] for _ in range(2)]
    assert orders == [[True, False], [False, True]]


def test_snake_case(emulator: Emulator) -> None:
    emulator.queue("snake_case")
    part = next(part for part in parts_of(call(emulator)[1]) if "inline_data" in part)
    assert part["inline_data"]["mime_type"] in ("image/png", "image/jpeg")
    assert base64.b64decode(part["inline_data"]["data"], validate=True)


def test_data_prefix(emulator: Emulator) -> None:
    emulator.queue("data_prefix", times=2)
    part = next(part for part in parts_of(call(emulator)[1]) if "inlineData" in part)
    assert part["inlineData"]["data"].startswith(f"data:{part['inlineData']['mimeType']};base64,")
    body = call(emulator, IMAGES, response_format="b64_json")[1]
    assert json.loads(body)["data"][0]["b64_json"].startswith("data:image/")


def test_wrong_size(emulator: Emulator) -> None:
    emulator.queue("wrong_size")
    sizes = [images_of(call(emulator, imageSize="2K")[1])[0].size for _ in range(2)]
    assert sizes == [(1024, 1024), (2048, 2048)]


def test_white_artefacts(emulator: Emulator) -> None:
    emulator.queue("white_artefacts")
    image = images_of(call(emulator)[1])[0].convert("RGB")
    assert image.getpixel((2, 2)) == pytest.approx((255, 255, 255), abs=3)
    border = image.crop((0, 0, 1024, 60)).convert("L").histogram()
    assert sum(border[:60]) > 10, "black spots on the empty border"
    plain = images_of(call(emulator)[1])[0].convert("L").crop((0, 0, 1024, 60)).histogram()
    assert sum(plain[:60]) == 0


def test_big_body_is_a_big_valid_image(emulator: Emulator) -> None:
    emulator.queue("big_body", times=6, size=3_000_000)
    formats = set()
    for _ in range(6):
        body = call(emulator)[1]
        assert 2_900_000 < len(body) < 3_200_000
        image = images_of(body)[0]
        assert image.size == (1024, 1024)
        formats.add(image.format)
    assert formats == {"PNG", "JPEG"}


def test_group_failover_costs_more(emulator: Emulator) -> None:
    emulator.queue("group_failover")
    assert len(images_of(call(emulator)[1])) == 1
    row = emulator.bill[0]
    assert (row.price_micro, row.group) == (126_000, "NanoBananaEnterprise")
    assert emulator.balance_micro == 100_000_000 - 126_000


# --- the line -------------------------------------------------------------------------------------------------


def test_nothing_is_sent_while_the_image_is_made() -> None:
    with Emulator(latency=0.4) as em, closing(raw(em)) as connection:
        began = time.monotonic()
        connection.recv(1)
        assert time.monotonic() - began >= 0.39


def test_an_ordinary_answer_is_chunked_and_the_connection_lives_on(emulator: Emulator) -> None:
    with closing(connect(emulator)) as connection:
        connection.connect()
        sock = connection.sock
        for _ in range(3):
            connection.request("POST", GEMINI, payload(GEMINI), KEY)
            response = connection.getresponse()
            assert response.headers["Transfer-Encoding"] == "chunked"
            assert "Content-Length" not in response.headers
            assert images_of(response.read())
            assert connection.sock is sock


def test_tail_stall_sends_everything_but_the_end(emulator: Emulator) -> None:
    emulator.queue("tail_stall")
    with closing(raw(emulator)) as connection:
        received, state = read_until_silent(connection)
        body, ended = dechunk(received)
        assert (state, ended) == ("silent", False)
        assert images_of(body)
        assert emulator.billed_micro == PRICE


def test_tail_stall_fin_closes_later_without_the_end(emulator: Emulator) -> None:
    emulator.queue("tail_stall_fin", seconds=0.2)
    with closing(raw(emulator)) as connection:
        began = time.monotonic()
        received, state = read_until_silent(connection, silence=3)
        assert time.monotonic() - began >= 0.19
    body, ended = dechunk(received)
    assert (state, ended) == ("closed", False)
    assert images_of(body)


def test_tail_stall_cut_stalls_in_the_middle(emulator: Emulator) -> None:
    emulator.queue("tail_stall_cut", fraction=0.5)
    with closing(raw(emulator)) as connection:
        received, state = read_until_silent(connection)
    assert state == "silent"
    with pytest.raises(ValueError):
        json.loads(dechunk(received)[0])


def test_late_terminator(emulator: Emulator) -> None:
    emulator.queue("late_terminator", seconds=0.4)
    with closing(raw(emulator)) as connection:
        early, state = read_until_silent(connection, silence=0.2)
        assert (state, dechunk(early)[1]) == ("silent", False)
        late, _ = read_until_silent(connection, silence=0.5)
    assert late == b"0\r\n\r\n"


def test_truncated_json_ends_properly(emulator: Emulator) -> None:
    emulator.queue("truncated_json", fraction=0.9)
    body = call(emulator)[1]
    with pytest.raises(ValueError):
        json.loads(body)
    assert len(body) > 1024
    assert emulator.billed_micro == PRICE


def test_reset_mid_body(emulator: Emulator) -> None:
    emulator.queue("reset_mid_body")
    with closing(raw(emulator)) as connection:
        state = read_until_silent(connection, silence=3)[1]
    assert state == "reset"
    assert emulator.billed_micro == PRICE


def test_disconnect_answers_nothing_and_is_charged(emulator: Emulator) -> None:
    emulator.queue("disconnect")
    with pytest.raises(http.client.RemoteDisconnected):
        call(emulator)
    assert [(row.billed, row.http_status) for row in emulator.bill] == [(True, 0)]


def test_hang_sends_nothing_until_the_client_leaves(emulator: Emulator) -> None:
    emulator.queue("hang")
    with closing(raw(emulator)) as connection:
        assert read_until_silent(connection) == (b"", "silent")
    assert emulator.billed_micro == PRICE


def test_stopping_frees_those_who_hang_and_stall() -> None:
    em = Emulator()
    em.start()
    em.queue("hang")
    em.queue("tail_stall")
    first, second = raw(em), raw(em)
    while len(em.bill) < 2:
        time.sleep(0.01)
    began = time.monotonic()
    em.stop()
    for connection in (first, second):
        assert read_until_silent(connection, silence=3)[1] in ("closed", "reset")
        connection.close()
    assert time.monotonic() - began < 2


def test_slow_body_drips(emulator: Emulator) -> None:
    emulator.queue("slow_body", seconds=0.4)
    with closing(connect(emulator)) as connection:
        began = time.monotonic()
        connection.request("POST", GEMINI, payload(GEMINI), KEY)
        response = connection.getresponse()
        first = time.monotonic() - began
        assert images_of(response.read())
        assert time.monotonic() - began - first > 0.3


def test_latency_can_be_set_for_one_fault(emulator: Emulator) -> None:
    for fault in ("none", "rate_limited"):
        emulator.queue(fault, latency=0.2)
        began = time.monotonic()
        call(emulator)
        assert time.monotonic() - began >= 0.19


def test_some_refusals_come_at_once_whatever_the_latency() -> None:
    with Emulator(latency=5) as em:
        em.queue("rate_limited")
        began = time.monotonic()
        assert call(em)[0].status == 429
        assert time.monotonic() - began < 2


# --- temporary URLs -------------------------------------------------------------------------------------------


def download(em: Emulator, url: str) -> tuple[http.client.HTTPResponse, bytes]:
    with closing(connect(em)) as connection:
        connection.request("GET", url.removeprefix(em.base_url))
        response = connection.getresponse()
        return response, response.read()


def url_with(em: Emulator, fault: str, **parameters: Any) -> str:
    em.queue(fault, **parameters)
    return str(json.loads(call(em, IMAGES)[1])["data"][0]["url"])


def test_url_expired(emulator: Emulator) -> None:
    response, body = download(emulator, url_with(emulator, "url_expired"))
    assert (response.status, b"Request has expired." in body) == (403, True)


def test_url_html(emulator: Emulator) -> None:
    response, body = download(emulator, url_with(emulator, "url_html"))
    assert (response.status, response.headers["Content-Type"]) == (200, "text/html")
    assert b"<html>" in body


def test_url_truncated(emulator: Emulator) -> None:
    url = url_with(emulator, "url_truncated", fraction=0.5)
    with pytest.raises(http.client.IncompleteRead) as caught:
        download(emulator, url)
    assert len(caught.value.partial) == pytest.approx(caught.value.expected or 0, abs=1)


def test_url_cut(emulator: Emulator) -> None:
    response, body = download(emulator, url_with(emulator, "url_cut", fraction=0.5))
    assert int(response.headers["Content-Length"]) == len(body)
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(body)).load()


def test_url_slow(emulator: Emulator) -> None:
    url = url_with(emulator, "url_slow", seconds=0.3)
    began = time.monotonic()
    body = download(emulator, url)[1]
    assert time.monotonic() - began >= 0.29
    Image.open(io.BytesIO(body)).load()


def test_url_500_for_the_first_downloads_only(emulator: Emulator) -> None:
    url = url_with(emulator, "url_500", downloads=2)
    assert [download(emulator, url)[0].status for _ in range(4)] == [500, 500, 200, 200]
    always = url_with(emulator, "url_500")
    assert [download(emulator, always)[0].status for _ in range(3)] == [500, 500, 500]


def test_url_redirects_to_a_private_address(emulator: Emulator) -> None:
    response, _ = download(emulator, url_with(emulator, "url_redirect_private"))
    assert (response.status, response.headers["Location"]) == (302, "http://10.0.0.1/")
    response, _ = download(emulator, url_with(emulator, "url_redirect_private", location="file:///etc/passwd"))
    assert response.headers["Location"] == "file:///etc/passwd"


def test_every_url_fault_is_charged(emulator: Emulator) -> None:
    names = [name for name in FAULTS if name.startswith("url_")]
    for name in names:
        url_with(emulator, name)
    assert len(names) == 7
    assert emulator.billed_micro == 7 * PRICE


# --- the deck -------------------------------------------------------------------------------------------------


def test_the_queue_comes_before_chance_and_in_order() -> None:
    deck = Deck()
    deck.mix({"hang": 1.0})
    deck.queue("overloaded", times=2)
    deck.queue("none")
    assert [deck.draw().name for _ in range(5)] == ["overloaded", "overloaded", "none", "hang", "hang"]


def test_parameters_are_checked_and_completed() -> None:
    assert Fault.make("truncated_json").parameters == {"fraction": 0.6}
    with pytest.raises(ValueError, match="no parameter 'second'; allowed: billed, latency, seconds"):
        Fault.make("slow_body", second=1)
    with pytest.raises(ValueError, match=r"unknown fault 'slow'; known: .*slow_body"):
        Fault.make("slow")


def test_refused_calls_are_never_charged_by_default() -> None:
    free = {name for name, kind in FAULTS.items() if not kind.billed}
    assert free == (REFUSALS.keys() - {"gateway_timeout"}) | {"bad_gateway"}
