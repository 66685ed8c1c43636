"""What every test may ask for."""

from __future__ import annotations

pytest_plugins = [
    "tests.fixtures_postgres",
    "tests.fixtures_prefect",
    "tests.fixtures_browser",  # after the one that it imports
    "tests.fixtures_shop",
    "tests.fixtures_store",
]
