"""No query of ours reads a large table from end to end: what the benchmark times at a million is looked at here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from benchmarks.queries import cases
from benchmarks.shop_database import Shape, fill
from packshot.db.engine import open_engine, upgrade
from tests.db.query_plans import LARGE, scans

SHAPE = Shape(5000)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('shop') / 'shop.db'}"
    else:
        url = str(request.getfixturevalue("postgres")())
    engine = open_engine(url)
    upgrade(engine)
    fill(engine, SHAPE)
    yield engine
    engine.dispose()


def as_if_large(connection: Connection) -> None:
    """PostgreSQL reads a small table from end to end because that is cheap; what it has no other way for remains."""
    if connection.dialect.name == "postgresql":
        for way in ("seqscan", "hashjoin", "mergejoin"):
            connection.execute(text(f"SET LOCAL enable_{way} = off"))


def test_every_listing_and_every_step_of_a_run_looks_up_what_it_needs(shop: Engine) -> None:
    found = {
        case.name: sorted(scans(shop, lambda case=case: case.act(0), as_if_large) - case.walks)  # type: ignore[misc]
        for case in cases(shop, SHAPE)
    }
    assert {name: tables for name, tables in found.items() if tables} == {}


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("SELECT * FROM asset_lineage WHERE title = 'x'", None),
        ("SELECT count(*) FROM attempt WHERE seconds > 3", "attempt"),
        ("SELECT id FROM asset ORDER BY created_at LIMIT 3", "asset"),
        ("SELECT id FROM asset ORDER BY id LIMIT 3", "asset in order"),
        ("UPDATE image_job SET remark = 'x' WHERE shot = 'y'", "image_job"),
        ("SELECT count(*) FROM product AS p WHERE p.brand = 'x'", "product"),
        ("SELECT count(*) FROM attempt WHERE id = 3", ""),
    ],
)
def test_a_scan_is_seen(shop: Engine, statement: str, table: str | None) -> None:
    def ask() -> None:
        with shop.connect() as connection:
            connection.execute(text(statement))

    found = scans(shop, ask, as_if_large)
    assert found if table is None else found == ({table} if table else set())


@pytest.mark.parametrize(
    "index",
    [
        "product_product_key",
        "image_job_state_code",
        "attempt_model_started_at",
        "attempt_spool_name",
        "generation_open",
    ],
)
def test_without_an_index_a_table_is_read_from_end_to_end(tmp_path: Path, index: str) -> None:
    """So each earns what it costs a write. (That of unfinished images saves a run's rows, not a table's.)"""
    engine = open_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    upgrade(engine)
    fill(engine, SHAPE)
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(text(f"DROP INDEX ix_{index}"))
    table = next(name for name in sorted(LARGE, key=len, reverse=True) if index.startswith(name))
    found = [scans(engine, lambda case=case: case.act(0)) - case.walks for case in cases(engine, SHAPE)]  # type: ignore[misc]
    engine.dispose()
    assert {table} in found
