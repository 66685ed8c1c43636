"""What the line can do to a call, byte by byte, and what must never be on it."""

from __future__ import annotations

import base64
import gc
import gzip
import json
import pickle
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from packshot.apiyi import ApiyiClient, ImageRequest
from packshot.apiyi import client as client_module
from packshot.errors import Billed, Code, ConfigError, PackshotError, ProviderError
from tests.apiyi.conftest import KEY
from tests.apiyi.loopback import (
    Answering,
    Loopback,
    body_length,
    chunk,
    close,
    hold,
    read_exactly,
    reset,
    saying,
    sized,
)

MakeClient = Callable[..., ApiyiClient]
ORDER = ImageRequest("a mug", "nano-banana-pro", "1:1", "1K")
ANSWER = json.dumps({"data": [{"url": "https://b.oss-us-west-1.aliyuncs.com/x.png"}]}).encode()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def failure(client: ApiyiClient, spool: Path, request: ImageRequest = ORDER) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        client.generate(request, spool, "job-1")
    assert list(spool.iterdir()) == []
    return caught.value


# --- not billed: the request did not arrive -----------------------------------------------------------------------


def test_nobody_listens(make_client: MakeClient, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = failure(make_client(f"http://127.0.0.1:{port}"), tmp_path)
    assert error.code is Code.CONNECT_FAILED
    assert error.code.billed is Billed.NO
    assert "Connection refused" in error.message
    assert error.details["http_status"] is None


def test_no_such_name(make_client: MakeClient, tmp_path: Path) -> None:
    assert failure(make_client("http://packshot.invalid"), tmp_path).code is Code.CONNECT_FAILED


def test_a_server_that_speaks_no_tls(make_client: MakeClient, tmp_path: Path) -> None:
    with Loopback(sized(ANSWER)) as server:
        client = make_client(server.base_url.replace("http:", "https:"))
        assert failure(client, tmp_path).code is Code.CONNECT_FAILED


def test_a_line_that_breaks_while_photos_are_sent(make_client: MakeClient, tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "a.jpg"
    photo.parent.mkdir()
    photo.write_bytes(bytes(6_000_000))
    request = ImageRequest("a mug", "gemini-3-pro-image", "1:1", "1K", ((photo, "image/jpeg"),))
    with Loopback(reset, read_bodies=False) as server:
        error = failure(make_client(server.base_url, apiyi_format="gemini"), _made(tmp_path / "spool"), request)
    assert error.code is Code.CONNECT_FAILED


def test_photos_that_nobody_takes(make_client: MakeClient, tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "a.jpg"
    photo.parent.mkdir()
    photo.write_bytes(bytes(20_000_000))
    request = ImageRequest("a mug", "gemini-3-pro-image", "1:1", "1K", ((photo, "image/jpeg"),))

    def take_nothing(connection: socket.socket) -> None:
        server.over.wait()

    with Loopback(take_nothing, read_bodies=False) as server:
        client = make_client(server.base_url, apiyi_format="gemini", connect_timeout=0.3)
        error = failure(client, _made(tmp_path / "spool"), request)
    assert error.code is Code.CONNECT_FAILED
    assert error.details["seconds"] < 2


def test_an_upload_slower_than_the_connect_timeout_is_no_failure(make_client: MakeClient, tmp_path: Path) -> None:
    """The timeout of a socket bounds a whole sendall: photos sent in one go would have to leave within it."""
    photo = tmp_path / "a.jpg"
    photo.write_bytes(bytes(9_000_000))

    def read_slowly(connection: socket.socket) -> None:
        left = body_length(server.heads[-1])
        while left:
            left -= len(read_exactly(connection, min(left, 200_000)))
            time.sleep(0.01)
        sized(ANSWER)(connection)

    request = ImageRequest("a mug", "gemini-3-pro-image", "1:1", "1K", ((photo, "image/jpeg"),))
    with Loopback(read_slowly, read_bodies=False) as server:
        client = make_client(server.base_url, apiyi_format="gemini", connect_timeout=0.25)
        answer = client.generate(request, tmp_path / "spool", "job-1")
    assert answer.seconds > 0.5


# --- billed perhaps: the request arrived ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        reset,
        close,
        saying(b"SSH-2.0-OpenSSH\r\n\r\n", close),
        saying(b"HTTP/1.1 200 OK\r\nCont", reset),
        saying(CHUNKED, reset),
    ],
)
def test_a_line_that_breaks_after_the_request(make_client: MakeClient, tmp_path: Path, answer: Answering) -> None:
    with Loopback(answer) as server:
        error = failure(make_client(server.base_url), tmp_path)
    assert error.code is Code.CONNECTION_LOST
    assert error.code.billed is Billed.UNKNOWN


def test_an_answer_that_ends_before_its_length(make_client: MakeClient, tmp_path: Path) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ANSWER)}\r\n\r\n".encode()
    with Loopback(saying(head + ANSWER[:-5], close)) as server:
        error = failure(make_client(server.base_url), tmp_path)
    assert error.code is Code.ANSWER_CUT
    assert error.details["excerpt"] == ANSWER[:-5].decode()


def test_a_whole_answer_counts_even_if_the_line_breaks_behind_it(make_client: MakeClient, tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(CHUNKED + chunk(ANSWER))
        time.sleep(0.05)
        reset(connection)

    with Loopback(answer) as server:
        got = make_client(server.base_url).generate(ORDER, tmp_path, "job-1")
    assert got.stalled
    assert got.url


def test_the_first_byte_is_waited_for_longer_at_4k(make_client: MakeClient, tmp_path: Path) -> None:
    def late(connection: socket.socket) -> None:
        server.over.wait(0.7)
        sized(ANSWER)(connection)

    with Loopback(late) as server:
        client = make_client(server.base_url, first_byte_timeout=0.3, first_byte_timeout_4k=3)
        error = failure(client, tmp_path)
        assert error.code is Code.TIMEOUT
        assert 0.3 <= error.details["seconds"] < 0.7
        assert client.generate(ImageRequest("x", "m", "1:1", "4K"), tmp_path, "job-2").url


def test_headers_alone_are_no_first_byte(make_client: MakeClient, tmp_path: Path) -> None:
    """A gateway that sends its headers at once still takes a minute for the image."""

    def late(connection: socket.socket) -> None:
        connection.sendall(CHUNKED)
        server.over.wait(0.8)
        connection.sendall(chunk(ANSWER) + chunk(b""))

    with Loopback(late) as server:
        patient = make_client(server.base_url, silence_timeout=0.2)
        assert patient.generate(ORDER, tmp_path / "a", "job-1").url
        hasty = make_client(server.base_url, first_byte_timeout=0.3)
        assert failure(hasty, _made(tmp_path / "b")).code is Code.TIMEOUT


@pytest.mark.parametrize("status", ["200 OK", "500 Oops"])
@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_call_ends_even_if_bytes_drip_for_ever(
    make_client: MakeClient, tmp_path: Path, part: str, status: str
) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status}\r\n".encode())
        if part == "body":
            connection.sendall(b"\r\n{")
        while not server.over.wait(0.05):
            connection.sendall(b"X-Wait: yes\r\n" if part == "headers" else b" ")

    with Loopback(drip) as server:
        # Long enough for a busy machine to read the first line: without it nobody knows that it was a 500.
        error = failure(make_client(server.base_url, total_timeout=2.0), tmp_path)
    assert error.code is (Code.SERVER_ERROR if status.startswith("5") else Code.TIMEOUT)
    assert 2.0 <= error.details["seconds"] < 2.6


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Connection: close"])
def test_silence_in_the_middle_ends_the_call(make_client: MakeClient, tmp_path: Path, framing: str) -> None:
    def stop(connection: socket.socket) -> None:
        part = ANSWER[:30]
        connection.sendall(
            f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode() + (chunk(part) if "chunk" in framing else part)
        )
        server.over.wait()

    with Loopback(stop) as server:
        error = failure(make_client(server.base_url), tmp_path)
    assert error.code is Code.ANSWER_CUT
    assert 0.5 <= error.details["seconds"] < 1.2


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Connection: close"])
@pytest.mark.parametrize("tail", [b"", b"\r\n  \n"])
def test_a_whole_answer_and_a_silent_line_is_used(
    make_client: MakeClient, tmp_path: Path, framing: str, tail: bytes
) -> None:
    def stall(connection: socket.socket) -> None:
        body = ANSWER + tail
        # Not even the line break behind the chunk.
        connection.sendall(
            f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode() + (chunk(body)[:-2] if "chunk" in framing else body)
        )
        server.over.wait()

    with Loopback(stall) as server:
        client = make_client(server.base_url)
        for name in ("one", "two"):  # the stalled line is not used again
            answer = client.generate(ORDER, tmp_path, name)
            assert answer.stalled
            assert 0.15 <= answer.seconds < 0.45
        assert server.connections == 2


@pytest.mark.parametrize(("body", "waits"), [(ANSWER, "the grace"), (ANSWER[:30], "the silence")])
def test_a_line_that_stalls_after_a_long_wait_is_noticed_at_once(
    make_client: MakeClient, tmp_path: Path, body: bytes, waits: str
) -> None:
    """The first byte may take minutes; what comes after it may not."""

    def late(connection: socket.socket) -> None:
        server.over.wait(0.8)  # several times the grace
        connection.sendall(CHUNKED + chunk(body))
        server.over.wait()

    with Loopback(late) as server:
        client = make_client(server.base_url, first_byte_timeout=60)
        began = time.monotonic()
        if waits == "the grace":
            assert client.generate(ORDER, tmp_path, "job-1").stalled
        else:
            assert failure(client, tmp_path).code is Code.ANSWER_CUT
        assert time.monotonic() - began < 2.5


def test_an_answer_with_a_length_is_not_taken_for_stalled(make_client: MakeClient, tmp_path: Path) -> None:
    def pause(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(ANSWER) + 1}\r\n\r\n".encode() + ANSWER)
        server.over.wait(0.4)
        connection.sendall(b"\n")

    with Loopback(pause) as server:
        answer = make_client(server.base_url).generate(ORDER, tmp_path, "job-1")
    assert not answer.stalled
    assert answer.seconds > 0.4


def test_an_object_that_only_looks_finished_is_waited_for(make_client: MakeClient, tmp_path: Path) -> None:
    def pause(connection: socket.socket) -> None:
        connection.sendall(CHUNKED + chunk(b'{"data":[{"url":"https://cdn.example/{x}'))
        server.over.wait(0.3)
        connection.sendall(chunk(b'.png"}]}') + chunk(b""))

    with Loopback(pause) as server:
        answer = make_client(server.base_url).generate(ORDER, tmp_path, "job-1")
    assert answer.url == "https://cdn.example/{x}.png"
    assert not answer.stalled


def test_an_error_whose_body_never_ends_is_still_read(make_client: MakeClient, tmp_path: Path) -> None:
    def stall(connection: socket.socket) -> None:
        body = b'{"error":{"code":"insufficient_user_quota","message":"no"}}'
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(body))
        server.over.wait()

    with Loopback(stall) as server:
        assert failure(make_client(server.base_url), tmp_path).code is Code.BALANCE_EMPTY


def test_an_endless_error_page_is_not_read_to_its_end(make_client: MakeClient, tmp_path: Path) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        while not server.over.is_set():
            connection.sendall(b"x" * 100_000)

    with Loopback(flood) as server:
        error = failure(make_client(server.base_url), tmp_path)
    assert error.code is Code.BAD_GATEWAY
    assert error.details["seconds"] < 1


def test_a_compressed_answer_is_read(make_client: MakeClient, tmp_path: Path) -> None:
    with Loopback(sized(gzip.compress(ANSWER), "200 OK", "Content-Encoding: gzip")) as server:
        assert make_client(server.base_url).generate(ORDER, tmp_path, "job-1").url
    assert "accept-encoding: identity" in server.heads[0].lower()


# --- an image that is none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["no base64!", "A", "x" * 70_000 + "!"])
def test_an_image_that_is_no_base64_was_paid_for(make_client: MakeClient, tmp_path: Path, data: str) -> None:
    with Loopback(sized(json.dumps({"data": [{"b64_json": data}]}).encode())) as server:
        error = failure(make_client(server.base_url), tmp_path)
    assert error.code is Code.NO_IMAGE
    assert error.code.billed is Billed.YES


@pytest.mark.parametrize(
    ("head", "declared", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n1234", "image/jpeg", "image/png"),
        (b"\xff\xd8\xff\xe01234567", "image/png", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/png", "image/webp"),
        (b"something else", "image/png", "image/png"),
    ],
)
def test_the_bytes_say_what_an_image_is(
    make_client: MakeClient, tmp_path: Path, head: bytes, declared: str, mime: str
) -> None:
    part = {"inlineData": {"mimeType": declared, "data": base64.b64encode(head).decode()}}
    body = json.dumps({"candidates": [{"content": {"parts": [part]}}]}).encode()
    with Loopback(sized(body)) as server:
        answer = make_client(server.base_url).generate(ORDER, tmp_path, "job-1")
    assert answer.mime == mime
    assert answer.path is not None
    assert answer.path.read_bytes() == head


# --- the key, and where a POST may go ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_an_error_and_is_not_followed(make_client: MakeClient, tmp_path: Path, status: str) -> None:
    with Loopback(sized(ANSWER)) as elsewhere:
        target = elsewhere.base_url
        with Loopback(sized(b"", status, f"Location: {target}/x?token={KEY}")) as server:
            client = make_client(server.base_url)
            error = failure(client, tmp_path)
            with pytest.raises(ProviderError):
                client.models()
        assert elsewhere.connections == 0
    assert error.code is Code.SETTINGS_INVALID
    assert target in error.message
    assert KEY not in error.message


def test_no_netrc_replaces_the_key(make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Loopback(sized(ANSWER)) as server:
        client = make_client(server.base_url)
        client.generate(ORDER, tmp_path / "spool", "job-1")
        client.generate(ORDER, tmp_path / "spool", "job-2")
    assert [f"authorization: bearer {KEY}" in head.lower() for head in server.heads] == [True, True]


ECHO = "no-usual-key/with+odd=letters"


def echo(status: str) -> Answering:
    said = f'{{"error":{{"message":"key {ECHO} or Bearer {ECHO} is not good","code":"{ECHO}"}}}}'
    return sized(said.encode(), status, f"x-request-id: {ECHO}", f"Location: http://x/{ECHO}")


@pytest.mark.parametrize(
    "answer",
    [
        *(echo(status) for status in ("200 OK", "301 Moved", "400 No", "401 No", "403 No", "404 No", "500 No")),
        sized(f"<html>{ECHO}".encode()),
        sized(f'{{"cut": "{ECHO}'.encode()),
        sized(json.dumps({"candidates": [{"content": {"parts": [{"text": f"I see {ECHO}"}]}}]}).encode()),
        reset,
        saying(f"HTTP/1.1 {ECHO}\r\n\r\n".encode(), close),
    ],
)  # fmt: skip
def test_the_key_is_in_no_error(make_client: MakeClient, tmp_path: Path, answer: Answering) -> None:
    with Loopback(answer) as server:
        client = make_client(server.base_url, apiyi_key=f" {ECHO}\n")
        error: ProviderError = failure(client, tmp_path)
        errors: list[PackshotError] = [error]
        with pytest.raises(ProviderError) as caught:
            client.models()
        errors.append(caught.value)
    assert f"Bearer {ECHO}" in server.heads[0]
    for e in errors:
        assert ECHO not in str(e) + repr(e) + repr(e.details) + repr(vars(e))
        assert ECHO.encode() not in pickle.dumps(e)
        # An exception it came from would hold the request, and the request the key.
        assert (e.__cause__, e.__context__) == (None, None)
    assert ECHO not in repr(client) + repr(vars(client))


@pytest.mark.parametrize("key", ["sk-a b", "sk-\u043a\u043b\u044e\u0447", "sk-a\nX-Evil: 1", "sk-a\x00b"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(make_client: MakeClient, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_client("http://127.0.0.1:1", apiyi_key=key)
    assert caught.value.code is Code.BAD_KEY
    assert key not in str(caught.value)


def test_a_missing_key_is_told_before_any_call(make_client: MakeClient) -> None:
    with pytest.raises(ConfigError, match="PACKSHOT_APIYI_KEY"):
        make_client("http://127.0.0.1:1", apiyi_key="")


# --- connections ---------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_for_the_next_call_but_not_for_long(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback(sized(ANSWER)) as server:
        client = make_client(server.base_url)
        for number in range(3):
            client.generate(ORDER, tmp_path, f"job-{number}")
        assert server.connections == 1
        monkeypatch.setattr(client_module, "_MOST_IDLE", 0.0)
        client.generate(ORDER, tmp_path, "job-4")
        assert server.connections == 2


def test_a_kept_connection_that_the_server_closed_is_not_used(make_client: MakeClient, tmp_path: Path) -> None:
    def once(connection: socket.socket) -> None:
        sized(ANSWER)(connection)
        connection.shutdown(socket.SHUT_RDWR)

    with Loopback(once) as server:
        client = make_client(server.base_url)
        for number in range(3):
            assert client.generate(ORDER, tmp_path, f"job-{number}").url
            time.sleep(0.02)
        assert server.connections == 3


def test_tcp_keep_alive_is_on(make_client: MakeClient, tmp_path: Path) -> None:
    def options() -> list[tuple[int, int]]:
        found = []
        for item in gc.get_objects():
            if type(item) is socket.socket and item.family == socket.AF_INET and item.fileno() >= 0:
                try:
                    if item.getpeername()[1] != port:
                        continue
                except OSError:
                    continue
                idle = (
                    item.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) if hasattr(socket, "TCP_KEEPIDLE") else 60
                )
                found.append((item.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), idle))
        return found

    with Loopback(sized(ANSWER)) as server:
        port = int(server.base_url.rsplit(":", 1)[1])
        make_client(server.base_url).generate(ORDER, tmp_path, "job-1")
        assert options() == [(1, 60)]


def test_calls_leave_no_thread_and_no_open_file(make_client: MakeClient, tmp_path: Path) -> None:
    handles = Path("/proc/self/fd")
    with Loopback(saying(CHUNKED + chunk(ANSWER), hold)) as server:
        client = make_client(server.base_url)
        client.generate(ORDER, tmp_path, "job-0")
        gc.collect()
        time.sleep(0.1)
        before = len(list(handles.iterdir())) if handles.exists() else 0
        for number in range(3):
            assert client.generate(ORDER, tmp_path, f"job-{number}").stalled
        gc.collect()
        # The server's side of three lines stays open until the test ends.
        assert (len(list(handles.iterdir())) if handles.exists() else 0) <= before + 3 * 2
        assert [t.name for t in threading.enumerate() if t.name == "packshot-watch"] == []


def test_a_call_that_ends_leaves_the_others_watched(make_client: MakeClient, tmp_path: Path) -> None:
    with (
        Loopback(saying(CHUNKED + chunk(ANSWER), hold)) as slow,
        Loopback(sized(ANSWER)) as quick,
        ThreadPoolExecutor(1) as pool,
    ):
        stalling = pool.submit(make_client(slow.base_url).generate, ORDER, tmp_path, "job-0")
        client = make_client(quick.base_url)
        for number in range(1, 6):
            assert not client.generate(ORDER, tmp_path, f"job-{number}").stalled
        assert stalling.result(timeout=30).stalled


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "packshot test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + made.public_bytes(pem)
    )
    return file


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_an_unknown_certificate_is_refused_before_the_key_is_sent(
    make_client: MakeClient, tmp_path: Path, tls: ssl.SSLContext
) -> None:
    with Loopback(sized(ANSWER), tls=tls) as server:
        error = failure(make_client(server.base_url), tmp_path)
        assert error.code is Code.CONNECT_FAILED
        assert "certificate verify failed" in error.message.lower()
        assert server.heads == []


def test_calls_over_tls_end_as_they_do_without(
    make_client: MakeClient, tmp_path: Path, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    answers = iter(
        [
            sized(ANSWER),
            saying(CHUNKED + chunk(ANSWER), hold),
            saying(CHUNKED + chunk(ANSWER[:20]), hold),
            hold,
            close,
        ]
    )
    with Loopback(lambda connection: next(answers)(connection), tls=tls) as server:
        client = make_client(server.base_url, first_byte_timeout=0.4)
        assert not client.generate(ORDER, tmp_path / "a", "whole").stalled
        assert client.generate(ORDER, tmp_path / "a", "stalled").stalled
        codes = [failure(client, _made(tmp_path / "b")).code for _ in range(3)]
    assert codes == [Code.ANSWER_CUT, Code.TIMEOUT, Code.CONNECTION_LOST]


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
