"""The object store: write an image once, verify it, say where the public finds it."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from packshot.errors import ArchiveError, Code
from packshot.settings import Settings
from packshot.storage.client import s3_client
from packshot.storage.endpoint import check_endpoint, own_base_url
from packshot.storage.failures import aws_code, http_status, store_failure
from packshot.storage.probe import Finding, probe_store
from packshot.storage.profiles import PROFILES

CACHE_CONTROL = "public, max-age=31536000, immutable"

_CONFLICT_WAITS = (0.2, 0.5, 1.0)
"""Seconds to wait when another writer of the same key is at work (409)."""

_LONGEST_METADATA = 240
"""Bytes of one metadata value: S3 allows 2 KB for all of them together."""


@dataclass(frozen=True, slots=True)
class PutResult:
    """``created`` is False when the same image was already there. ``etag`` comes without quotes."""

    created: bool
    etag: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says about an object. ``checksum_sha256`` is hex, empty where the store keeps none."""

    bytes: int
    mime: str
    etag: str
    checksum_sha256: str
    metadata: Mapping[str, str]


class ObjectStore:
    """One bucket. Holds one boto3 client, which threads may share: build one store per process.

    Raises:
        ConfigError: the settings do not name a bucket, an endpoint or credentials.
    """

    def __init__(self, settings: Settings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        settings.require_store()
        self.profile = PROFILES[settings.s3_profile]
        check_endpoint(settings, self.profile.endpoint)
        self.bucket = settings.s3_bucket
        self.prefix = settings.s3_prefix
        self.host = settings.store_host
        self.addressing = settings.s3_addressing or self.profile.addressing
        self.region = settings.s3_region if "s3_region" in settings.model_fields_set else self.profile.region
        self._endpoint = settings.s3_endpoint_url.rstrip("/")
        self._public_base = settings.s3_public_base_url or own_base_url(
            self._endpoint, self.bucket, self.region, self.addressing
        )
        self._sleep = sleep
        key_id, secret = settings.s3_access_key_id, settings.s3_secret_access_key
        assert key_id is not None
        assert secret is not None
        self._client = s3_client(
            endpoint=self._endpoint,
            region=self.region,
            access_key_id=key_id.get_secret_value(),
            secret_access_key=secret.get_secret_value(),
            addressing=self.addressing,
            connections=settings.concurrency + 10,
        )

    def put_image(
        self,
        key: str,
        path: Path,
        mime: str,
        sha256_hex: str,
        md5: bytes,
        metadata: Mapping[str, str],
        cache_control: str = CACHE_CONTROL,
    ) -> PutResult:
        """Store the file's bytes, then ask the store what it holds and compare.

        The bytes go into memory. ``metadata`` may hold any text: it travels percent-encoded and shortened, next to
        ``sha256``. Safe to repeat: an object with the same bytes counts as success.

        Raises:
            ArchiveError: S3_INTEGRITY (the store holds, or was sent, something else), S3_DENIED, BUCKET_MISSING,
                S3_UNREACHABLE, S3_FAILED.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256_hex)).decode()
        request: dict[str, Any] = {
            "Bucket": self.bucket,
            "Key": key,
            "Body": path.read_bytes(),
            "ContentType": mime,
            "CacheControl": cache_control,
            "ContentMD5": base64.b64encode(md5).decode(),
            "Metadata": {name: ascii_value(value) for name, value in metadata.items()} | {"sha256": sha256_hex},
        }
        if self.profile.sha256:
            request["ChecksumSHA256"] = checksum
        if self.profile.if_none_match:
            request["IfNoneMatch"] = "*"
        created = self._put(request)
        found = self.head(key)
        self._compare(key, found, len(request["Body"]), sha256_hex, created)
        assert found is not None
        return PutResult(created, found.etag)

    def put_text(self, key: str, content: bytes, mime: str) -> None:
        """Store a small text that may change: what was there is replaced.

        Raises:
            ArchiveError: S3_DENIED, BUCKET_MISSING, S3_UNREACHABLE, S3_FAILED.
        """
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        self._put({"Bucket": self.bucket, "Key": key, "Body": content, "ContentType": mime, "ContentMD5": md5})

    def head(self, key: str) -> StoredObject | None:
        """What the store holds at ``key``; None when nothing.

        Raises:
            ArchiveError: S3_DENIED, S3_UNREACHABLE, S3_FAILED.
        """
        # Asking for checksums is itself a checksum header, which some vendors refuse.
        mode: dict[str, Any] = {"ChecksumMode": "ENABLED"} if self.profile.sha256 else {}
        try:
            answer = self._client.head_object(Bucket=self.bucket, Key=key, **mode)
        except ClientError as error:
            if http_status(error) == 404:
                return None
            raise store_failure(error, "HeadObject", self.bucket, self.host, key) from None
        except BotoCoreError as error:
            raise store_failure(error, "HeadObject", self.bucket, self.host, key) from None
        checksum = answer.get("ChecksumSHA256", "")
        return StoredObject(
            bytes=answer["ContentLength"],
            mime=answer.get("ContentType", ""),
            etag=answer.get("ETag", "").strip('"'),
            checksum_sha256=base64.b64decode(checksum).hex() if checksum and "-" not in checksum else "",
            metadata={name.lower(): value for name, value in answer.get("Metadata", {}).items()},
        )

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none.

        Raises:
            ArchiveError: S3_DENIED, BUCKET_MISSING, S3_UNREACHABLE, S3_FAILED.
        """
        try:
            self._client.delete_object(Bucket=self.bucket, Key=key)
        except (ClientError, BotoCoreError) as error:
            raise store_failure(error, "DeleteObject", self.bucket, self.host, key) from None

    def read(self, key: str) -> bytes:
        """The object's bytes, all in memory, compared with the SHA-256 they were stored with.

        Raises:
            ArchiveError: S3_DENIED, BUCKET_MISSING, S3_UNREACHABLE, S3_FAILED, S3_INTEGRITY.
        """
        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            body = answer["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise store_failure(error, "GetObject", self.bucket, self.host, key) from None
        expected = answer.get("Metadata", {}).get("sha256")
        if expected and hashlib.sha256(body).hexdigest() != expected:
            raise ArchiveError(Code.S3_INTEGRITY, f"{self.bucket}/{key} is not what was stored: its SHA-256 differs")
        return body

    def check_bucket(self) -> None:
        """Is the bucket there, and are the credentials known?

        Raises:
            ArchiveError: S3_DENIED, BUCKET_MISSING, S3_UNREACHABLE, S3_FAILED.
        """
        try:
            # Unlike HEAD, this answers with a reason when it refuses.
            self._client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and aws_code(error) == "AccessDenied":
                return  # credentials that may write but not list are good enough, and good practice
            raise store_failure(error, "ListObjectsV2", self.bucket, self.host, self.prefix) from None

    @property
    def public_base_url(self) -> str:
        """What a key is appended to, after a slash, to make its public URL."""
        return self._public_base

    def public_url(self, key: str) -> str:
        """Where the public finds ``key``: base URL + / + key, no query string."""
        return f"{self._public_base}/{quote(key)}"

    def probe(self) -> list[Finding]:
        """Try on the real store what packshot relies on, with objects that are removed again. Never raises."""
        return probe_store(self)

    def _put(self, request: dict[str, Any]) -> bool:
        """Send it; False when the key exists already."""
        for wait in (*_CONFLICT_WAITS, None):
            try:
                self._client.put_object(**request)
            except (ClientError, BotoCoreError) as error:
                status = http_status(error) if isinstance(error, ClientError) else 0
                if status == 412:
                    return False
                if status != 409 or wait is None:
                    raise store_failure(error, "PutObject", self.bucket, self.host, request["Key"]) from None
                self._sleep(wait)
            else:
                return True
        raise AssertionError("the last round returns or raises")

    def _compare(self, key: str, found: StoredObject | None, size: int, sha256_hex: str, created: bool) -> None:
        if found is None:
            raise ArchiveError(Code.S3_INTEGRITY, f"{self.bucket}/{key} is not there right after it was stored")
        expected = {"size": size, "metadata sha256": sha256_hex}
        actual = {"size": found.bytes, "metadata sha256": found.metadata.get("sha256", "")}
        if found.checksum_sha256:
            expected["checksum"], actual["checksum"] = sha256_hex, found.checksum_sha256
        wrong = [f"{name} {actual[name]!r}, not {value!r}" for name, value in expected.items() if actual[name] != value]
        if wrong:
            what = "holds something else than what was sent" if created else "is already taken by another object"
            raise ArchiveError(Code.S3_INTEGRITY, f"{self.bucket}/{key} {what}: {'; '.join(wrong)}")


def ascii_value(text: str) -> str:
    """Metadata travels in headers: percent-encoded, at most 240 bytes, cut between characters' escapes."""
    encoded = quote(text, safe="/:,=+@~()")[:_LONGEST_METADATA]
    return re.sub(r"%[0-9A-F]?\Z", "", encoded)
