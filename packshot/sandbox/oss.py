"""Temporary image URLs, like those of an Alibaba OSS bucket: signed, short-lived, open to anyone who has them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlencode
from xml.sax.saxutils import escape

from packshot.sandbox.faults import NO_FAULT, Fault

ACCESS_KEY_ID = "LTAI5tSandboxSandbox0000"
XML = "application/xml"


@dataclass(slots=True)
class _Entry:
    fault: Fault
    left: int
    """Downloads that still get the fault; -1 for all."""


@dataclass(frozen=True, slots=True)
class Download:
    """What a URL answers: a file, or a small body. ``fault`` says how the bytes go over the line."""

    status: int
    content_type: str
    body: bytes = b""
    file: Path | None = None
    fault: Fault = NO_FAULT
    headers: dict[str, str] = field(default_factory=dict)


class Oss:
    """Writes images to ``folder`` and serves them until they expire; expired files are deleted."""

    def __init__(self, folder: Path, secret: str, clock: Callable[[], float]) -> None:
        self.folder = folder
        self._secret = hashlib.sha256(secret.encode()).digest()
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._expiring: deque[tuple[int, str]] = deque()
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, data: bytes, lifetime: float, fault: Fault = NO_FAULT) -> str:
        """Store one image; returns path and query of its URL. Its life begins now."""
        expires = int(self._clock() + lifetime)
        self._delete_expired()
        (self.folder / name).write_bytes(data)
        with self._lock:
            self._expiring.append((expires, name))
            if fault.name.startswith("url_"):
                self._entries[name] = _Entry(fault, int(fault.parameters.get("downloads", 0)) or -1)
        query = {"Expires": expires, "OSSAccessKeyId": ACCESS_KEY_ID, "Signature": self._sign(name, expires)}
        return f"/oss/{name}?{urlencode(query)}"

    def get(self, name: str, query: str) -> Download:
        """Answer a download, checked in the order OSS does: signature present, not expired, correct, file there."""
        fields = {key: values[0] for key, values in parse_qs(query).items()}
        if not {"Expires", "OSSAccessKeyId", "Signature"} <= fields.keys():
            return _error(403, "AccessDenied", "You have no right to access this object because of bucket acl.")
        if not fields["Expires"].isdigit() or int(fields["Expires"]) <= self._clock():
            return _error(403, "AccessDenied", "Request has expired.", ServerTime=_iso(self._clock()))
        if not hmac.compare_digest(fields["Signature"], self._sign(name, int(fields["Expires"]))):
            text = "The request signature we calculated does not match the signature you provided."
            return _error(403, "SignatureDoesNotMatch", text)
        file = self.folder / name
        if Path(name).name != name or not file.is_file():
            return _error(404, "NoSuchKey", "The specified key does not exist.", Key=name)
        with file.open("rb") as opened:
            kind = "image/png" if opened.read(4) == b"\x89PNG" else "image/jpeg"
        return self._spoil(Download(200, kind, file=file), self._fault_of(name))

    def _spoil(self, download: Download, fault: Fault) -> Download:
        match fault.name:
            case "url_html":
                return Download(200, "text/html", b"<html><body><p>Please sign in to the network.</p></body></html>\n")
            case "url_500":
                return _error(500, "InternalError", "We encountered an internal error. Please try again.")
            case "url_redirect_private":
                return Download(302, "text/html", headers={"Location": str(fault.parameters["location"])})
            case "url_cut":
                assert download.file is not None
                whole = download.file.read_bytes()
                return Download(200, download.content_type, whole[: int(len(whole) * fault.number("fraction"))])
        return Download(200, download.content_type, file=download.file, fault=fault)

    def _fault_of(self, name: str) -> Fault:
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or entry.left == 0:
                return NO_FAULT
            entry.left -= 1 if entry.left > 0 else 0
            return entry.fault

    def _sign(self, name: str, expires: int) -> str:
        text = f"GET\n\n\n{expires}\n/packshot-sandbox/{name}"
        return base64.b64encode(hmac.digest(self._secret, text.encode(), "sha1")).decode()

    def _delete_expired(self) -> None:
        now = self._clock()
        while True:
            with self._lock:
                if not self._expiring or self._expiring[0][0] > now:
                    return
                _, name = self._expiring.popleft()
                self._entries.pop(name, None)
            (self.folder / name).unlink(missing_ok=True)


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _error(status: int, code: str, message: str, **more: str) -> Download:
    fields = {"Code": code, "Message": message, **more}
    inner = "".join(f"\n  <{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return Download(status, XML, f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}\n</Error>\n'.encode())
