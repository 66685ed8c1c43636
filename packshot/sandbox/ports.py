"""Free TCP ports of 127.0.0.1, and the socket files that SeaweedFS names after its ports."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Collection, Iterable
from pathlib import Path

from packshot.errors import Code, ConfigError

# Below the range from which Linux, macOS and Windows take ports for outgoing connections: a port that is kept
# for later must not be lent to somebody's HTTP client meanwhile.
_RANGE = range(20_000, 32_000)

_SOCKETS = Path("/tmp")  # noqa: S108 - SeaweedFS fixes this folder


def free_ports(count: int, taken: Collection[int] = ()) -> list[int]:
    """Random ports nobody listens on and no SeaweedFS, dead or of another user, has left a socket file for.

    SeaweedFS hangs at its start when such a file belongs to somebody else.
    """
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if port not in taken and port_is_free(port) and not socket_files(port):
            found.append(port)
            if len(found) == count:
                return found
    raise ConfigError(Code.SANDBOX_FAILED, f"there are no {count} free ports between {_RANGE.start} and {_RANGE.stop}")


def port_is_free(port: int) -> bool:
    """True when a server could listen on 127.0.0.1:port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def socket_files(port: int) -> list[Path]:
    """Socket files that a SeaweedFS with this port made, such as seaweedfs-master-grpc-21560.sock."""
    return list(_SOCKETS.glob(f"seaweedfs-*-{port}.sock"))


def remove_socket_files(ports: Iterable[int]) -> None:
    """Remove the socket files of our own ports; those of other users stay."""
    for port in ports:
        for path in socket_files(port):
            with contextlib.suppress(OSError):
                path.unlink()
