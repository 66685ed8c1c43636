"""What a process keeps: the heaps of the C library, and the garbage of earlier runs."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import subprocess
import sys
import weakref

import pytest

from packshot.memory import ARENAS, set_aside, settle_down

# In a process of its own: what is set holds for all of it. Each thread makes its own heap if it may.
HEAPS = """
import ctypes, threading
from packshot.memory import tune_malloc
print(tune_malloc(), flush=True)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
all_there = threading.Barrier(13)
def take():
    libc.malloc(1000)
    all_there.wait()
for _ in range(12):
    threading.Thread(target=take).start()
all_there.wait()
libc.fdopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
out = libc.fdopen(1, b"w")
libc.malloc_info(0, out)
libc.fflush(ctypes.c_void_p(out))
"""


# The last piece stays, and so, of itself, does all that was freed below it.
GIVEN_BACK = """
import ctypes
from pathlib import Path
from packshot.memory import give_back
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
pieces = [libc.malloc(50_000) for _ in range(1000)]
for piece in pieces:
    libc.memset(piece, 1, 50_000)
for piece in pieces[:-1]:
    libc.free(piece)
kept = resident() - before
print(give_back(), kept > 40_000_000, resident() - before < 10_000_000)
"""


# The first large piece that is freed teaches the C library to take the next ones from the heap.
HOLES = """
import ctypes
from pathlib import Path
from packshot.memory import tune_malloc
assert tune_malloc()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
libc.free(libc.malloc(20_000_000))
before = resident()
pieces, small = [], []
for _ in range(20):
    pieces.append(libc.malloc(3_000_000))
    libc.memset(pieces[-1], 1, 3_000_000)
    small.append(libc.malloc(50_000))
for piece in pieces:
    libc.free(piece)
print(resident() - before)
"""


def heaps(**variables: str) -> tuple[str, int]:
    """(what the call answered, how many heaps a dozen threads use)."""
    env = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    done = subprocess.run(
        [sys.executable, "-c", HEAPS], env=env | variables, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[0], len(re.findall("<heap nr=", done.stdout))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not the GNU C library")
def test_threads_share_a_few_heaps_unless_the_user_says_how_many() -> None:
    assert heaps() == ("True", ARENAS)
    answer, number = heaps(MALLOC_ARENA_MAX="7")
    assert answer == "False"
    assert number > ARENAS


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not the GNU C library")
def test_what_is_large_goes_back_at_once() -> None:
    """Without it, the second round's pieces would lie in the heap, with a small one above each."""
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10_000_000


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not the GNU C library")
def test_what_was_freed_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True"]


def test_the_garbage_of_an_earlier_run_goes_before_what_stays_is_set_aside() -> None:
    class Part:
        """Refers to itself, so that only the search for garbage finds it."""

        def __init__(self) -> None:
            self.itself = self

    used, left = Part(), Part()
    traces = [weakref.ref(used), weakref.ref(left)]
    try:
        del left  # garbage already when a run begins
        settle_down()
        assert traces[1]() is None
        del used  # set aside in the run, garbage after it
        settle_down()
        assert traces[0]() is None
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


def test_what_was_set_aside_is_looked_through_again_afterwards() -> None:
    class Part:
        """Refers to itself, so that only the search for garbage finds it."""

        def __init__(self) -> None:
            self.itself = self

    part = Part()
    trace = weakref.ref(part)
    usual = gc.get_threshold()
    with set_aside(), set_aside():
        del part
        gc.collect()
        assert trace() is not None
        assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold() == usual
    gc.collect()
    assert trace() is None
