"""A line to another server of this machine that can be cut."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from types import TracebackType
from typing import Self


class Line:
    """Carries connections to ``port`` of 127.0.0.1. ``let_through``: how many more may begin; None for any number.
    ``refuse``: a connection ends when the client sends something that begins so. ``slow``: what begins so is held up
    for so many seconds."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.let_through: int | None = None
        self.refuse: bytes | None = None
        self.slow: tuple[bytes, float] | None = None
        self.open: set[socket.socket] = set()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def cut(self) -> None:
        """End every connection, and let no other one through."""
        self.let_through = 0
        for end in list(self.open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.let_through = self.refuse = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self.cut()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, line: Line) -> None:
        self.line = line
        super().__init__(("127.0.0.1", 0), _Connection)


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        line, here = self.server.line, self.request
        if line.let_through is not None:
            line.let_through -= 1
            if line.let_through < 0:
                return
        with socket.create_connection(("127.0.0.1", line.port)) as there:
            ends = {here, there}
            line.open |= ends
            back = threading.Thread(target=_carry, args=(there, here), daemon=True)
            back.start()
            _carry(here, there, line)
            back.join()
            line.open -= ends


def _carry(source: socket.socket, target: socket.socket, line: Line | None = None) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            if line and line.refuse and chunk.startswith(line.refuse):
                source.shutdown(socket.SHUT_RDWR)
                break
            if line and line.slow and chunk.startswith(line.slow[0]):
                time.sleep(line.slow[1])
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
