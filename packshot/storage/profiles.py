"""What the vendors of S3-compatible storage can do, as data.

Sources: the vendors' S3 compatibility pages and public issue reports, 2026; SeaweedFS measured. ``packshot doctor``
tries everything on the real store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from packshot.settings import StoreProfile


@dataclass(frozen=True, slots=True)
class Profile:
    """``sha256``: takes ``x-amz-checksum-sha256`` and gives it back. ``if_none_match``: refuses to overwrite when asked
    to. ``addressing``: bucket in the path or in the host name. ``endpoint``: an endpoint must be set."""

    sha256: bool
    if_none_match: bool
    addressing: Literal["path", "virtual"]
    region: str
    endpoint: bool
    note: str


PROFILES: dict[StoreProfile, Profile] = {
    "aws": Profile(
        True, True, "virtual", "us-east-1", False,
        "Block Public Access is on by default: allow GetObject by bucket policy, or put CloudFront in front",
    ),
    "r2": Profile(
        True, True, "path", "auto", True,
        "has neither ACLs nor bucket policies: connect a custom domain and set it as PACKSHOT_S3_PUBLIC_BASE_URL",
    ),
    "oss": Profile(
        False, False, "virtual", "us-east-1", True,
        "endpoint https://s3.oss-<region>.aliyuncs.com; the default domain makes browsers download images "
        "instead of showing them: bind a custom domain",
    ),
    "b2": Profile(
        False, False, "path", "us-east-1", True,
        "endpoint and region as the bucket's page shows them, such as us-west-004",
    ),
    "seaweedfs": Profile(
        True, True, "path", "us-east-1", True,
        "public reading by bucket policy; ACLs have no effect",
    ),
    "generic": Profile(
        False, False, "path", "us-east-1", False,
        "integrity rests on Content-MD5 and on the check after writing",
    ),
}  # fmt: skip
