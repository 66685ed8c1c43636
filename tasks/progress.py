"""Show how a run stands, as a progress artifact in the Prefect UI."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import update_progress_artifact


class Progress:
    """Display only: it is sent by a thread of its own, because a server that is away must not hold up the images."""

    def __init__(self, artifact: UUID) -> None:
        self._artifact = artifact
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="progress")
        self._sent: Future[None] | None = None

    def show(self, percent: float, text: str) -> None:
        """Left out while an earlier one is still on its way."""
        if self._sent is None or self._sent.done():
            self._sent = self._thread.submit(copy_context().run, self._send, percent, text)

    def close(self) -> None:
        """Let the last one get through, for two seconds at most: after the flow there is no client to send it with."""
        if self._sent is not None:
            wait([self._sent], timeout=2)

    def _send(self, percent: float, text: str) -> None:
        get_run_logger().info(text)
        try:
            update_progress_artifact(self._artifact, percent, text)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is the display's problem)
            get_run_logger().warning("progress could not be shown: %s", type(error).__name__)
