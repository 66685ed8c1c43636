"""Tables, views and queries of real databases: every row once, values as they are, and nothing written."""

from __future__ import annotations

import math
import sqlite3
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from packshot.catalog import CatalogOptions, CatalogReader, Product, Reject
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.tables.database import cell_text
from packshot.catalog.tables.sql import PAGE, SqlSource, SqlTable
from packshot.errors import Code, ConfigError
from packshot.sandbox.ports import free_ports
from tests.catalog.catalog_files import read_all
from tests.fixtures_postgres import MakeUrl

ROWS = PAGE * 2 + 7


def run(url: str, *statements: str) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def read(url: str, table: str = "products", **options: Any) -> tuple[CatalogReader, list[Product], list[Reject]]:
    reader = CatalogReader([SqlSource(url, table)], CatalogOptions(**options))
    items = read_all(reader)
    products = [item for item in items if isinstance(item, Product)]
    return reader, products, [item for item in items if isinstance(item, Reject)]


def cells(url: str, table: str = "products", **options: Any) -> tuple[list[str], list[tuple[str, ...]]]:
    opened = SqlTable(SqlSource(url, table), CatalogOptions(**options))
    return opened.header, [record.cells for record in opened.records()]


def refused(url: str, table: str = "products", **options: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(url, table, **options)
    return caught.value


def fill(url: str, rows: int = ROWS) -> None:
    """``rows`` products whose keys come in no order, and a view of them that has no primary key."""
    values = ", ".join(f"({n * 7919 % 100003}, 'sku-{n:05}', 'Mug {n}', {n}.50)" for n in range(1, rows + 1))
    run(
        url,
        "CREATE TABLE products (id INTEGER PRIMARY KEY, sku VARCHAR(40), title VARCHAR(80), price NUMERIC(10, 2))",
        f"INSERT INTO products VALUES {values}",
        "CREATE VIEW offers AS SELECT sku, title, price FROM products WHERE price > 10",
    )


# --- every row, once ------------------------------------------------------------------------------------------
def test_a_table_by_its_primary_key(empty_url: str) -> None:
    fill(empty_url)
    reader, products, rejects = read(empty_url)
    assert not rejects
    assert (reader.name, reader.kind, reader.encoding, reader.delimiter) == ("products", "SQL", "", "")
    assert {p.product_key for p in products} == {f"sku-{n:05}" for n in range(1, ROWS + 1)}
    assert [p.record for p in products] == [p.line for p in products] == [*range(1, ROWS + 1)]
    assert [item.record for item in read_all(reader)] == [*range(1, ROWS + 1)], "a second pass"
    assert products[0].source == "products"


def test_a_view_and_a_query_by_a_key_column(empty_url: str) -> None:
    fill(empty_url)
    wanted = [f"sku-{n:05}" for n in range(10, ROWS + 1)]
    _, products, _ = read(empty_url, "offers", key_column="sku")
    assert [p.product_key for p in products] == wanted
    query = '-- ours; not theirs\nSELECT sku AS "Article no", title AS name FROM offers'
    query += " WHERE title LIKE 'Mug 1%' /* : */ ; "
    header, rows = cells(empty_url, "spring", query=query, key_column="Article no")
    assert header == ["Article no", "name"]
    assert [row[0] for row in rows] == [f"sku-{n:05}" for n in range(10, ROWS + 1) if str(n).startswith("1")]
    query = "WITH mine AS (SELECT * FROM products) SELECT id AS sku, ':x 10:30' AS title FROM mine -- the end"
    reader, products, _ = read(empty_url, "spring", query=query, key_column="sku")
    assert (reader.name, len(products), products[0].title) == ("spring", ROWS, ":x 10:30")


def test_keys_of_several_columns(empty_url: str) -> None:
    values = ", ".join(f"('m-{n // 30}', {n % 30}, 'Mug')" for n in range(ROWS))
    run(
        empty_url,
        "CREATE TABLE variants (model VARCHAR(20), number INTEGER, title VARCHAR(20), PRIMARY KEY (number, model))",
        f"INSERT INTO variants VALUES {values}",
    )
    _, rows = cells(empty_url, "variants")
    assert len(rows) == len(set(rows)) == ROWS
    assert [int(row[1]) for row in rows] == sorted(int(row[1]) for row in rows)


def test_rows_without_a_key_or_with_the_same_are_refused(empty_url: str) -> None:
    run(
        empty_url,
        "CREATE TABLE loose (sku VARCHAR(20), title VARCHAR(20), shelf VARCHAR(20))",
        "INSERT INTO loose VALUES ('1', 'Mug', 'A'), ('2', 'Cup', 'A'), (NULL, 'Jug', 'B')",
    )
    error = refused(empty_url, "loose")
    assert "has no primary key" in error.message
    assert "key_column" in error.message
    assert "Found: sku, title, shelf" in error.message
    assert "'sku', which is empty in some rows" in refused(empty_url, "loose", key_column="sku").message
    assert "by 'shelf': 'A' is there more than once" in refused(empty_url, "loose", key_column="shelf").message
    assert "'titel' (did you mean 'title'?)" in refused(empty_url, "loose", key_column="titel").message
    assert len(cells(empty_url, "loose", key_column="title")[1]) == 3


def test_rows_that_come_and_go_meanwhile(empty_url: str) -> None:
    fill(empty_url)
    table = SqlTable(SqlSource(empty_url, "products"), CatalogOptions())
    records = table.records()
    seen = [next(records).cells[0] for _ in range(PAGE)]
    run(empty_url, f"DELETE FROM products WHERE id = {seen[3]}", "INSERT INTO products VALUES (2000000, 'z', 'Z', 1)")
    rest = [record.cells[0] for record in records]
    assert len({*seen, *rest}) == len(seen) + len(rest) == ROWS + 1


def test_parents_in_another_table(empty_url: str) -> None:
    fill(empty_url, 3)
    source = SqlSource(empty_url, "offers").beside("products")
    options = CatalogOptions(query="SELECT 1 AS one", key_column="one")
    assert SqlTable(source, options).header == ["id", "sku", "title", "price"]


# --- names ----------------------------------------------------------------------------------------------------
def test_odd_names(empty_url: str) -> None:
    run(
        empty_url,
        'CREATE TABLE "Order: 100% ""new""" ("SKU" VARCHAR(9) PRIMARY KEY, "select" VARCHAR(9), " Title " VARCHAR(9))',
        "INSERT INTO \"Order: 100% \"\"new\"\"\" VALUES ('1', 'x', ' Mug ')",
    )
    header, rows = cells(empty_url, 'Order: 100% "new"')
    assert header == ["SKU", "select", "Title"]
    assert rows == [("1", "x", "Mug")]


def test_schemas_and_unknown_tables(postgres: MakeUrl) -> None:
    url = postgres()
    run(url, "CREATE SCHEMA shop", "CREATE TABLE shop.products (sku TEXT PRIMARY KEY, title TEXT)",
        "INSERT INTO shop.products VALUES ('1', 'Mug')",
        "CREATE MATERIALIZED VIEW shop.kept AS SELECT * FROM shop.products")  # fmt: skip
    assert read(url, "shop.products")[0].name == "shop-products"
    assert len(cells(url, "shop.kept", key_column="sku")[1]) == 1
    assert "no table or view 'product' - did you mean 'products'?" in refused(url, "shop.product").message
    assert "no table or view 'nothing'" in refused(url, "nothing").message


def test_columns_of_the_same_name(postgres: MakeUrl) -> None:  # SQLite calls the second one title:1
    query = "SELECT 1 AS id, 'a' AS title, 'b' AS title"
    assert "two columns of the same name: 'title'" in refused(postgres(), "x", query=query, key_column="id").message


# --- values ---------------------------------------------------------------------------------------------------
POSTGRES_VALUES = [
    ("1.10::numeric", "1.10"),
    ("1e-7::numeric", "0.0000001"),
    ("'NaN'::numeric", "NaN"),
    ("12345678901234567890::numeric", "12345678901234567890"),
    ("4006381333931::float8", "4006381333931"),
    ("0.1::float8", "0.1"),
    ("1e-7::float8", "0.0000001"),
    ("'Infinity'::float8", "inf"),
    ("9223372036854775807::bigint", "9223372036854775807"),
    ("true", "true"),
    ("false", "false"),
    ("NULL::text", ""),
    ("DATE '2026-03-01'", "2026-03-01"),
    ("'infinity'::date", "infinity"),
    ("'0044-03-15 BC'::date", "0044-03-15 BC"),
    ("TIMESTAMP '2026-03-01 10:00:00.5'", "2026-03-01T10:00:00.5"),
    ("TIMESTAMPTZ '2026-03-01 10:00:00+02'", "2026-03-01T08:00:00+00"),
    ("TIME '24:00'", "24:00:00"),
    ("INTERVAL '1 year 2 months'", "1 year 2 mons"),
    ("""'{"a": 1.10, "b": ["ü"]}'::json""", """{"a": 1.10, "b": ["ü"]}"""),
    ("'[1.10, null]'::jsonb", "[1.10, null]"),
    ("ARRAY['a.jpg', 'ü \"b\".jpg']", '["a.jpg", "ü \\"b\\".jpg"]'),
    ("ARRAY[1.10::numeric]", '["1.10"]'),
    ("'c2d29867-3d0b-d497-9191-18a9d8ee7830'::uuid", "c2d29867-3d0b-d497-9191-18a9d8ee7830"),
    ("'  padded  '::text", "padded"),
    (r"'\x4d7567'::bytea", "Mug"),
    (r"'\xff00'::bytea", ""),
    ("int4range(1, 5)", "[1, 5)"),
    ("'10.0.0.1'::inet", "10.0.0.1"),
]


def test_values_of_postgresql(postgres: MakeUrl) -> None:
    url = postgres()
    run(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET DateStyle = 'SQL, DMY'",
        f"ALTER DATABASE {url.rpartition('/')[2]} SET TimeZone = 'Asia/Shanghai'")  # fmt: skip
    columns = ", ".join(f"{value} AS c{place}" for place, (value, _) in enumerate(POSTGRES_VALUES))
    _, rows = cells(url, "x", query=f"SELECT 1 AS id, {columns}", key_column="id")
    assert list(rows[0][1:]) == [wanted for _, wanted in POSTGRES_VALUES]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", "chr(200 + n) || n"),
        ("uuid", "md5(n::text)::uuid"),
        ("timestamptz", "TIMESTAMPTZ '2026-01-01' + n * INTERVAL '1.5 hours'"),
        ("date", "DATE '2020-01-01' + n"),
        ("numeric", "n / 7.0"),
        ("float8", "n / 7.0"),
        ("bigint", "9000000000000000000 + n"),
        ("bytea", "decode(md5(n::text), 'hex')"),
        ("varchar(9)", "n::text"),
        ("char(9)", "n::text"),
        ("inet", "'10.0.0.0'::inet + n"),
    ],
)
def test_keys_of_any_type_go_on_where_they_were(postgres: MakeUrl, kind: str, value: str) -> None:
    url = postgres()
    run(url, f"CREATE TABLE products (k {kind} PRIMARY KEY, n INTEGER)",
        f"INSERT INTO products SELECT {value}, n FROM generate_series(1, {ROWS}) n")  # fmt: skip
    _, rows = cells(url)
    assert sorted(int(row[1]) for row in rows) == [*range(1, ROWS + 1)]


def test_values_of_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    values = [1, "001", 4006381333931.0, 0.1, None, b"Mug", b"\xff\xfe", "ü", 1e300, 2**63 - 1]
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE products (id INTEGER PRIMARY KEY, value)")
        connection.executemany("INSERT INTO products (value) VALUES (?)", [(value,) for value in values])
        connection.execute("INSERT INTO products (value) VALUES (CAST(x'61ff62' AS TEXT)), ('a' || char(0) || 'b')")
    connection.close()
    table = SqlTable(SqlSource(f"sqlite:///{path}", "products"), CatalogOptions())
    records = list(table.records())
    assert [record.cells[1] for record in records[:8]] == ["1", "001", "4006381333931", "0.1", "", "Mug", "", "ü"]
    assert records[8].cells[1] == str(int(1e300))
    assert records[9].cells[1] == "9223372036854775807"
    assert [record.code for record in records if isinstance(record, Unreadable)] == [Code.BAD_TEXT, Code.BAD_TEXT]
    assert table.notes == ["column 'value' holds binary data, which is left out"]


def test_keys_of_any_kind_in_one_sqlite_column(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE products (k PRIMARY KEY, n INTEGER)")
        kinds: list[Callable[[int], Any]] = [int, lambda n: n + 0.25, "t{}".format, lambda n: b"\xff%d" % n]
        connection.executemany("INSERT INTO products VALUES (?, ?)", [(kinds[n % 4](n), n) for n in range(ROWS * 2)])
    connection.close()
    _, rows = cells(f"sqlite:///{path}")
    assert sorted(int(row[1]) for row in rows) == [*range(ROWS * 2)]


@settings(max_examples=200, deadline=None)
@given(st.floats() | st.decimals() | st.binary() | st.integers() | st.booleans() | st.lists(st.text() | st.decimals()))
def test_any_value_has_a_text(value: Any) -> None:
    found = cell_text(value)
    assert found is not None or isinstance(value, bytes)
    if isinstance(value, float) and math.isfinite(value):
        assert found is not None
        assert float(found) == value
        assert "e" not in found


TEXTS = st.none() | st.text(max_size=6) | st.integers(-3, 3) | st.binary(max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), max_size=8), st.sampled_from([[], ["*"]]))
def test_whatever_a_table_holds_every_row_is_settled_once(rows: list[tuple[Any, ...]], variants_by: list[str]) -> None:
    rows = [tuple(v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in row) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        with sqlite3.connect(f"{folder}/a.db") as connection:
            connection.execute("CREATE TABLE products (id INTEGER PRIMARY KEY, sku, item_group_id, title, color)")
            connection.executemany("INSERT INTO products VALUES (NULL, ?, ?, ?, ?)", rows)
        connection.close()
        try:
            reader, _, _ = read(f"sqlite:///{folder}/a.db", variants_by=variants_by)
        except ConfigError as error:
            str(error).encode()
        else:
            assert reader.counts.records == len(rows)


# --- nothing is written ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM products",
        "DELETE FROM products RETURNING id, title",
        "SELECT 1 AS id; DELETE FROM products",
        "SELECT 1 AS id) AS x; DELETE FROM products; --",
        "WITH gone AS (DELETE FROM products RETURNING *) SELECT * FROM gone",
        "WITH x AS (SELECT 1) INSERT INTO products SELECT 99999, 'a', 'b', 1",
        "PRAGMA query_only = OFF",
        "",
    ],
)
def test_queries_that_write_are_refused(empty_url: str, query: str) -> None:
    fill(empty_url, 3)
    if query:
        assert refused(empty_url, "x", query=query, key_column="id").code is Code.CATALOG_INVALID
    assert len(cells(empty_url)[1]) == 3


def test_postgresql_itself_refuses_to_write(postgres: MakeUrl) -> None:
    url = postgres()
    fill(url, 3)
    run(url, "CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM products; RETURN 1; END'")
    assert "read-only transaction" in refused(url, "x", query="SELECT wipe() AS id", key_column="id").message
    assert len(cells(url)[1]) == 3


def test_sqlite_is_read_beside_a_writer_and_not_touched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    fill(url, 3)
    before = (tmp_path / "a.db").read_bytes()
    writer = sqlite3.connect(tmp_path / "a.db")
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM products")
    assert len(cells(url)[1]) == 3
    writer.rollback()
    writer.execute("PRAGMA journal_mode=DELETE")
    writer.close()
    assert len((tmp_path / "a.db").read_bytes()) == len(before)


# --- what goes wrong ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "does not read as a URL"),
        ("mysql://shop:geheim@db/shop", "mysql databases cannot be read"),
        ("postgresql://shop:ge@heim@db/shop", "%40"),
        ("sqlite://", "names no file"),
        ("sqlite:////nowhere/a.db", "no file '/nowhere/a.db'"),
        ("postgresql+psycopg2://shop:geheim@db/shop", "psycopg2 databases cannot be read"),
    ],
)
def test_urls_that_cannot_be_used(url: str, says: str) -> None:
    error = refused(url)
    assert error.code is Code.SETTINGS_INVALID
    assert says in error.message
    assert "PACKSHOT_CATALOG_DATABASE_URL" in error.message
    assert "geheim" not in str(error)


def test_no_message_holds_the_password(postgres: MakeUrl, tmp_path: Path) -> None:
    url = postgres()
    dead = f"postgresql://shopkeeper:geheim@127.0.0.1:{free_ports(1)[0]}/shop"
    error = refused(dead)
    assert (error.code, "cannot be reached" in error.message) == (Code.CATALOG_UNREACHABLE, True)
    unknown = refused(url.replace("postgres@", "shopkeeper:geheim@"))
    assert unknown.code is Code.CATALOG_UNREACHABLE
    broken = refused(url.replace("postgres@", "postgres:geheim@"), "x", query="SELECT geheim AS id", key_column="id")
    assert broken.code is Code.CATALOG_INVALID
    assert 'column "***" does not exist' in broken.message
    for problem in (error, unknown, broken):
        assert "geheim" not in str(problem) + repr(problem.details)
        assert "shopkeeper" not in str(problem)
    assert "geheim" not in repr(SqlSource(dead, "products"))
    (tmp_path / "a.db").write_bytes(b"no database" * 100)
    assert "not a database" in refused(f"sqlite:///{tmp_path / 'a.db'}").message


def test_a_broken_line_is_made_anew_between_two_pages(postgres: MakeUrl) -> None:
    url = postgres()
    fill(url)
    records = SqlTable(SqlSource(url, "products"), CatalogOptions()).records()
    seen = [next(records) for _ in range(PAGE)]
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert len([*seen, *records]) == ROWS


def test_no_transaction_stays_open_between_two_pages(postgres: MakeUrl) -> None:
    url = postgres()
    fill(url)
    records = SqlTable(SqlSource(url, "products"), CatalogOptions()).records()
    next(records)
    with psycopg.connect(url) as other:
        states = other.execute(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert states == [("idle",)]
    records.close()  # type: ignore[attr-defined]


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    filling = "x" * 300
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE products (id INTEGER PRIMARY KEY, sku, title, description)")
        connection.executemany(
            "INSERT INTO products VALUES (?, ?, 'Mug', ?)", ((n, f"s-{n}", f"{n}{filling}") for n in range(40_000))
        )
    connection.close()
    table = SqlTable(SqlSource(f"sqlite:///{tmp_path / 'a.db'}", "products"), CatalogOptions())
    tracemalloc.start()
    try:
        assert sum(isinstance(record, Record) for record in table.records()) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_files_take_no_query(tmp_path: Path) -> None:
    from packshot.catalog import open_catalog

    (tmp_path / "a.csv").write_text("sku,title\n1,Mug\n")
    for options in ({"query": "SELECT 1"}, {"key_column": "sku"}):
        with pytest.raises(ConfigError, match="query and key_column are for databases"):
            open_catalog(tmp_path / "a.csv", CatalogOptions(**options))
