"""One POST to the API and what came of it: the answer's body in a file or in memory, and how the line ended."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import requests
import urllib3
from requests.auth import AuthBase
from urllib3.exceptions import IncompleteRead, ReadTimeoutError

from packshot.apiyi.body import NotJson, read_body
from packshot.apiyi.line import Limits, Verdict, Watch
from packshot.errors import Code

_STEP = 64 * 1024
_LAST_BYTES = 64
# Ten 4K drafts in one answer come to 300 MB; an error to a few thousand bytes.
_MOST_BYTES = 512 * 1024 * 1024
_MOST_ERROR_BYTES = 256 * 1024


class _NotSaved(Exception):
    pass


class _TooLong(Exception):
    pass


@dataclass(slots=True)
class Exchange:
    """How a call went. ``status`` is None when no answer began.

    ``fault`` says how the line failed, None if the answer ended as HTTP wants; a body can be whole all the same.
    ``error_text`` is the body of an answer other than 2xx; that of a 2xx is in the file.
    """

    seconds: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    error_text: str = ""
    fault: Code | None = None
    reason: str = ""
    stalled: bool = False

    @property
    def ok(self) -> bool:
        """Was the call accepted? Then it is billed, whatever came of its answer."""
        return self.status is not None and 200 <= self.status < 300


def post(
    session: requests.Session,
    url: str,
    payload: bytes,
    auth: AuthBase,
    connect: float,
    limits: Limits,
    spool: BinaryIO,
    accepted: Callable[[Exchange], object] = lambda _: None,
) -> Exchange:
    """Send ``payload`` and write a 2xx answer to ``spool`` as it comes, fsynced at its end; ``accepted`` is told when
    such an answer begins.

    Everything that can happen is in the result, ANSWER_NOT_SAVED included: the disk did not take a 2xx.
    Follows no redirect: a POST sent again elsewhere would be a second call, with the key in it.
    """
    done = Exchange()
    response = None
    with Watch(limits) as watch:
        try:
            # A file, not bytes: sent in small pieces, each with its own timeout. As bytes, all photos together would
            # have to leave within the connect timeout.
            response = session.post(
                url,
                data=io.BytesIO(payload),
                auth=auth,
                headers={
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                timeout=(connect, limits.total),
                stream=True,
                allow_redirects=False,
            )
            done.status, done.headers = response.status_code, dict(response.headers)
            if done.ok:
                accepted(done)
                _read_image(response, watch, spool)
            else:
                done.error_text = _read_error(response, watch)
        except _NotSaved as error:
            done.fault, done.reason = Code.ANSWER_NOT_SAVED, str(error)
        except _TooLong:
            done.fault, done.reason = Code.ANSWER_CUT, f"the answer is longer than {_MOST_BYTES} bytes"
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            done.fault, done.reason = _fault(watch, error), root_cause(error)
        finally:
            if response is not None:
                response.close()
        if done.ok and done.fault is not Code.ANSWER_NOT_SAVED:
            try:
                os.fsync(spool.fileno())
            except OSError as error:
                done.fault, done.reason = Code.ANSWER_NOT_SAVED, error.strerror or type(error).__name__
        done.seconds = watch.seconds
    done.stalled = watch.verdict is Verdict.STALLED
    if watch.verdict and not done.fault:  # cut, which looks like an ordinary end when HTTP gives the body no length
        done.fault = Code.TIMEOUT if watch.verdict is Verdict.LATE else Code.ANSWER_CUT
    if watch.verdict and done.fault is not Code.ANSWER_NOT_SAVED:
        done.reason = _OF_VERDICT[watch.verdict]
    return done


_OF_VERDICT = {
    Verdict.STALLED: "the line fell silent after the answer",
    Verdict.SILENT: "the line fell silent in the middle of the answer",
    Verdict.LATE: "the answer took too long",
}


def _read_image(response: requests.Response, watch: Watch, spool: BinaryIO) -> None:
    path = Path(spool.name)
    watch.headers_came(None if "Content-Length" in response.headers else lambda: _is_complete(path))

    def save(piece: bytes) -> None:
        try:
            spool.write(piece)
            spool.flush()
        except OSError as error:
            raise _NotSaved(error.strerror) from None

    _read(response, watch, save, _MOST_BYTES)


def _read_error(response: requests.Response, watch: Watch) -> str:
    """The text of an error, or as much of it as comes: the status alone says most."""
    text = bytearray()
    with contextlib.suppress(_TooLong, urllib3.exceptions.HTTPError, OSError):
        _read(response, watch, text.extend, _MOST_ERROR_BYTES)
    return text.decode("utf-8", "replace")


def _read(response: requests.Response, watch: Watch, take: Callable[[bytes], object], most: int) -> None:
    # read1 hands over what has come; read and stream would wait for a full piece, and a stalled line has none.
    while piece := response.raw.read1(_STEP, decode_content=True):
        take(piece)
        watch.bytes_came(len(piece))
        most -= len(piece)
        if most < 0:
            raise _TooLong


def _is_complete(path: Path) -> bool:
    """Is the file one whole JSON object? Looks at its end first: parsing costs.

    APIYI's advice for stalled lines adds "at least 1024 bytes". An answer with a URL is shorter than that, and a whole
    object cannot grow into another one, so its length is not asked.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_BYTES))
            if not re.search(rb"\}\s*\Z", file.read()):
                return False
        return read_body(path) is not None
    except (NotJson, OSError):
        return False


def _fault(watch: Watch, error: Exception) -> Code:
    if not watch.sent:  # the API cannot have understood a request that did not arrive whole
        return Code.CONNECT_FAILED
    if watch.verdict is Verdict.LATE:
        return Code.TIMEOUT
    chain = _chain(error)
    if watch.verdict or any(isinstance(e, IncompleteRead | http.client.IncompleteRead) for e in chain):
        return Code.ANSWER_CUT
    if any(isinstance(e, requests.ReadTimeout | ReadTimeoutError) for e in chain):
        return Code.TIMEOUT
    return Code.CONNECTION_LOST


def _chain(error: BaseException) -> list[BaseException]:
    """An error and everything it wraps, outermost first."""
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        item = queue.pop(0)
        if isinstance(item, BaseException) and not any(item is e for e in found):
            found.append(item)
            queue += [getattr(item, "reason", None), *item.args, item.__cause__, item.__context__]
    return found


def root_cause(error: BaseException) -> str:
    """What went wrong in the end: "Connection refused", rather than three layers around it."""
    for e in reversed(_chain(error)):
        if isinstance(e, OSError) and e.strerror:
            return e.strerror
    innermost = _chain(error)[-1]
    return f"{type(innermost).__name__}: {innermost}"
