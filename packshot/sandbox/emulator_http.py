"""The emulator's HTTP face: routes, authentication of the account calls, history, and the control routes."""

from __future__ import annotations

import gzip
import json
import logging
import mimetypes
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from packshot.sandbox import answers, history, orders, wire
from packshot.sandbox.bill import quota
from packshot.sandbox.generations import Reply, Stopped

if TYPE_CHECKING:
    from packshot.sandbox.emulator import Emulator

logger = logging.getLogger(__name__)

_LOG_PAGE_LIMIT = 5000
_LOG_PAGE_DEFAULT = 10


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, port: int, emulator: Emulator) -> None:
        self.emulator = emulator
        self.history: deque[history.Received] = deque(maxlen=history.LIMIT)
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        # HTTPServer would look its own name up, which can take seconds where DNS is slow.
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        """End every open connection, so that no client waits for an emulator that is gone."""
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            logger.exception("the emulator failed while answering %s", client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._handle(b"")

    def do_POST(self) -> None:
        self._handle(self._read_body())

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)

    def version_string(self) -> str:
        return "packshot-sandbox"

    def _handle(self, raw: bytes) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if path.startswith("/sandbox/"):
            self._send(self._control(path, raw))
            return
        self.server.history.append(history.receive(self.command, self.path, dict(self.headers), raw))
        try:
            reply = self._route(path, parts.query, raw)
        except Stopped:
            self.close_connection = True
            return
        self._send(reply)

    # --- provider routes --------------------------------------------------------------------------------------

    def _route(self, path: str, query: str, raw: bytes) -> Reply:
        prefix, suffix = "/v1beta/models/", ":generateContent"
        if self.command == "POST" and path.startswith(prefix) and path.endswith(suffix):
            return self._gemini(path.removeprefix(prefix).removesuffix(suffix), raw)
        match self.command, path:
            case "POST", "/v1/images/generations":
                return self._images(raw)
            case "GET", "/v1/models":
                return self._models()
            case "GET", "/api/user/self":
                return self._account(query, self._balance)
            case "GET", "/api/log/self":
                return self._account(query, self._log)
        if self.command == "GET" and path.startswith("/oss/"):
            return self._download(path.removeprefix("/oss/"), query)
        if self.command == "GET" and path.startswith("/photos/"):
            return self._photo(path.removeprefix("/photos/"))
        missing = answers.not_found(self.command, path)
        return Reply(missing.status, missing.body)

    def _gemini(self, model: str, raw: bytes) -> Reply:
        studio = self.server.emulator.studio

        def read() -> orders.Order:
            orders.known_model(model, "gemini", studio.prices)
            return orders.read_gemini_order(model, orders.parse_json(raw), studio.gemini_wants)

        return studio.generate(self._authorization(), model, read)

    def _images(self, raw: bytes) -> Reply:
        studio = self.server.emulator.studio

        def read() -> orders.Order:
            body = orders.parse_json(raw)
            orders.known_model(str(body.get("model")), "images", studio.prices)
            return orders.read_images_order(body)

        return studio.generate(self._authorization(), _model_in(raw), read)

    def _models(self) -> Reply:
        studio = self.server.emulator.studio
        if not studio.authorized(self._authorization()):
            refusal = answers.refusal("bad_key", request_id=studio.new_request_id())
            return Reply(refusal.status, refusal.body)
        rows = [{"id": m, "object": "model", "created": 1626777600, "owned_by": "custom"} for m in studio.prices]
        return Reply(200, answers.dump({"object": "list", "data": rows}))

    def _account(self, query: str, answer: Callable[[dict[str, str]], Any]) -> Reply:
        if self._authorization() != self.server.emulator.system_token:
            return Reply(401, answers.UNAUTHORIZED_ACCOUNT)
        fields = {name: values[0] for name, values in parse_qs(query).items()}
        body = answers.dump({"success": True, "message": "", "data": answer(fields)})
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            return Reply(200, gzip.compress(body), headers={"Content-Encoding": "gzip"})
        return Reply(200, body)

    def _balance(self, fields: dict[str, str]) -> dict[str, Any]:
        ledger = self.server.emulator.studio.ledger
        return {
            "id": 25359,
            "username": "sandbox",
            "quota": quota(ledger.left_micro),
            "used_quota": quota(ledger.billed_micro),
            "request_count": len(ledger.rows),
            "group": "Default",
        }

    def _log(self, fields: dict[str, str]) -> list[dict[str, Any]]:
        """Page ``p`` (from 0) of the log, newest first. ``page_size`` is not ``pageSize``: it has no effect."""
        ledger = self.server.emulator.studio.ledger
        rows = [
            row.as_log_row()
            for row in ledger.logged(
                request_id=fields.get("request_id", ""),
                since=_number(fields, "start_timestamp", 0),
                until=_number(fields, "end_timestamp", 0),
            )
        ]
        if fields.get("type") != "2" and not fields.get("request_id"):
            rows.append(ledger.top_up_row())
        size = min(max(1, _number(fields, "pageSize", _LOG_PAGE_DEFAULT)), _LOG_PAGE_LIMIT)
        start = max(0, _number(fields, "p", 0)) * size
        return rows[start : start + size]

    def _download(self, name: str, query: str) -> Reply:
        found = self.server.emulator.oss.get(name, query)
        body = found.file.read_bytes() if found.file else found.body
        return Reply(found.status, body, found.content_type, fault=found.fault, headers=found.headers)

    def _photo(self, name: str) -> Reply:
        file = _inside(self.server.emulator.photos_dir, name)
        if file is None:
            return Reply(404, b"not found\n", "text/plain")
        return Reply(200, file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")

    # --- control routes ---------------------------------------------------------------------------------------

    def _control(self, path: str, raw: bytes) -> Reply:
        emulator = self.server.emulator
        try:
            match self.command, path.removeprefix("/sandbox/"):
                case "GET", "health":
                    return _json(emulator.health())
                case "GET", "bill":
                    rows = [row.as_json() for row in emulator.bill]
                    return _json({"rows": rows, "total_micro": emulator.billed_micro})
                case "GET", "history":
                    return _json([entry.as_json() for entry in emulator.history])
                case "POST", "faults":
                    fields = _fields(raw)
                    emulator.queue(str(fields.pop("fault", "")), **fields)
                    return _json(emulator.health())
                case "POST", "mix":
                    fields = _fields(raw)
                    emulator.mix(fields.get("shares", {}), seed=fields.get("seed", 0))
                    return _json(emulator.health())
                case "POST", "latency":
                    fields = _fields(raw)
                    emulator.set_latency(fields.get("seconds", 0.0), fields.get("spread", 0.0), fields.get("seed", 0))
                    return _json(emulator.health())
        except (ValueError, TypeError, AttributeError) as error:
            return _json({"error": str(error)}, 400)
        return _json({"error": f"no control route {self.command} {path}"}, 404)

    # --- reading and writing ----------------------------------------------------------------------------------

    def _authorization(self) -> str:
        return self.headers.get("Authorization", "")

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue

    def _send(self, reply: Reply) -> None:
        length = {} if reply.chunked else {"Content-Length": str(len(reply.body))}
        framing = {"Transfer-Encoding": "chunked"} if reply.chunked else length
        fields = {
            "Server": self.version_string(),
            "Date": self.date_time_string(),
            "Content-Type": reply.content_type,
            **framing,
            **reply.headers,
        }
        lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        send = wire.send_chunked if reply.chunked else wire.send_sized
        stop = self.server.emulator.stop_signal
        if not send(self.connection, head, reply.body, reply.fault, stop):
            self.close_connection = True


def _inside(folder: Path | None, name: str) -> Path | None:
    """The file of that name under ``folder``; None when there is none, or when the name leads out of it."""
    if folder is None or "\0" in name:
        return None
    file = (folder / name).resolve()
    return file if file.is_relative_to(folder) and file.is_file() else None


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value, indent=1).encode())


def _fields(raw: bytes) -> dict[str, Any]:
    fields = json.loads(raw or b"{}")
    if not isinstance(fields, dict):
        raise TypeError("the body must be a JSON object")
    return fields


def _number(fields: dict[str, str], name: str, default: int) -> int:
    text = fields.get(name, "")
    return int(text) if text.lstrip("-").isdigit() else default


def _model_in(raw: bytes) -> str:
    try:
        return str(json.loads(raw).get("model", ""))
    except (ValueError, AttributeError):
        return ""
