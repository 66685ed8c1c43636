"""HTTP sessions for addresses that others wrote: no private network, no credentials, no cookies, no proxies."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from requests_hardened import Config, HTTPSession
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

FAKE_IP = ipaddress.ip_network("198.18.0.0/15")
"""Proxy programs such as Clash and Surge answer every DNS question with an address of this range."""


def guarded_session(allowed: Sequence[Network] = ()) -> requests.Session:
    """A session that connects only to the address it checked, and raises InvalidIPAddress for a private one.

    ``allowed`` are the private ranges that may be reached all the same. Redirects are not followed.
    """
    session = cast(
        requests.Session,
        HTTPSession(
            Config(
                ip_filter_enable=True,
                ip_filter_allow_loopback_ips=False,
                never_redirect=True,
                default_timeout=(10.0, 30.0),
            )
        ),
    )
    if allowed:
        session.mount("http://", _DeclaredRanges(allowed, is_https_proto=False))
        session.mount("https://", _DeclaredRanges(allowed, is_https_proto=True))
    session.trust_env = False  # neither ~/.netrc nor HTTP_PROXY: a proxy would resolve names behind the guard's back
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["Accept-Encoding"] = "identity"
    return session


def refused_address(error: requests.RequestException) -> Address | None:
    """The private address behind an InvalidIPAddress; None for any other error."""
    if isinstance(error, InvalidIPAddress) and error.args:
        return cast(Address, error.args[0])
    return None


class _DeclaredRanges(IPFilterAdapter):  # type: ignore[misc]  # the library has no types
    """The library's filter knows loopback as its one exception; this adds ranges."""

    def __init__(self, allowed: Sequence[Network], *, is_https_proto: bool) -> None:
        super().__init__(is_https_proto=is_https_proto)
        self._allowed = tuple(allowed)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: Any = None
    ) -> tuple[Any, Any]:
        host_params: dict[str, Any]
        pool_kwargs: dict[str, Any]
        build: Any = HTTPAdapter.build_connection_pool_key_attributes
        host_params, pool_kwargs = build(self, request, verify, cert)
        name, port = host_params["host"], host_params["port"]
        address = _resolve(name, port or 0)
        if address is None or not any(address in network for network in self._allowed):
            return cast(tuple[Any, Any], super().build_connection_pool_key_attributes(request, verify, cert))
        # Connect to the very address that was checked, but speak to the server by its name.
        request.headers["Host"] = (f"[{name}]" if ":" in name else name) + (f":{port}" if port else "")
        if self._is_https_proto:
            pool_kwargs |= {"assert_hostname": name, "server_hostname": name}
        host_params["host"] = f"[{address}]" if address.version == 6 else str(address)
        return host_params, pool_kwargs


def _resolve(name: str, port: int) -> Address | None:
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError:
        return None  # the library's filter reports it
    address = ipaddress.ip_address(found[0][4][0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
