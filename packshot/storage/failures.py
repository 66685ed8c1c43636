"""What a failed call to the store means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from packshot.errors import ArchiveError, Code

_DENIED = {
    "403", "401", "AccessDenied", "AccountProblem", "AllAccessDisabled", "AuthorizationHeaderMalformed",
    "ExpiredToken", "Forbidden", "InvalidAccessKeyId", "InvalidSecurity", "InvalidToken", "NotSignedUp",
    "RequestTimeTooSkewed", "SignatureDoesNotMatch", "Unauthorized",
}  # fmt: skip
_ALTERED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}


def aws_code(error: ClientError) -> str:
    """The store's own code; for answers without a body, such as to HEAD, the HTTP status as text."""
    return str(error.response.get("Error", {}).get("Code", ""))


def http_status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def store_failure(error: Exception, operation: str, bucket: str, host: str, key: str = "") -> ArchiveError:
    """The error to raise for what boto3 raised. Keeps the store's code and message, never a credential."""
    where = f"{operation} of {bucket}/{key} at {host}" if key else f"{operation} of bucket {bucket} at {host}"
    details: dict[str, Any] = {"operation": operation, "bucket": bucket}
    if key:
        details["key"] = key
    if isinstance(error, ClientError):
        code = aws_code(error)
        details |= {"http_status": http_status(error), "aws_code": code}
        said = _said(error.response.get("Error", {}), code)
        return ArchiveError(_meaning(code, http_status(error)), f"{where}: {said}", **details)
    if isinstance(error, (HTTPClientError, BotoConnectionError)):
        return ArchiveError(Code.S3_UNREACHABLE, f"{where}: {type(error).__name__}", **details)
    if isinstance(error, BotoCoreError):
        return ArchiveError(Code.S3_FAILED, f"{where}: {type(error).__name__}", **details)
    raise error


def _meaning(code: str, status: int) -> Code:
    if code == "NoSuchBucket":
        return Code.BUCKET_MISSING
    if code in _DENIED or status in (401, 403):
        return Code.S3_DENIED
    if code in _ALTERED:
        return Code.S3_INTEGRITY
    return Code.S3_FAILED


def _said(answer: Mapping[str, Any], code: str) -> str:
    if code == "RequestTimeTooSkewed":
        return "RequestTimeTooSkewed: the clock of this machine differs from the store's by minutes"
    message = str(answer.get("Message", ""))[:300]
    return f"{code}: {message}" if message and message != code else code or "no reason given"
