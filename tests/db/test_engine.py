"""Opening a database, its tables, and every way in which that can go wrong."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from packshot.db.engine import BUSY_TIMEOUT, check_revision, current_revision, head_revision, open_engine, upgrade
from packshot.db.tables import Run
from packshot.errors import Code, ConfigError
from packshot.run import ready_engine
from packshot.settings import Settings
from tests.db import racers
from tests.db.ledger_cases import START

SECRET = "hunter2"


def fails(url: str) -> ConfigError:
    with pytest.raises(ConfigError) as failure:
        check_revision(open_engine(url))
    assert SECRET not in str(failure.value)
    return failure.value


# --- tables ---------------------------------------------------------------------------------------------------
def test_the_migrations_make_exactly_the_tables_of_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
        checks = inspect(connection).get_check_constraints("image_job")
    assert [check["name"] for check in checks] == ["image_job_state"]


def test_upgrading_twice_changes_nothing(empty_url: str) -> None:
    engine = open_engine(empty_url)
    assert current_revision(engine) is None
    assert upgrade(engine) == head_revision()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO store VALUES ('b', '', '')"))
    assert upgrade(engine) == current_revision(engine) == head_revision()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM store")).scalar() == 1
    engine.dispose()


def test_several_processes_may_upgrade_at_once(empty_url: str) -> None:
    assert racers.race(racers.migrate, empty_url, [None] * 3) == [head_revision()] * 3
    engine = open_engine(empty_url)
    check_revision(engine)
    engine.dispose()


def test_an_empty_database_gets_its_tables_and_an_outdated_one_is_left_to_a_person(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path / "deep" / "home")
    engine = ready_engine(settings)
    check_revision(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0000')"))
    with pytest.raises(ConfigError) as failure:
        ready_engine(settings)
    assert failure.value.code is Code.DATABASE_NEWER, "a revision nobody here knows"
    assert current_revision(engine) == "0000"


def test_the_revision_is_checked(empty_url: str) -> None:
    engine = open_engine(empty_url)
    with pytest.raises(ConfigError, match=f"revision none, this version needs {head_revision()}") as failure:
        check_revision(engine)
    assert failure.value.code is Code.DATABASE_OUTDATED
    assert "packshot db upgrade" in str(failure.value)
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for act in (check_revision, upgrade):
        with pytest.raises(ConfigError, match=f"revision 9999, this version knows only {head_revision()}") as failure:
            act(engine)
        assert failure.value.code is Code.DATABASE_NEWER
    engine.dispose()


def test_a_downgrade_leaves_nothing_behind(empty_url: str) -> None:
    from alembic import command

    from packshot.db.engine import _alembic

    engine = open_engine(empty_url)
    upgrade(engine)
    with engine.execution_options(write=True).begin() as connection:
        command.downgrade(_alembic(connection), "base")
    assert set(inspect(engine).get_table_names() + inspect(engine).get_view_names()) == {"alembic_version"}
    upgrade(engine)
    engine.dispose()


def test_the_states_of_a_job_are_checked_by_the_database(engine: Engine) -> None:
    with pytest.raises(IntegrityError, match="image_job_state"), engine.begin() as connection:
        _bare_job(connection, state="drawn")


def test_foreign_keys_are_enforced(engine: Engine) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), engine.begin() as connection:
        _bare_job(connection, product_id=77)


def _bare_job(connection: Any, **values: Any) -> None:
    run = SQLModel.metadata.tables["run"]
    row = Run(catalog="c", source="s", started_at=START).model_dump(exclude={"id"})
    run_id = connection.execute(run.insert().values(row)).inserted_primary_key[0]
    product = {
        "catalog": "c", "product_key": "p", "variant_key": "", "title": "", "category": "", "brand": "",
        "attributes": {}, "image_refs": [], "first_run_id": run_id, "last_run_id": run_id,
    }  # fmt: skip
    product_id = connection.execute(SQLModel.metadata.tables["product"].insert().values(product)).inserted_primary_key[
        0
    ]
    job = {
        "key": "k", "product_id": product_id, "shot": "s", "variant": 1, "model": "m", "prompt": "p",
        "aspect_ratio": "1:1", "image_size": "1K", "reference_photos": [], "shot_list_hash": "h", "template_hash": "t",
        "template_version": 1, "state": "planned", "message": "", "remark": "", "created_at": START,
        "updated_at": START,
    }  # fmt: skip
    connection.execute(SQLModel.metadata.tables["image_job"].insert().values(job | values))


# --- SQLite ---------------------------------------------------------------------------------------------------
def test_every_sqlite_connection_is_prepared(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a' / 'b' / 'x.db'}")
    with engine.connect() as one, engine.connect() as two:
        for connection in (one, two):
            values = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": BUSY_TIMEOUT * 1000}
            assert values == expected
    engine.dispose()


def test_a_writer_takes_the_lock_when_it_begins_and_readers_go_on(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    upgrade(engine)
    other = sqlite3.connect(tmp_path / "x.db", timeout=0)
    with engine.execution_options(write=True).begin():
        assert other.execute("SELECT count(*) FROM run").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    with engine.connect() as connection:
        connection.execute(text("SELECT count(*) FROM run"))
        other.execute("BEGIN IMMEDIATE")  # a reader does not hold it
    other.close()
    engine.dispose()


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    upgrade(engine)
    began, order = threading.Event(), []

    def second() -> None:
        began.wait(10)
        with engine.execution_options(write=True).begin():
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with engine.execution_options(write=True).begin():
        began.set()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    engine.dispose()


# --- what cannot work -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "does not read as a URL"),
        (f"postgresql://u:{SECRET}@h:port/db", "does not read as a URL"),
        (f"postgresql://u:pass@{SECRET}@127.0.0.1:1/db", "%40"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        (f"mysql://u:{SECRET}@h/db", "no support for mysql"),
        (f"postgresql+asyncpg://u:{SECRET}@h/db", r"no support for postgresql\+asyncpg"),
        ("sqlite+aiosqlite:///x.db", "no support for sqlite"),
        (f"postgresql://u:{SECRET}@127.0.0.1:1/db", "cannot be reached: .*127.0.0.1"),
        (f"postgresql://u:{SECRET}@127.0.0.1/db?nonsense=1", "cannot be reached: .*nonsense"),
    ],
)
def test_an_unusable_url_is_one_clear_error_without_its_password(url: str, says: str) -> None:
    error = fails(url)
    assert error.code is Code.SETTINGS_INVALID
    with pytest.raises(ConfigError, match=says):
        raise error


def test_a_file_that_is_no_database_or_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one " * 50)
    assert "file is not a database" in fails(f"sqlite:///{tmp_path / 'text.db'}").message
    assert "unable to open" in fails(f"sqlite:///{tmp_path}").message
    assert "cannot be made" in fails(f"sqlite:///{tmp_path / 'text.db' / 'x' / 'y.db'}").message


def test_postgres_urls_are_understood_in_every_spelling(postgres: Any) -> None:
    url = postgres(tables=True)
    for scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        engine = open_engine(url.replace("postgresql", scheme, 1))
        check_revision(engine)
        engine.dispose()


def test_a_missing_postgres_database_is_named(postgres: Any) -> None:
    assert 'database "nowhere" does not exist' in fails(postgres().rpartition("/")[0] + "/nowhere").message
