"""What every test may ask for."""

from __future__ import annotations

import pytest

pytest_plugins = [
    "tests.fixtures_postgres",
    "tests.fixtures_prefect",
    "tests.fixtures_browser",  # after the one that it imports
    "tests.fixtures_shop",
    "tests.fixtures_store",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that need a Prefect server come first: they last longest, and short ones fill up what is left at the end.
    xdist by itself begins with the files that have the most tests, which are the quick ones."""
    slow = {item.path for item in items if "prefect" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in slow)
