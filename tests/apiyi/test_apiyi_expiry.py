from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from packshot.apiyi import url_expiry

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DEFAULT = NOW + timedelta(hours=24)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Expires=1795348800&Signature=a%2Fb", datetime(2026, 11, 22, 12, 0, tzinfo=UTC)),
        ("EXPIRES=1795352400", datetime(2026, 11, 22, 13, 0, tzinfo=UTC)),
        ("x-oss-date=20261122T100000Z&x-oss-expires=3600", datetime(2026, 11, 22, 11, 0, tzinfo=UTC)),
        ("X-Amz-Date=20261122T120000Z&X-Amz-Expires=604800", datetime(2026, 11, 29, 12, 0, tzinfo=UTC)),
        ("X-Goog-Date=20261122T120000Z&X-Goog-Expires=600", datetime(2026, 11, 22, 12, 10, tzinfo=UTC)),
        ("Expires=1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
    ],
)
def test_the_signature_says_when(query: str, expected: datetime) -> None:
    assert url_expiry(f"https://b.oss-us-west-1.aliyuncs.com/a.png?{query}", NOW, 86_400) == expected


@pytest.mark.parametrize(
    "query",
    [
        "", "v=1", "Expires=", "Expires=never", "Expires=3600", "Expires=-5", "Expires=99999999999999999999999",
        "x-oss-expires=3600",
        "x-oss-date=yesterday&x-oss-expires=60", "X-Amz-Date=20261122T120000Z&X-Amz-Expires=1e9999",
        "X-Amz-Date=20261122T120000Z&X-Amz-Expires=99999999999999999",
    ],
)  # fmt: skip
def test_a_url_that_does_not_say_lives_as_long_as_assumed(query: str) -> None:
    assert url_expiry(f"https://cdn.example/a.png?{query}", NOW, 86_400) == DEFAULT


def test_the_result_is_utc_whatever_zone_now_is_in() -> None:
    here = NOW.astimezone(timezone(timedelta(hours=8)))
    expiry = url_expiry("https://cdn.example/a.png", here, 86_400)
    assert expiry == DEFAULT
    assert expiry.utcoffset() == timedelta(0)


def test_a_url_that_is_none_does_not_raise() -> None:
    assert url_expiry("http://[broken/a.png", NOW, 86_400) == DEFAULT
