"""The client: one call buys one image and leaves it, or its temporary URL, safe on this machine."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import requests
from pydantic import SecretStr
from requests.auth import AuthBase

from packshot import __version__
from packshot.apiyi.body import CutJson, NotJson, read_body, write_decoded
from packshot.apiyi.classify import classify, request_ids
from packshot.apiyi.exchange import Exchange, post, root_cause
from packshot.apiyi.expiry import url_expiry
from packshot.apiyi.line import Limits, new_session
from packshot.apiyi.model import Answer, ImageRequest
from packshot.apiyi.reading import Facts, FoundImage, read_answer, read_facts
from packshot.apiyi.scrub import EXCERPT_CHARS, excerpt, says, scrub
from packshot.apiyi.spool import beginning, files_of, open_for_answer, read_head, remove, sync_folder, write_head
from packshot.apiyi.wire import wire_for
from packshot.errors import Billed, Code, ConfigError, PackshotError, ProviderError
from packshot.settings import Settings

# Dead connections in a pool are the usual cause of resets that come in swarms; most proxies forget one after 60 s.
_MOST_IDLE = 55.0
_MODELS_TIMEOUT = 30.0
_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
_WEBP = (b"RIFF", b"WEBP")


class ApiyiClient:
    """Calls APIYI with one key. Safe to share between threads: each has its own connection.

    Never retries: what to buy again is the ledger's decision. No error of it holds the key, nor refers to an
    exception that does.
    """

    def __init__(self, settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """
        Raises:
            ConfigError: the key is missing, or holds characters that no header can carry.
        """
        key = settings.require_key().get_secret_value().strip()
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError(
                Code.BAD_KEY, "PACKSHOT_APIYI_KEY holds a blank, a line break or a letter outside ASCII; no key does"
            )
        self._settings = settings
        self._key = SecretStr(key)
        self._wire = wire_for(settings)
        self._now = now
        self._local = threading.local()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection that is kept."""
        for session in list(self._sessions):
            session.close()

    def generate(self, request: ImageRequest, spool: Path, name: str) -> Answer:
        """Buy one image; blocks for 20 to 600 seconds.

        Leaves the raw answer in ``spool/name.body``, its request ids in ``spool/name.head`` and, when the answer held
        the image itself, the image in ``spool/name.img``. A call without an image leaves none of them, except when
        only the image did not fit on the disk.

        Raises:
            ConfigError: this request cannot be made with these settings. Nothing was sent.
            PackshotError: a photo cannot be read, or the disk is nearly full. Nothing was sent.
            ProviderError: no image came. ``code.billed`` says whether it cost; ``details`` hold http_status,
                request_ids, seconds and excerpt, sometimes retry_after and maybe_transient. ANSWER_NOT_SAVED is the
                disk's fault, not the provider's, but the call is paid all the same.
        """
        payload = self._wire.body(request)
        outcome: Answer | PackshotError
        file = open_for_answer(spool / f"{name}.body")
        try:
            outcome = self._call(request, payload, file, spool, name)
        finally:
            with contextlib.suppress(OSError):  # a full disk refuses the rest once more; the outcome says so already
                file.close()
        if isinstance(outcome, Answer):
            sync_folder(spool)
            return outcome
        if "body_path" in outcome.details:
            (spool / f"{name}.img").unlink(missing_ok=True)
        else:
            remove(spool, name)
        # Raised outside of any handler: a `__context__` would carry the request, and the request the key.
        raise outcome

    def adopt(self, spool: Path, name: str) -> Answer | ProviderError:
        """The outcome of a call whose process died, from what it left in the spool. Sends nothing.

        An answer that came whole is as good as one that was waited for, also when it says why there is no image.
        Otherwise the error is INTERRUPTED, with the request ids if there were any. What lies in the spool stays.
        """
        body, head, image = files_of(spool, name)
        status, ids = read_head(head)
        done = Exchange(status=status or 200, headers=ids)
        outcome: Answer | ProviderError | None = None
        if body.exists() and body.stat().st_size:
            outcome = self._outcome(done, body, image)
        if outcome is None or (isinstance(outcome, ProviderError) and outcome.code.billed is not Billed.YES):
            done.status = status
            return self._failure(Code.INTERRUPTED, "the process died while this call was in flight", done)
        return outcome

    def models(self) -> list[str]:
        """Ids of the models this key may use, sorted; costs nothing.

        Raises:
            ProviderError: the API cannot be reached, refuses the key, or answers with something else.
        """
        outcome = self._models()
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    def _call(
        self, request: ImageRequest, payload: bytes, file: BinaryIO, spool: Path, name: str
    ) -> Answer | ProviderError:
        body_path, head_path, image_path = files_of(spool, name)

        def accepted(done: Exchange) -> None:
            write_head(head_path, done.status or 200, self._request_ids(done.headers))

        settings = self._settings
        is_4k = request.image_size == "4K"
        limits = Limits(
            first_byte=settings.first_byte_timeout_4k if is_4k else settings.first_byte_timeout,
            silence=settings.silence_timeout,
            grace=settings.stall_grace,
            total=settings.total_timeout,
        )
        url = settings.base_url + self._wire.path(request)
        session = self._session()
        try:
            done = post(session, url, payload, _Bearer(self._key), settings.connect_timeout, limits, file, accepted)
        finally:
            self._local.last_used = time.monotonic()
        return self._outcome(done, body_path, image_path)

    def _outcome(self, done: Exchange, body_path: Path, image_path: Path) -> Answer | ProviderError:
        """The answer a finished exchange holds. A whole body counts even if the line broke after it."""
        if done.status is None:
            return self._failure(done.fault or Code.CONNECTION_LOST, f"no answer: {done.reason}", done)
        if not done.ok:
            return self._classified(done)
        if done.fault is Code.ANSWER_NOT_SAVED:
            return self._failure(
                done.fault, f"the answer was paid for and could not be written to {body_path}: {done.reason}", done
            )
        try:
            answer = read_body(body_path)
        except CutJson as error:
            return self._failure(
                done.fault or Code.ANSWER_CUT,
                f"the answer is not complete: {done.reason or error}",
                done,
                beginning(body_path, EXCERPT_CHARS * 2),
            )
        except NotJson:
            return self._failure(
                Code.NOT_JSON,
                "the answer is no JSON, probably a web page",
                done,
                beginning(body_path, EXCERPT_CHARS * 2),
            )
        if answer is None and done.fault:
            return self._failure(done.fault, f"no answer after its headers: {done.reason}", done)
        found = read_answer(done.status, answer, self._key.get_secret_value())
        if isinstance(found, ProviderError):
            return self._complete(found, done)
        return self._answer(found, read_facts(answer), done, body_path, image_path)

    def _answer(
        self, found: FoundImage, facts: Facts, done: Exchange, body_path: Path, image_path: Path
    ) -> Answer | ProviderError:
        mime = found.mime
        if found.data is not None:
            try:
                head = write_decoded(found.data, image_path)
            except ValueError as error:
                return self._failure(Code.NO_IMAGE, f"the image in the answer is not base64: {error}", done)
            except OSError as error:
                failure = self._failure(
                    Code.ANSWER_NOT_SAVED,
                    f"the image could not be written: {error.strerror}; the answer with it was, to {body_path}",
                    done,
                )
                failure.details["body_path"] = str(body_path)
                return failure
            mime = _mime_of(head) or mime
        ids = self._request_ids(done.headers)
        if facts.response_id:
            ids["responseId"] = facts.response_id
        return Answer(
            url=found.url,
            expires_at=url_expiry(found.url, self._now(), self._settings.url_lifetime) if found.url else None,
            path=None if found.url else image_path,
            mime=mime,
            body_path=body_path,
            http_status=done.status or 200,
            request_ids=ids,
            model_version=facts.model_version,
            usage=facts.usage,
            seconds=done.seconds,
            stalled=done.fault is not None or done.stalled,
        )

    def _models(self) -> list[str] | ProviderError:
        done = Exchange()
        began = time.monotonic()
        try:
            response = self._session().get(
                f"{self._settings.base_url}/v1/models",
                auth=_Bearer(self._key),
                timeout=(self._settings.connect_timeout, _MODELS_TIMEOUT),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            done.reason = root_cause(error)
            code = Code.TIMEOUT if isinstance(error, requests.ReadTimeout) else Code.CONNECT_FAILED
            return self._failure(code, f"{self._settings.base_url} does not answer: {done.reason}", done)
        finally:
            done.seconds = time.monotonic() - began
            self._local.last_used = time.monotonic()
        done.status, done.headers = response.status_code, dict(response.headers)
        if done.status != 200:
            done.error_text = response.text
            return self._classified(done)
        try:
            return sorted(str(model["id"]) for model in response.json()["data"])
        except (ValueError, LookupError, TypeError):
            return self._failure(Code.NOT_JSON, "the list of models is not one", done, response.text)

    def _session(self) -> requests.Session:
        """This thread's session, without a connection that lay idle too long."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = new_session()
            session.headers["User-Agent"] = f"packshot/{__version__}"
            self._sessions.add(session)
        elif time.monotonic() - self._local.last_used > _MOST_IDLE:
            session.close()
        return session

    def _classified(self, done: Exchange) -> ProviderError:
        assert done.status is not None
        hidden = {name: self._scrub(value) for name, value in done.headers.items()}
        return self._complete(classify(done.status, self._scrub(done.error_text), hidden), done)

    def _failure(self, code: Code, message: str, done: Exchange, body: str = "") -> ProviderError:
        key = self._key.get_secret_value()
        error = ProviderError(code, says(message, key), excerpt=excerpt(body, key))
        return self._complete(error, done)

    def _complete(self, error: ProviderError, done: Exchange) -> ProviderError:
        """The details every error has."""
        error.details |= {
            "http_status": done.status,
            "request_ids": self._request_ids(done.headers),
            "seconds": round(done.seconds, 3),
        }
        return error

    def _request_ids(self, headers: Mapping[str, str]) -> dict[str, str]:
        return request_ids(headers, self._key.get_secret_value())

    def _scrub(self, text: str) -> str:
        return scrub(text, self._key.get_secret_value())


class _Bearer(AuthBase):
    """Sets the key. Handed to each request, so that no ``.netrc`` puts another one in its place."""

    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        return request


def _mime_of(head: bytes) -> str | None:
    if (head[:4], head[8:12]) == _WEBP:
        return "image/webp"
    return next((mime for signature, mime in _SIGNATURES if head.startswith(signature)), None)
