"""What the database says it would do for our queries: which large tables would it go through from end to end?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event

SMALL = frozenset({"ix_generation_open", "ix_run_job_unfinished"})
"""Indexes of what is left over: reading one of them whole is no matter."""
LARGE = frozenset(
    {"product", "image_job", "run_job", "attempt", "generation", "asset", "reject", "catalog_change"}
)  # fmt: skip
"""Tables that grow with the catalog; the others have a row for each run, day or bucket."""

Statement = tuple[str, Any]


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[Statement]]:
    """What is sent to the database in this block, with its parameters."""
    sent: list[Statement] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, _context: object, many: bool) -> None:
        if not many and statement.lstrip().upper().startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
            sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def scans(engine: Engine, act: Callable[[], object], prepare: Callable[[Connection], object] | None = None) -> set[str]:
    """The large tables that a query of ``act`` reads from end to end, and those that it walks through in the order of
    an index without a condition, as ``table in order``: with a LIMIT that ends soon. ``prepare``: the connection."""
    with statements_of(engine) as sent:
        act()
    look = _of_postgresql if engine.dialect.name == "postgresql" else _of_sqlite
    with engine.connect() as connection:
        if prepare:
            prepare(connection)
        return {found for statement, parameters in sent for found in look(connection, statement, parameters)}


def _of_sqlite(connection: Connection, statement: str, parameters: Any) -> Iterator[str]:
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    details = [str(row[-1]) for row in rows]
    sorts = any("FOR ORDER BY" in detail and "LAST" not in detail for detail in details)
    for detail in details:
        scan = re.match(r"SCAN (\w+)", detail)
        table = scan and _table(statement, scan[1])
        if table in LARGE:
            yield f"{table} in order" if "LIMIT" in statement and not sorts else str(table)


def _table(statement: str, alias: str) -> str:
    """SQLite names tables as the statement does."""
    found = re.search(rf"\b(?:FROM|JOIN)\s+(\w+)\s+AS\s+{alias}\b", statement, re.IGNORECASE)
    return found[1] if found else alias


def _of_postgresql(connection: Connection, statement: str, parameters: Any) -> Iterator[str]:
    plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    yield from _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"], limited=False)


def _nodes(node: dict[str, Any], limited: bool) -> Iterator[str]:
    """``limited``: a LIMIT is above this node, and nothing between them reads all of it first."""
    kind = node["Node Type"]
    limited = (limited or kind == "Limit") and kind not in ("Sort", "Hash", "Aggregate")
    table = node.get("Relation Name")
    small = node.get("Index Name") in SMALL
    if (
        table in LARGE
        and not small
        and "Bitmap" not in kind
        and "Scan" in kind
        and "Index Cond" not in node
        and kind != "Tid Scan"
    ):
        yield f"{table} in order" if limited and "Index" in kind else str(table)
    for child in node.get("Plans", ()):
        yield from _nodes(child, limited)
