"""No query of ours reads a large table from end to end: what the benchmark times at a million is looked at here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, text

from benchmarks.queries import cases
from benchmarks.shop_database import Shape, fill
from packshot.db.engine import open_engine, upgrade
from tests.db.query_plans import scans

SHAPE = Shape(5000)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('shop') / 'shop.db'}"
    else:
        url = str(request.getfixturevalue("postgres")())
    engine = open_engine(url)
    upgrade(engine)
    fill(engine, SHAPE)
    return engine


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


def test_each_of_our_own_indexes_is_what_some_query_needs(shop: Engine) -> None:
    """Without it a table is read from end to end, so it earns what it costs a write."""
    if shop.dialect.name != "sqlite":
        pytest.skip("one database is enough: the conditions are the same")
    ours = ("product_product_key", "image_job_state_code", "run_job_unfinished", "attempt_model_started_at",
            "attempt_spool_name", "generation_open")  # fmt: skip
    asked: dict[str, Callable[[int], object]] = {case.name: case.act for case in cases(shop, SHAPE)}
    for index in ours:
        with shop.execution_options(write=True).begin() as connection:
            made = connection.execute(
                text("SELECT sql FROM sqlite_master WHERE name = :n"), {"n": f"ix_{index}"}
            ).scalar_one()
            connection.execute(text(f"DROP INDEX ix_{index}"))
        worse = [name for name, act in asked.items() if scans(shop, lambda act=act: act(0))]  # type: ignore[misc]
        with shop.execution_options(write=True).begin() as connection:
            connection.execute(text(made))
        assert worse, index
