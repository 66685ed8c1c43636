"""Bring an image home from an address that others wrote.

Guarded (see :mod:`packshot.download_guard`), bounded in bytes and time, hashed while it is read, and on the disk
only when it is complete.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import ipaddress
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from packshot.download_guard import FAKE_IP, Network, guarded_session, refused_address
from packshot.errors import ArchiveError, Code, ConfigError
from packshot.settings import PREFIX, Settings

MAX_REDIRECTS = 3
_CHUNK = 256 * 1024
_CONNECT_TIMEOUT = 10.0
_SILENCE_TIMEOUT = 30.0
_REDIRECTS = (301, 302, 303, 307, 308)
_XML_ERROR = re.compile(rb"<Code>([^<]{1,100})</Code>(?:.{0,100}?<Message>([^<]{1,300})</Message>)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """What may be fetched. ``hosts``: names, suffixes that start with a dot, or ``*``. ``cidrs``: private ranges that
    may be reached. ``timeout``: seconds for all of one download. ``text``: the file may be text, not only an image."""

    hosts: tuple[str, ...]
    cidrs: tuple[Network, ...]
    timeout: float
    max_bytes: int
    text: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError when PACKSHOT_DOWNLOAD_CIDRS holds something else than IP ranges."""
        cidrs = []
        for text in settings.download_cidrs:
            try:
                cidrs.append(ipaddress.ip_network(text))
            except ValueError as error:
                raise ConfigError(
                    Code.SETTINGS_INVALID, f"{PREFIX}DOWNLOAD_CIDRS: {error}; allowed: such as 10.0.0.0/8"
                ) from None
        hosts = tuple(host.lower() for host in settings.download_hosts)
        return cls(hosts, tuple(cidrs), settings.download_timeout, settings.download_max_bytes)

    def allows_host(self, host: str) -> bool:
        name = host.lower().rstrip(".")
        return any(rule == "*" or name == rule or (rule.startswith(".") and name.endswith(rule)) for rule in self.hosts)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file that is complete on the disk. ``sha256`` is hex. ``final_url`` is where redirects led, without its query
    (a signature). ``etag`` and ``last_modified`` are as the server sent them, for :func:`revalidate`."""

    size: int
    sha256: str
    md5: bytes
    content_type: str
    final_url: str
    etag: str
    last_modified: str


def download(url: str, dest: Path, policy: DownloadPolicy, *, expires_at: datetime | None = None) -> Downloaded:
    """Fetch ``url`` into ``dest``. ``expires_at`` is the known end of a temporary URL; past it a refusal is final.

    Raises:
        ArchiveError: DOWNLOAD_REFUSED (the policy forbids the address, or one it redirects to), DOWNLOAD_FAILED
            (may work later), LOST, TOO_LARGE, NOT_AN_IMAGE (a web page or an error text), DISK_FULL.
    """
    fetched = _fetch(url, dest, policy, {}, expires_at)
    assert fetched is not None, "an unconditional request cannot be answered with 304"
    return fetched


def revalidate(url: str, dest: Path, policy: DownloadPolicy, *, etag: str, last_modified: str) -> Downloaded | None:
    """Fetch ``url`` only if it changed since; None when it did not. Raises as :func:`download` does."""
    headers = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    return _fetch(url, dest, policy, {name: value for name, value in headers.items() if value}, None)


def shown(url: str) -> str:
    """The address for messages: without user, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:300]
    except ValueError:
        return "an address that is no URL"


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk into DISK_FULL; every other OSError goes on."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ArchiveError(Code.DISK_FULL, f"no space is left for {path}") from None


def _fetch(
    url: str, dest: Path, policy: DownloadPolicy, headers: Mapping[str, str], expires_at: datetime | None
) -> Downloaded | None:
    deadline = time.monotonic() + policy.timeout
    with guarded_session(policy.cidrs) as session:
        current = url
        for _ in range(MAX_REDIRECTS + 1):
            request = _prepare(session, current, policy, headers)
            try:
                with session.send(request, stream=True, timeout=_timeouts(deadline)) as answer:
                    if answer.status_code in _REDIRECTS and "Location" in answer.headers:
                        current = urljoin(current, answer.headers["Location"])
                        continue
                    if answer.status_code == 304 and headers:
                        return None
                    _check_status(answer, expires_at, deadline)
                    return _save(answer, dest, policy, deadline)
            except requests.RequestException as error:
                raise _failure(error, current) from None
            except urllib3.exceptions.HTTPError as error:
                raise ArchiveError(
                    Code.DOWNLOAD_FAILED, f"{shown(current)} broke off ({type(error).__name__})"
                ) from None
    raise ArchiveError(Code.DOWNLOAD_REFUSED, f"{shown(url)} redirects more than {MAX_REDIRECTS} times")


def _prepare(
    session: requests.Session, url: str, policy: DownloadPolicy, headers: Mapping[str, str]
) -> requests.PreparedRequest:
    """Build the request first and judge what it says: two parsers may read an odd URL in two ways."""
    try:
        request = session.prepare_request(requests.Request("GET", url, headers=dict(headers)))
        parts = urlsplit(request.url or "")
        host, _ = parts.hostname or "", parts.port
    except (requests.RequestException, ValueError) as error:
        raise ArchiveError(
            Code.DOWNLOAD_REFUSED, f"{shown(url)} is not a usable URL ({type(error).__name__})"
        ) from None
    if parts.scheme not in ("http", "https"):
        raise ArchiveError(Code.DOWNLOAD_REFUSED, f"{shown(url)} is neither http nor https")
    if "@" in parts.netloc or "@" in urlsplit(url).netloc:
        raise ArchiveError(Code.DOWNLOAD_REFUSED, f"{shown(url)} holds a user or password")
    if not policy.allows_host(host):
        raise ArchiveError(
            Code.DOWNLOAD_REFUSED, f"{shown(url)}: host {host!r} is not one of {', '.join(policy.hosts) or 'none'}"
        )
    return request


def _failure(error: requests.RequestException, url: str) -> ArchiveError:
    address = refused_address(error)
    if address is None:
        return ArchiveError(Code.DOWNLOAD_FAILED, f"{shown(url)} cannot be fetched ({type(error).__name__})")
    why = "a private address"
    if address in FAKE_IP:
        why = (
            f"one of {FAKE_IP}, the made-up addresses (fake-IP DNS) of proxy programs such as Clash and Surge; "
            f"with such a program set {PREFIX}DOWNLOAD_CIDRS={FAKE_IP}"
        )
    return ArchiveError(Code.DOWNLOAD_REFUSED, f"{shown(url)} leads to {address}, {why}", address=str(address))


def _check_status(answer: requests.Response, expires_at: datetime | None, deadline: float) -> None:
    """Raise unless the answer is a 200."""
    status = answer.status_code
    if status == 200:
        return
    code, message = _store_error(_beginning(answer, deadline))
    gone = status == 410 or code == "ExpiredToken" or "expired" in message.lower()
    gone = gone or (code == "NoSuchKey" and expires_at is None)  # of one that ends, a store may be late to know it
    late = expires_at is not None and datetime.now(UTC) >= expires_at
    details = {"http_status": status, "store_code": code, "excerpt": message}
    said = f"{status}" + (f" ({code}: {message})" if code else "")
    if gone or (late and status in (401, 403, 404)):
        raise ArchiveError(Code.LOST, f"{shown(answer.url)} has expired: it answers {said}", **details)
    raise ArchiveError(Code.DOWNLOAD_FAILED, f"{shown(answer.url)} answers {said}", **details)


def _beginning(answer: requests.Response, deadline: float) -> bytes:
    """The first kilobytes of an error's body."""
    body = b""
    for chunk in _chunks(answer, shown(answer.url), deadline):
        body += chunk
        if len(body) >= 8192:
            break
    return body


def _store_error(body: bytes) -> tuple[str, str]:
    """Code and message of the XML that S3 and OSS send; empty where there is none."""
    found = _XML_ERROR.search(body)
    if found is None:
        return "", ""
    return found[1].decode(errors="replace"), (found[2] or b"").decode(errors="replace")


def _save(answer: requests.Response, dest: Path, policy: DownloadPolicy, deadline: float) -> Downloaded:
    url, kind = shown(answer.url), answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not policy.text and (kind.startswith("text/") or kind.endswith(("xml", "json"))):
        raise ArchiveError(Code.NOT_AN_IMAGE, f"{url} answers with {kind}, not with an image")
    length = answer.headers.get("Content-Length", "")
    declared = int(length) if length.isdecimal() else None
    if declared is not None and declared > policy.max_bytes:
        raise _too_large(url, policy, f"says it has {declared} bytes")
    part = dest.with_name(dest.name + ".part")
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    try:
        with disk_errors(dest):
            with part.open("wb") as file:
                for chunk in _chunks(answer, url, deadline):
                    if size == 0 and not policy.text and chunk.lstrip().startswith((b"<", b"{")):
                        raise ArchiveError(Code.NOT_AN_IMAGE, f"{url} answers with text that begins {chunk[:40]!r}")
                    size += len(chunk)
                    if size > policy.max_bytes:
                        raise _too_large(url, policy, "has more")
                    sha256.update(chunk)
                    md5.update(chunk)
                    file.write(chunk)
                if declared is not None and size != declared:
                    raise ArchiveError(Code.DOWNLOAD_FAILED, f"{url} sent {size} of {declared} bytes")
                if (sent := answer.headers.get("Content-MD5")) and sent != base64.b64encode(md5.digest()).decode():
                    raise ArchiveError(Code.DOWNLOAD_FAILED, f"{url} does not fit the Content-MD5 it came with")
                if size == 0:
                    raise ArchiveError(Code.DOWNLOAD_FAILED, f"{url} sent no bytes")
                _to_disk(file)
            part.replace(dest)
    finally:
        part.unlink(missing_ok=True)
    etag, last_modified = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
    return Downloaded(size, sha256.hexdigest(), md5.digest(), kind, url, etag, last_modified)


def _chunks(answer: requests.Response, url: str, deadline: float) -> Iterator[bytes]:
    """What has arrived, as it arrives: waiting for full chunks would let a dripping server hold us for hours."""
    while chunk := answer.raw.read1(_CHUNK, decode_content=False):
        if time.monotonic() > deadline:
            raise ArchiveError(Code.DOWNLOAD_FAILED, f"{url} is too slow: its time is up before its end")
        yield chunk


def _timeouts(deadline: float) -> tuple[float, float]:
    left = max(deadline - time.monotonic(), 0.01)
    return min(_CONNECT_TIMEOUT, left), min(_SILENCE_TIMEOUT, left)


def _too_large(url: str, policy: DownloadPolicy, what: str) -> ArchiveError:
    return ArchiveError(Code.TOO_LARGE, f"{url} {what}; at most {policy.max_bytes} bytes are allowed")


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
