"""How an answer's bytes travel: chunked, without Content-Length, and badly when asked.

Every function returns True when the connection can carry another request.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from threading import Event

from packshot.sandbox.faults import Fault

_PIECE = 64 * 1024
_SLOW_PIECES = 20
_END = b"0\r\n\r\n"


def wait_for_client_to_leave(client: socket.socket) -> None:
    """Block until the client closes its side; a stopping emulator shuts the socket down, which looks the same."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    poll.poll()


def send_chunked(client: socket.socket, head: bytes, body: bytes, fault: Fault, stop: Event) -> bool:
    """Send an answer of unknown length the way ``fault`` says."""
    name = fault.name
    if name == "disconnect":
        return False
    if name == "hang":
        wait_for_client_to_leave(client)
        return False
    cut = "fraction" in fault.parameters and not name.startswith("url_")
    if cut:
        body = body[: int(len(body) * fault.number("fraction"))]
    client.sendall(head)
    if name == "slow_body":
        _drip(client, body, fault.number("seconds"), stop, chunked=True)
    else:
        for piece in _pieces(body, _PIECE):
            client.sendall(_chunk(piece))
    match name:
        case "tail_stall" | "tail_stall_cut":
            wait_for_client_to_leave(client)
            return False
        case "tail_stall_fin":
            stop.wait(fault.number("seconds"))
            return False
        case "reset_mid_body":
            reset(client)
            return False
        case "late_terminator":
            if stop.wait(fault.number("seconds")):
                return False
    client.sendall(_END)
    return True


def send_sized(client: socket.socket, head: bytes, body: bytes, fault: Fault, stop: Event) -> bool:
    """Send an answer whose Content-Length is in ``head``."""
    if fault.name == "url_truncated":
        client.sendall(head + body[: int(len(body) * fault.number("fraction"))])
        return False
    client.sendall(head)
    if fault.name == "url_slow":
        _drip(client, body, fault.number("seconds"), stop, chunked=False)
        return not stop.is_set()
    client.sendall(body)
    return True


def reset(client: socket.socket) -> None:
    """Close with RST instead of FIN."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def _drip(client: socket.socket, body: bytes, seconds: float, stop: Event, *, chunked: bool) -> None:
    size = max(1, -(-len(body) // _SLOW_PIECES))
    for piece in _pieces(body, size):
        if stop.wait(seconds / _SLOW_PIECES):
            return
        client.sendall(_chunk(piece) if chunked else piece)
