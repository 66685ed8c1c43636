"""A server that answers each connection with exactly the bytes a test wants, when it wants."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

Answering = Callable[[socket.socket], None]


@dataclass(slots=True)
class Loopback:
    """Reads one request after the other, keeps its head and body, and hands the connection to ``answer``.

    ``answer`` returns when the next request may come. ``over`` is set when the test has ended, so that an answer can
    hold a line open until then. With ``read_bodies=False`` the request's body is left where it is.
    """

    answer: Answering
    tls: ssl.SSLContext | None = None
    read_bodies: bool = True
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    _open: list[socket.socket] = field(default_factory=list)
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def base_url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="loopback", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        for connection in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), name="loopback", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self._open.append(connection)
            with connection:
                while head := _head(connection):
                    self.heads.append(head)
                    if self.read_bodies:
                        self.bodies.append(read_exactly(connection, body_length(head)))
                    self.answer(connection)


def _head(connection: socket.socket) -> str:
    """Byte by byte, so that nothing of the body is taken with it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (byte := connection.recv(1)):
            return ""
        head += byte
    return head.decode("latin-1")


def body_length(head: str) -> int:
    lines = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
    return int(lines[0].split(":")[1]) if lines else 0


def read_exactly(connection: socket.socket, length: int) -> bytes:
    body = bytearray()
    while len(body) < length and (piece := connection.recv(min(65536, length - len(body)))):
        body += piece
    return bytes(body)


def sized(body: bytes, status: str = "200 OK", *headers: str) -> Answering:
    """An ordinary answer with its length."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return lambda c: c.sendall(f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def saying(data: bytes, then: Answering) -> Answering:
    """Send ``data`` as it is, then close, reset or hold the line."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(data)
        then(connection)

    return answer


def close(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hold(connection: socket.socket) -> None:
    """Until the client leaves, or the test ends."""
    connection.recv(1)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)
