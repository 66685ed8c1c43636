"""boto3 clients that do as our settings say, and as nothing else on the machine says."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import boto3
import botocore.session
from botocore.config import Config

from packshot.storage.endpoint import is_loopback

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# AWS_PROFILE and ~/.aws belong to other programs: a profile that is gone would stop us, one that is there could
# send our objects elsewhere. AWS_CA_BUNDLE still counts.
_ISOLATED: dict[str, Any] = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


_one_at_a_time = threading.Lock()  # clients may be shared by threads, the session that makes them may not


@lru_cache(maxsize=1)
def _session() -> boto3.session.Session:
    """Kept, because the description of S3 that it has loaded costs a quarter of a second."""
    return boto3.session.Session(botocore_session=botocore.session.Session(session_vars=_ISOLATED))


@lru_cache(maxsize=8)
def s3_client(
    *,
    endpoint: str,
    region: str,
    access_key_id: str,
    secret_access_key: str,
    addressing: Literal["path", "virtual"],
    connections: int = 10,
    attempts: int = 5,
    connect_timeout: float = 5,
    read_timeout: float = 60,
) -> S3Client:
    """A client for one store; ``endpoint`` is empty for AWS. ``attempts`` includes the first. Threads may share it, and
    a process does: the same arguments give the same client."""
    with _one_at_a_time:
        return _session().client(
            "s3",
            endpoint_url=endpoint or None,
            region_name=region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            config=Config(  # type: ignore[call-arg]  # the stubs do not know ignore_configured_endpoint_urls yet
                signature_version="s3v4",
                # boto3's own default over https is a chunked body with a trailer, which several vendors refuse.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=connections,
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                tcp_keepalive=True,
                ignore_configured_endpoint_urls=True,
                # HTTP_PROXY would capture 127.0.0.1 too.
                proxies={} if is_loopback(endpoint) else None,
                # With Content-MD5 boto3 stops signing the body over https; sign it all the same.
                s3={"addressing_style": addressing, "payload_signing_enabled": True},
            ),
        )
