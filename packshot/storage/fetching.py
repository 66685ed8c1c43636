"""Brings an object of any bucket of the store to the disk, as a stream."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3
from botocore.exceptions import BotoCoreError, ClientError

from packshot.errors import ArchiveError, Code, ConfigError
from packshot.settings import PREFIX, Settings
from packshot.storage.client import s3_client
from packshot.storage.endpoint import check_endpoint
from packshot.storage.failures import http_status, store_failure
from packshot.storage.profiles import PROFILES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class FetchedObject:
    """An object that is complete on the disk. ``sha256`` is hex, ``etag`` as the store sent it."""

    sha256: str
    etag: str


def fetch_object(
    settings: Settings, bucket: str, key: str, dest: Path, *, max_bytes: int, etag: str = ""
) -> FetchedObject | None:
    """Write the object's bytes to ``dest``; None, and nothing is written, when it still has this ``etag``.

    The store and its credentials are those of the settings; the bucket need not be the one for images.

    Raises:
        ConfigError: the settings name no endpoint or credentials.
        ArchiveError: TOO_LARGE, S3_DENIED, BUCKET_MISSING, S3_UNREACHABLE, S3_FAILED (there is no such object, or it
            ended early).
    """
    client = _client(settings)
    condition: dict[str, Any] = {"IfNoneMatch": etag} if etag else {}
    try:
        answer = client.get_object(Bucket=bucket, Key=key, **condition)
        size, read, sha256 = answer["ContentLength"], 0, hashlib.sha256()
        with closing(answer["Body"]) as body, dest.open("wb") as file:
            if size > max_bytes:
                raise ArchiveError(Code.TOO_LARGE, f"s3://{bucket}/{key} has {size:,} bytes")
            for chunk in body.iter_chunks(_CHUNK):
                read += len(chunk)
                sha256.update(chunk)
                file.write(chunk)
    except ClientError as error:
        if etag and http_status(error) == 304:
            return None
        raise store_failure(error, "GetObject", bucket, settings.store_host, key) from None
    except BotoCoreError as error:
        raise store_failure(error, "GetObject", bucket, settings.store_host, key) from None
    except urllib3.exceptions.HTTPError as error:
        raise _ended_early(bucket, key, type(error).__name__) from None
    if read != size:
        raise _ended_early(bucket, key, f"{read:,} of {size:,} bytes came")
    return FetchedObject(sha256.hexdigest(), answer["ETag"])


def _client(settings: Settings) -> S3Client:
    profile = PROFILES[settings.s3_profile]
    check_endpoint(settings, profile.endpoint)
    key_id, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    if key_id is None or secret is None:
        raise ConfigError(
            Code.SETTINGS_INVALID,
            f"s3:// needs {PREFIX}S3_ACCESS_KEY_ID and {PREFIX}S3_SECRET_ACCESS_KEY, and they are not both set",
        )
    return s3_client(
        endpoint=settings.s3_endpoint_url.rstrip("/"),
        region=settings.s3_region if "s3_region" in settings.model_fields_set else profile.region,
        access_key_id=key_id.get_secret_value(),
        secret_access_key=secret.get_secret_value(),
        addressing=settings.s3_addressing or profile.addressing,
    )


def _ended_early(bucket: str, key: str, how: str) -> ArchiveError:
    return ArchiveError(Code.S3_FAILED, f"s3://{bucket}/{key} broke off: {how}")
