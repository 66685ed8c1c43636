"""Every failure that can happen, as data.

A :class:`Code` says four things about a failure: whether the provider bills it, whether trying again makes sense,
whether it makes the rest of the run hopeless, and what a person should do next. Everything else in the package
decides by these, never by the text of a message.

Billing facts: docs.apiyi.com, best practices and error pages, as of October 2026.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any, Self


class Billed(StrEnum):
    """Does the provider charge for a call that ended this way?"""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


_WAS_IT_BILLED = "`packshot costs reconcile` finds out whether it was billed"


class Code(StrEnum):
    """What went wrong. Members carry ``billed``, ``retryable``, ``stops_run`` and ``next_step``."""

    billed: Billed
    retryable: bool
    stops_run: bool
    next_step: str

    def __new__(
        cls, value: str, billed: Billed, retryable: bool = False, stops_run: bool = False, next_step: str = ""
    ) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.billed = billed
        member.retryable = retryable
        member.stops_run = stops_run
        member.next_step = next_step
        return member

    # --- configuration: nothing was started -------------------------------------------------------------------
    SETTINGS_INVALID = "settings_invalid", Billed.NO, False, True, "correct the variable, then run `packshot doctor`"
    SHOTS_INVALID = "shots_invalid", Billed.NO, False, True, "correct the shot list"
    CATALOG_INVALID = "catalog_invalid", Billed.NO, False, True, "correct the catalog file or the reading options"
    CATALOG_UNREACHABLE = (
        "catalog_unreachable", Billed.NO, False, True, "check the address, the network and its server, then run again",
    )  # fmt: skip
    PROJECT_MISSING = "project_missing", Billed.NO, False, True, "change to the project's folder, then run again"
    PREFECT_UNREACHABLE = "prefect_unreachable", Billed.NO, False, True, "start a server: `prefect server start`"
    DATABASE_OUTDATED = "database_outdated", Billed.NO, False, True, "run `packshot db upgrade`"
    DATABASE_NEWER = (
        "database_newer", Billed.NO, False, True, "install the packshot that upgraded the database, or a later one",
    )  # fmt: skip
    HOLD_INVALID = "hold_invalid", Billed.NO, False, True, "`packshot holds` lists what waits for you, with its keys"
    RUN_OVER = "run_over", Billed.NO, False, True, "`packshot runs` lists all runs"
    SANDBOX_FAILED = "sandbox_failed", Billed.NO, False, True, "follow the message, then start the sandbox again"

    # --- the provider refused before doing anything: not billed -----------------------------------------------
    BAD_REQUEST = "bad_request", Billed.NO, False, False, "read the provider's message; change the shot or the model"
    MODERATION_BLOCKED = "moderation_blocked", Billed.NO, False, False, "change the prompt or the product's texts"
    BAD_KEY = "bad_key", Billed.NO, False, True, "set PACKSHOT_APIYI_KEY, then run `packshot doctor`"
    BALANCE_EMPTY = "balance_empty", Billed.NO, False, True, "top up the account at APIYI, then run again"
    MODEL_UNAVAILABLE = (
        "model_unavailable", Billed.NO, False, True,
        "run `packshot doctor` to see the models this key may use, then set PACKSHOT_APIYI_MODEL",
    )  # fmt: skip
    FORBIDDEN = "forbidden", Billed.NO, False, True, "ask APIYI which group and models this token may use"
    RATE_LIMITED = "rate_limited", Billed.NO, True, False, "lower PACKSHOT_CONCURRENCY"
    OVERLOADED = "overloaded", Billed.NO, True, False, "run again later"
    BAD_GATEWAY = "bad_gateway", Billed.NO, True, False, "run again in a minute"
    WRITE_FAILED = "write_failed", Billed.NO, True, False, "check the connection to APIYI: large requests fail"
    CONNECT_FAILED = "connect_failed", Billed.NO, True, False, "check the network and PACKSHOT_APIYI_BASE_URL"

    # --- nobody can say whether this was billed ---------------------------------------------------------------
    SERVER_ERROR = "server_error", Billed.UNKNOWN, True, False, _WAS_IT_BILLED
    GATEWAY_TIMEOUT = "gateway_timeout", Billed.UNKNOWN, True, False, _WAS_IT_BILLED
    TIMEOUT = "timeout", Billed.UNKNOWN, True, False, _WAS_IT_BILLED
    CONNECTION_LOST = "connection_lost", Billed.UNKNOWN, True, False, _WAS_IT_BILLED
    ANSWER_CUT = "answer_cut", Billed.UNKNOWN, True, False, _WAS_IT_BILLED
    NOT_JSON = "not_json", Billed.UNKNOWN, True, False, "check that PACKSHOT_APIYI_BASE_URL is the API, not a web page"
    INTERRUPTED = "interrupted", Billed.UNKNOWN, True, False, "nothing: the next run settles it"

    # --- the provider answered 200, billed it, and sent no image ----------------------------------------------
    REFUSED_SAFETY = "refused_safety", Billed.YES, False, False, "change the prompt or the photo, or drop the shot"
    REFUSED_PROHIBITED = "refused_prohibited", Billed.YES, False, False, "change the prompt or drop the shot"
    REFUSED_TEXT = "refused_text", Billed.YES, False, False, "read the answer's text; change the prompt"
    INPUT_BLOCKED = "input_blocked", Billed.YES, False, False, "replace the product's photo: it is usually the cause"
    NO_IMAGE = "no_image", Billed.YES, False, False, "end the prompt with: output the final image only"
    ANSWER_NOT_SAVED = "answer_not_saved", Billed.YES, False, True, "free space under PACKSHOT_HOME, then run again"

    # --- bringing the image home: costs bandwidth, never money ------------------------------------------------
    DOWNLOAD_FAILED = "download_failed", Billed.NO, True, False, "run again before the temporary URL expires"
    DOWNLOAD_REFUSED = (
        "download_refused", Billed.NO, False, False,
        "allow the host with PACKSHOT_DOWNLOAD_HOSTS or the range with PACKSHOT_DOWNLOAD_CIDRS, then run again",
    )  # fmt: skip
    LOST = "lost", Billed.NO, False, False, "`packshot holds resolve KEY --retry` buys it again; rescue more often"
    SPOOL_MISSING = (
        "spool_missing", Billed.NO, False, False,
        "run `packshot rescue` on the machine that made the call: its PACKSHOT_HOME/spool has the image",
    )  # fmt: skip
    TOO_LARGE = "too_large", Billed.NO, False, False, "raise PACKSHOT_DOWNLOAD_MAX_BYTES or PACKSHOT_MAX_PIXELS"
    NOT_AN_IMAGE = "not_an_image", Billed.NO, True, False, "run again before the temporary URL expires"
    IMAGE_TRUNCATED = "image_truncated", Billed.NO, True, False, "run again before the temporary URL expires"
    ARCHIVE_FAILED = "archive_failed", Billed.NO, True, False, "this is a bug: report it with the log"
    WRONG_SIZE = (
        "wrong_size", Billed.NO, False, False,
        "look at it, then `packshot holds resolve KEY --accept` or --retry; another model or size may do better",
    )  # fmt: skip
    REFERENCE_UNAVAILABLE = (
        "reference_unavailable",
        Billed.NO,
        False,
        False,
        "replace the photo or correct its address, then run again; PACKSHOT_ON_DEAD_PHOTO=without goes on without it",
    )

    # --- object storage ---------------------------------------------------------------------------------------
    S3_UNREACHABLE = (
        "s3_unreachable",
        Billed.NO,
        True,
        False,
        "check the network and PACKSHOT_S3_ENDPOINT_URL, then run `packshot doctor`",
    )
    S3_DENIED = (
        "s3_denied",
        Billed.NO,
        False,
        True,
        "correct PACKSHOT_S3_ACCESS_KEY_ID and PACKSHOT_S3_SECRET_ACCESS_KEY, or allow this key to put and get objects",
    )
    BUCKET_MISSING = "bucket_missing", Billed.NO, False, True, "create the bucket or correct PACKSHOT_S3_BUCKET"
    S3_INTEGRITY = "s3_integrity", Billed.NO, True, False, "run `packshot doctor`: the store altered what was sent"
    S3_FAILED = "s3_failed", Billed.NO, True, False, "read the store's message, then run `packshot doctor`"

    # --- the run as a whole -----------------------------------------------------------------------------------
    BUDGET_REACHED = (
        "budget_reached", Billed.NO, False, True,
        "run again: each run has a maximum of its own, or raise the maximum cost; the day's begins anew at 0:00 UTC",
    )  # fmt: skip
    STOP_REQUESTED = "stop_requested", Billed.NO, False, True, "run again when you want the rest"
    PROVIDER_FAILING = "provider_failing", Billed.NO, False, True, "look at APIYI's status, then run again"
    SKIPPED = "skipped", Billed.NO, False, False, "nothing: a person decided so"
    SUPERSEDED = "superseded", Billed.NO, False, False, "nothing: a later run planned this picture again"
    IN_PROGRESS = "in_progress", Billed.NO, True, False, "another run is making it, or was cut off: run again later"
    DISK_FULL = "disk_full", Billed.NO, True, True, "free space under PACKSHOT_HOME, then run again"
    UNEXPECTED = "unexpected", Billed.UNKNOWN, False, False, "this is a bug: report it with the log"

    # --- a catalog record that cannot become a product --------------------------------------------------------
    MISSING_KEY = "missing_key", Billed.NO, False, False, "fill the key column, or map another one"
    MISSING_TITLE = "missing_title", Billed.NO, False, False, "fill the title column, or map another one"
    DUPLICATE_KEY = "duplicate_key", Billed.NO, False, False, "make the key unique, or map another column as key"
    ORPHAN_VARIANT = (
        "orphan_variant", Billed.NO, False, False,
        "add its parent to the catalog, or name the file that has it with `parents` in catalog.yaml",
    )  # fmt: skip
    BAD_WIDTH = "bad_width", Billed.NO, False, False, "quote cells that contain the delimiter"
    OPEN_QUOTE = "open_quote", Billed.NO, False, False, "export the file again: it ends inside a quoted cell"
    BAD_JSON = "bad_json", Billed.NO, False, False, "correct the JSON of this record"
    BAD_XML = "bad_xml", Billed.NO, False, False, "export the feed again: from here on it is not well-formed XML"
    FILE_DAMAGED = "file_damaged", Billed.NO, False, False, "get the file again: from here on it is damaged"
    BAD_TEXT = "bad_text", Billed.NO, False, False, "remove NUL and undecodable bytes"
    BAD_FIELD = "bad_field", Billed.NO, False, False, "correct the field"
    NOT_SELECTED = "not_selected", Billed.NO, False, False, "change its status, or accept that status when reading"
    ORPHAN_ROW = "orphan_row", Billed.NO, False, False, "put the row below its product"
    UNRENDERABLE = "unrenderable", Billed.NO, False, False, "give the product what the shot's prompt asks for"
    PHOTO_NEEDED = "photo_needed", Billed.NO, False, False, "give the product a photo, or set needs_reference: false"


@cache
def code_of(value: str) -> Code:
    """The member with this value, as read from a database row."""
    return next(code for code in Code if code == value)


class PackshotError(Exception):
    """A failure with its :class:`Code`, one sentence for a person, and whatever facts help to follow it up.

    ``details`` holds plain values only (status, request id, a raw excerpt): it is stored and logged, so it never
    holds a secret. Pickles with all its attributes, because Prefect moves exceptions between processes.
    """

    def __init__(self, code: Code, message: str, **details: Any) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        end = "" if self.message.endswith((".", "!", "?")) else "."
        step = f" Next: {self.code.next_step}." if self.code.next_step else ""
        return f"{self.code}: {self.message}{end}{step}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.code, self.message, self.details))


def _rebuild(kind: type[PackshotError], code: Code, message: str, details: dict[str, Any]) -> PackshotError:
    return kind(code, message, **details)


class ConfigError(PackshotError):
    """What the user gave us cannot work: settings, catalog, shot list. Exit code 2, nothing was bought."""


class ProviderError(PackshotError):
    """A paid call did not bring an image. ``details``: http_status, request_ids, excerpt, seconds, retry_after."""


class ArchiveError(PackshotError):
    """An image that was generated could not be brought to permanent storage yet."""
