"""The switch that signals turn, with real signals sent to this very process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from packshot.errors import Code
from packshot.stopping import StopSwitch


def handlers() -> list[object]:
    return [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]


def test_unarmed_it_leaves_signals_alone() -> None:
    before = handlers()
    switch = StopSwitch()
    with switch.on_signals(lambda: None):
        assert handlers() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_run_a_signal_interrupts(number: signal.Signals) -> None:
    before = handlers()
    switch = StopSwitch()
    with pytest.raises(KeyboardInterrupt), switch.armed(60):
        os.kill(os.getpid(), number)
    assert handlers() == before
    assert switch.reason is None


def test_with_a_run_the_first_signal_is_a_request(capfd: pytest.CaptureFixture[str]) -> None:
    before = handlers()
    switch = StopSwitch()
    with switch.armed(0.2):
        with switch.on_signals(lambda: None):
            ours = handlers()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # somebody else puts his own in place
            with switch.on_signals():
                assert handlers() == ours
                os.kill(os.getpid(), signal.SIGTERM)
                assert switch.reason == (Code.STOP_REQUESTED, "stopped by SIGTERM")
        with pytest.raises(KeyboardInterrupt):  # the run is over, so there is nothing to wait for
            os.kill(os.getpid(), signal.SIGINT)
    assert handlers() == before
    assert capfd.readouterr().err.splitlines() == [
        "SIGTERM: no new calls; waiting up to 0 s for those in flight. Again: stop at once"
    ]
    threading.Event().wait(0.3)  # the drain time is over, but so was the run: this process goes on


def test_another_thread_does_not_touch_handlers() -> None:
    switch = StopSwitch()
    with switch.armed(60), ThreadPoolExecutor(1) as pool:
        ours = handlers()

        def look() -> list[object]:
            with switch.on_signals(lambda: None):
                return handlers()

        assert pool.submit(look).result() == ours


ENDS = """
import os, signal, sys, time
from packshot.stopping import StopSwitch

def give_up():
    os.write(1, b"given up\\n")
    if "fails" in sys.argv:
        raise OSError("no")
    if "hangs" in sys.argv:
        time.sleep(30)

switch = StopSwitch()
with switch.armed(0.1 if "drains" in sys.argv else 60), switch.on_signals(give_up):
    if "closed" in sys.argv:
        os.close(2)
    os.kill(os.getpid(), signal.SIGINT)
    if "drains" not in sys.argv:
        os.kill(os.getpid(), signal.SIGTERM)
    if "hangs" in sys.argv:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
"""


@pytest.mark.parametrize(
    ("how", "last"),
    [
        ("twice", "stopped at once: calls that were in flight are booked as unknown"),
        ("drains", "stopped at once: calls that were in flight are booked as unknown"),
        ("fails", "stopped at once (OSError): the next run settles what was in flight"),
        ("hangs", "Ctrl-C: no new calls; waiting up to 60 s for those in flight. Again: stop at once"),
        ("closed", None),
    ],
)
def test_the_end(how: str, last: str | None) -> None:
    ended = subprocess.run([sys.executable, "-c", ENDS, how], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (130, "given up\n")
    assert (ended.stderr.splitlines()[-1] if ended.stderr else None) == last
