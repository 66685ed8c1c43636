"""A few seconds of broken files in every format; ``python -m tests.catalog.fuzz`` goes on for as long as you like."""

from __future__ import annotations

import random
from pathlib import Path

from tests.catalog.fuzz import SEEDS, check, fuzz_plainly


def test_every_seed_is_read(tmp_path: Path) -> None:
    for content in SEEDS.values():
        check(content, tmp_path)


def test_no_damage_crashes_a_reader(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    assert fuzz_plainly(4, work, seed=random.randrange(1 << 30)) > 20
