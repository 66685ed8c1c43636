"""The studios of this process: one for each run that is at work here, however many flows share it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from packshot.errors import Code
from packshot.settings import Settings
from packshot.stopping import SWITCH
from packshot.studio import Studio

LAST_PATIENCE = 5.0  # seconds for a database that is away, when the figures are to be written down

_OPEN: dict[tuple[str, int], Studio] = {}


def is_open(settings: Settings, run_id: int) -> bool:
    """Is the run at work in this process already?"""
    return (settings.db_url, run_id) in _OPEN


@contextmanager
def open_studio(settings: Settings, run_id: int, concurrency: int) -> Iterator[Studio]:
    """The run's studio in this process: made by the first who asks, closed by the same. While it is open its claims are
    kept alive, and requests and signals to stop are heard.

    Whoever leaves with an exception stops it: calls in the air come home, but no new one is bought.
    """
    key = (settings.db_url, run_id)
    known = _OPEN.get(key)
    with SWITCH.on_signals():  # a flow has its own handler for SIGTERM, which would end the calls in the air
        if known:
            with _stopped_by_exceptions(known):
                yield known
            return
        studio = _OPEN[key] = Studio(settings, run_id, concurrency)
        try:
            with studio.pulse.watch(studio.ledger, run_id), studio.client, _stopped_by_exceptions(studio):
                yield studio
        finally:
            del _OPEN[key]
            studio.timekeeper.note(LAST_PATIENCE)


@contextmanager
def _stopped_by_exceptions(studio: Studio) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        studio.stop(Code.INTERRUPTED, f"the run was interrupted by {type(error).__name__}")
        raise
