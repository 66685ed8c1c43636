"""When a temporary URL dies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

_STAMP = "%Y%m%dT%H%M%SZ"

# A count of seconds since 1970 below this (September 2001) is a duration or a mistake, not a moment.
_EARLIEST = 1_000_000_000


def url_expiry(url: str, now: datetime, default_lifetime: float) -> datetime:
    """The moment ``url`` stops working, UTC-aware, as its own signature says.

    Reads ``Expires`` (seconds since 1970; Alibaba OSS V1, CloudFront, GCS V2), and ``x-oss-expires`` with
    ``x-oss-date``, ``X-Amz-Expires`` with ``X-Amz-Date``, ``X-Goog-Expires`` with ``X-Goog-Date`` (seconds from a
    moment), in any case of letters. A URL that does not say, or says nonsense, is assumed to live
    ``default_lifetime`` seconds from ``now``: APIYI promises between 10 minutes and 24 hours.
    """
    return _from_signature(url) or now.astimezone(UTC) + timedelta(seconds=default_lifetime)


def _from_signature(url: str) -> datetime | None:
    try:
        query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
        for vendor in ("oss", "amz", "goog"):
            if (seconds := query.get(f"x-{vendor}-expires")) and (date := query.get(f"x-{vendor}-date")):
                begin = datetime.strptime(date, _STAMP).replace(tzinfo=UTC)
                return begin + timedelta(seconds=int(seconds))
        moment = int(query["expires"])
        return datetime.fromtimestamp(moment, UTC) if moment >= _EARLIEST else None
    except (KeyError, ValueError, OverflowError, OSError):
        return None
