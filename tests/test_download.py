"""Downloads from a real web server that misbehaves in every way we know of."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests

from packshot.download import Downloaded, DownloadPolicy, download, revalidate, shown
from packshot.download_guard import guarded_session, refused_address
from packshot.errors import ArchiveError, Code, ConfigError
from packshot.settings import Settings
from tests.fixtures_store import Page, Web, hashes, page, picture

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
OPEN = DownloadPolicy(hosts=("*",), cidrs=(LOOPBACK,), timeout=10, max_bytes=1_000_000)
EXPIRED = b"<Error><Code>AccessDenied</Code>\n  <Message>Request has expired.</Message></Error>"


def fails(url: str, folder: Path, policy: DownloadPolicy = OPEN, expires_at: datetime | None = None) -> ArchiveError:
    """The error of a download; it must leave nothing behind and show no signature."""
    with pytest.raises(ArchiveError) as caught:
        download(url, folder / "dest", policy, expires_at=expires_at)
    assert list(folder.iterdir()) == []
    assert "signature" not in str(caught.value) + repr(caught.value.details)
    return caught.value


def test_good_download(web: Web, tmp_path: Path) -> None:
    body = picture()
    web.pages["/a.png"] = page(body, ETag='"one"', Last_Modified="Mon, 05 Oct 2026 10:00:00 GMT")
    got = download(web.url("/a.png?Signature=signature"), tmp_path / "dest", OPEN)
    assert (tmp_path / "dest").read_bytes() == body
    assert [p.name for p in tmp_path.iterdir()] == ["dest"]
    assert (got.size, got.sha256, got.md5) == (len(body), *hashes(body))
    assert (got.content_type, got.etag) == ("image/png", '"one"')
    assert got.final_url == web.url("/a.png")
    assert web.seen[0][0] == "/a.png?Signature=signature"


def test_request_carries_no_credentials_cookies_or_encodings(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    web.pages["/start"] = page(b"", 302, Location="/a.png", Set_Cookie="tracked=1; Path=/")
    web.pages["/a.png"] = page(picture())
    download(web.url("/start"), tmp_path / "dest", OPEN)
    for _, headers in web.seen:
        assert "authorization" not in headers
        assert "cookie" not in headers
        assert headers["accept-encoding"] == "identity"
        assert headers["host"] == f"127.0.0.1:{web.server.server_port}"


def test_length_need_not_be_declared(web: Web, tmp_path: Path) -> None:
    def chunked(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in (picture()[:30], picture()[30:], b""):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    web.pages["/a.png"] = chunked
    assert download(web.url("/a.png"), tmp_path / "dest", OPEN).sha256 == hashes(picture())[0]


# --- what the server answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (page(b"<html>sign in</html>", mime="text/html"), Code.NOT_AN_IMAGE, "text/html"),
        (page(b"\n <!doctype html>"), Code.NOT_AN_IMAGE, "doctype"),
        (page(b'{"error": 1}', mime="application/octet-stream"), Code.NOT_AN_IMAGE, "error"),
        (page(EXPIRED, mime="application/xml"), Code.NOT_AN_IMAGE, "xml"),
        (page(EXPIRED, 403, "application/xml"), Code.LOST, "Request has expired"),
        (page(b"<Error><Code>NoSuchKey</Code></Error>", 404), Code.LOST, "NoSuchKey"),
        (page(b"<Error><Code>ExpiredToken</Code></Error>", 400), Code.LOST, "ExpiredToken"),
        (page(b"", 410), Code.LOST, "410"),
        (page(b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>", 403), Code.DOWNLOAD_FAILED, "403"),
        (page(b"blocked", 403, "text/plain"), Code.DOWNLOAD_FAILED, "403"),
        (page(b"", 404), Code.DOWNLOAD_FAILED, "404"),
        (page(b"", 500), Code.DOWNLOAD_FAILED, "500"),
        (page(b"", 503, Retry_After="1"), Code.DOWNLOAD_FAILED, "503"),
        (page(picture(), 206), Code.DOWNLOAD_FAILED, "206"),
        (page(b"", 304), Code.DOWNLOAD_FAILED, "304"),
        (page(b""), Code.DOWNLOAD_FAILED, "no bytes"),
        (page(picture()[:50], Content_Length=str(len(picture()))), Code.DOWNLOAD_FAILED, "broke off"),
        (page(picture(), Content_MD5="AAAAAAAAAAAAAAAAAAAAAA=="), Code.DOWNLOAD_FAILED, "Content-MD5"),
        (page(b"x", Content_Length="2000000"), Code.TOO_LARGE, "2000000"),
        (page(b"x" * 1_000_001, Content_Length=""), Code.TOO_LARGE, "at most 1000000"),
    ],
)
def test_answers_that_are_no_image(web: Web, tmp_path: Path, answer: Page, code: Code, says: str) -> None:
    web.pages["/a.png"] = answer
    error = fails(web.url("/a.png?Signature=signature"), tmp_path)
    assert error.code is code
    assert says in error.message


def test_a_store_may_be_late_to_know_what_it_has(web: Web, tmp_path: Path) -> None:
    web.pages["/a.png"] = page(b"<Error><Code>NoSuchKey</Code></Error>", 404)
    for hours, code in ((1, Code.DOWNLOAD_FAILED), (-1, Code.LOST)):
        ends = datetime.now(UTC) + timedelta(hours=hours)
        assert fails(web.url("/a.png"), tmp_path, expires_at=ends).code is code


@pytest.mark.parametrize(("status", "hours", "code"), [
    (403, -1, Code.LOST), (404, -1, Code.LOST), (403, 1, Code.DOWNLOAD_FAILED),
    (503, -1, Code.DOWNLOAD_FAILED),
])  # fmt: skip
def test_past_its_end_a_refusal_is_final(web: Web, tmp_path: Path, status: int, hours: int, code: Code) -> None:
    web.pages["/a.png"] = page(b"no", status, "text/plain")
    end = datetime.now(UTC) + timedelta(hours=hours)
    assert fails(web.url("/a.png"), tmp_path, expires_at=end).code is code


def test_a_url_past_its_end_that_still_works_is_used(web: Web, tmp_path: Path) -> None:
    web.pages["/a.png"] = page(picture())
    download(web.url("/a.png"), tmp_path / "dest", OPEN, expires_at=datetime(2020, 1, 1, tzinfo=UTC))


def drip(head: bytes, piece: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 5000\r\n\r\n" + head)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            try:
                handler.wfile.write(piece)
            except OSError:
                return
            time.sleep(0.02)

    return answer


@pytest.mark.parametrize(("piece", "says"), [(b"x", "too slow"), (b"", "broke off")])
def test_neither_dripping_nor_silence_outlasts_the_total_time(
    web: Web, tmp_path: Path, piece: bytes, says: str
) -> None:
    web.pages["/a.png"] = drip(picture()[:20], piece)
    began = time.monotonic()
    error = fails(web.url("/a.png"), tmp_path, DownloadPolicy(("*",), (LOOPBACK,), 0.3, 10_000))
    assert time.monotonic() - began < 1.5
    assert error.code is Code.DOWNLOAD_FAILED
    assert says in error.message


def test_nobody_listens(web: Web, tmp_path: Path) -> None:
    web.close()
    assert fails(web.url("/a.png?signature"), tmp_path).code is Code.DOWNLOAD_FAILED


# --- where it may go --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("img.oss-us-west-1.aliyuncs.com", True),
        ("IMG.ALIYUNCS.COM.", True),
        ("aliyuncs.com.evil.example", False),
        ("evilaliyuncs.com", False),
        ("cdn.example", True),
        ("x.cdn.example", False),
        ("", False),
    ],
)
def test_host_rules(host: str, allowed: bool) -> None:
    policy = DownloadPolicy((".aliyuncs.com", "cdn.example"), (), 1, 1)
    assert policy.allows_host(host) is allowed


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/a.png", "file:///etc/passwd", "data:image/png;base64,AAAA", "//127.0.0.1/a.png", "a.png", "",
        "http://", "http://user:pw@127.0.0.1/a.png", "http://127.0.0.1:99999/", "http://[::1/", "http://127.0.0.1\n.x/",
    ],
)  # fmt: skip
def test_urls_that_are_none(tmp_path: Path, url: str) -> None:
    error = fails(url, tmp_path)
    assert error.code is Code.DOWNLOAD_REFUSED
    assert "pw" not in str(error)


@pytest.mark.parametrize("url", [
    "http://cdn.example@127.0.0.1:{port}/a.png", "http://127.0.0.1:{port}\\@cdn.example/a.png",
    "http://127.0.0.1:{port}#@cdn.example/a.png", "http://127.0.0.1:{port}/cdn.example",
])  # fmt: skip
def test_no_spelling_gets_past_the_host_list(web: Web, tmp_path: Path, url: str) -> None:
    policy = DownloadPolicy(("cdn.example",), (LOOPBACK,), 2, 10_000)
    assert fails(url.format(port=web.server.server_port), tmp_path, policy).code is Code.DOWNLOAD_REFUSED
    assert web.seen == []


@pytest.mark.parametrize("host", [
    "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]",
    "10.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]",
])  # fmt: skip
def test_private_addresses_are_refused(web: Web, tmp_path: Path, host: str) -> None:
    policy = DownloadPolicy(("*",), (ipaddress.ip_network("172.16.0.0/12"),), 2, 10_000)
    for cidrs in ((), policy.cidrs):
        error = fails(web.url("/a.png", host), tmp_path, DownloadPolicy(("*",), cidrs, 2, 10_000))
        assert error.code is Code.DOWNLOAD_REFUSED
    assert web.seen == []


def test_a_name_is_judged_by_its_address(web: Web, tmp_path: Path) -> None:
    web.pages["/a.png"] = page(picture())
    cidrs = (LOOPBACK, ipaddress.ip_network("::1/128"))
    download(web.url("/a.png", "localhost"), tmp_path / "dest", DownloadPolicy(("localhost",), cidrs, 2, 10_000))
    assert web.seen[0][1]["host"] == f"localhost:{web.server.server_port}"


def test_the_address_that_was_checked_is_the_one_that_is_called(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server may answer the check with one address and the connection with another."""
    web.pages["/a.png"] = page(picture())
    real, answers = socket.getaddrinfo, ["127.0.0.1", "169.254.169.254"]

    def resolve(host: str, *rest: Any, **more: Any) -> Any:
        return real(answers.pop(0) if host == "rebind.example" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    download(web.url("/a.png", "rebind.example"), tmp_path / "dest", OPEN)
    assert answers == ["169.254.169.254"]
    assert web.seen[0][1]["host"] == f"rebind.example:{web.server.server_port}"


def test_fake_ip_dns_is_named(tmp_path: Path) -> None:
    error = fails("http://198.18.0.7/a.png", tmp_path)
    assert error.code is Code.DOWNLOAD_REFUSED
    assert "PACKSHOT_DOWNLOAD_CIDRS=198.18.0.0/15" in error.message


@pytest.mark.parametrize("target", [
    "http://10.1.2.3/a.png", "http://169.254.169.254/latest/meta-data", "http://user:pw@127.0.0.1/a.png",
    "file:///etc/passwd", "//evil.example/a.png",
])  # fmt: skip
def test_redirects_are_judged_again(web: Web, tmp_path: Path, target: str) -> None:
    web.pages["/start"] = page(b"", 302, Location=target)
    policy = DownloadPolicy(("127.0.0.1", "10.1.2.3", "169.254.169.254"), (LOOPBACK,), 2, 10_000)
    assert fails(web.url("/start"), tmp_path, policy).code is Code.DOWNLOAD_REFUSED


def test_three_redirects_and_no_more(web: Web, tmp_path: Path) -> None:
    web.pages |= {f"/{n}": page(b"", 307, Location=f"/{n + 1}?token=signature") for n in range(4)}
    web.pages["/4"] = page(picture())
    assert download(web.url("/1"), tmp_path / "dest", OPEN).final_url == web.url("/4")
    (tmp_path / "dest").unlink()
    assert fails(web.url("/0"), tmp_path).code is Code.DOWNLOAD_REFUSED


# --- the disk ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_full_disk(web: Web, tmp_path: Path) -> None:
    web.pages["/a.png"] = page(picture())
    (tmp_path / "dest.part").symlink_to("/dev/full")
    with pytest.raises(ArchiveError) as caught:
        download(web.url("/a.png"), tmp_path / "dest", OPEN)
    assert caught.value.code is Code.DISK_FULL


def test_a_failed_download_leaves_the_old_file(web: Web, tmp_path: Path) -> None:
    (tmp_path / "dest").write_bytes(b"old")
    web.pages["/a.png"] = page(picture()[:50], Content_Length=str(len(picture())))
    with pytest.raises(ArchiveError):
        download(web.url("/a.png"), tmp_path / "dest", OPEN)
    assert (tmp_path / "dest").read_bytes() == b"old"


# --- conditional requests, settings -----------------------------------------------------------------------------


def test_revalidate(web: Web, tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        same = handler.headers["If-None-Match"] == '"two"'
        (page(b"", 304, Content_Length="") if same else page(picture(), ETag='"two"'))(handler)

    web.pages["/a.png"] = answer
    got = revalidate(web.url("/a.png"), tmp_path / "dest", OPEN, etag='"one"', last_modified="")
    assert isinstance(got, Downloaded)
    assert got.etag == '"two"'
    assert revalidate(web.url("/a.png"), tmp_path / "other", OPEN, etag='"two"', last_modified="") is None
    assert "if-modified-since" not in web.seen[-1][1]
    assert not (tmp_path / "other").exists()


def test_policy_from_settings() -> None:
    settings = Settings(_env_file=None, download_hosts=".A.example,b", download_cidrs="127.0.0.0/8")
    policy = DownloadPolicy.from_settings(settings)
    assert policy.hosts == (".a.example", "b")
    assert policy.cidrs == (LOOPBACK,)
    for wrong in ("127.0.0.1/8", "nonsense"):
        with pytest.raises(ConfigError, match="PACKSHOT_DOWNLOAD_CIDRS"):
            DownloadPolicy.from_settings(Settings(_env_file=None, download_cidrs=wrong))


def test_shown_hides_what_signs() -> None:
    assert shown("https://me:pw@h.example:8443/a/b.png?Signature=x#y") == "https://h.example:8443/a/b.png"
    assert "secret" not in shown("http://[::1/secret")


def test_guarded_session_by_itself_refuses_loopback(web: Web) -> None:
    with guarded_session() as session, pytest.raises(requests.RequestException) as caught:
        session.get(web.url("/a.png"))
    assert str(refused_address(caught.value)) == "127.0.0.1"
