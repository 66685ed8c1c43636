"""Where the store is: checks of its address, and the public address that follows from it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from packshot.errors import Code, ConfigError
from packshot.settings import PREFIX, Settings


def check_endpoint(settings: Settings, required: bool) -> None:
    """Refuse an endpoint that cannot work, or that holds a password (it appears in messages).

    Raises:
        ConfigError: says which.
    """
    url = settings.s3_endpoint_url
    parts = urlsplit(url)
    if not url and required:
        problem = f"is not set, but PACKSHOT_S3_PROFILE={settings.s3_profile} needs it"
    elif parts.username or parts.password:
        problem = "must not hold a user or password"
    elif url and (parts.scheme not in ("http", "https") or not parts.hostname):
        problem = f"{url!r} is not a http:// or https:// address"
    else:
        return
    raise ConfigError(Code.SETTINGS_INVALID, f"{PREFIX}S3_ENDPOINT_URL {problem}")


def own_base_url(endpoint: str, bucket: str, region: str, addressing: str) -> str:
    """Public base URL of a bucket that is read straight from the store; ``endpoint`` is empty for AWS."""
    if not endpoint:
        return f"https://{bucket}.s3.{region}.amazonaws.com"
    if addressing == "path":
        return f"{endpoint}/{bucket}"
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{bucket}.{parts.netloc}{parts.path}"


def is_loopback(url: str) -> bool:
    """True for this machine, which no proxy can reach although HTTP_PROXY would capture it."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
