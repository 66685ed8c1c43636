"""Show how a run stands, as a progress artifact in the Prefect UI."""

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import update_progress_artifact

from packshot.run_sheet import read_ahead
from packshot.studio import Studio

EVERY = 5.0  # seconds


class Progress:
    """Display only: a thread of its own looks and sends, because a server that is away must not hold up the images."""

    def __init__(self, artifact: UUID, studio: Studio) -> None:
        self._artifact = artifact
        self._studio = studio
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="progress")
        self._shown = time.monotonic()
        self._sent: Future[None] | None = None
        studio.standing()  # the pace is measured from here

    def look(self) -> None:
        """Show how the run stands now, at most every few seconds, and not while the last news is still on its way."""
        if time.monotonic() - self._shown > EVERY and (self._sent is None or self._sent.done()):
            self._shown = time.monotonic()
            self._sent = self._thread.submit(copy_context().run, self._send)

    def close(self) -> None:
        """Let the last one get through, for two seconds at most: after the flow there is no client to send it with."""
        if self._sent is not None:
            wait([self._sent], timeout=2)
        self._thread.shutdown(wait=False)

    def _send(self) -> None:
        try:
            self._studio.timekeeper.note()
            standing = self._studio.standing()
            get_run_logger().info(standing.text)
            update_progress_artifact(self._artifact, standing.percent, standing.text)
            if self._studio.run_id is not None:
                read_ahead(self._studio.store, self._studio.ledger.engine, self._studio.run_id, self._studio.thumbnails)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is the display's problem)
            get_run_logger().warning("progress could not be shown: %s", type(error).__name__)
