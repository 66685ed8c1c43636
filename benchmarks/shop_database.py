"""A shop's asset database of any size, made by a few statements in the database itself.

Images n = 1, 2, ... of as many products; a run for every tenth of them, the last of which is going on. What is put in
follows from n, so two databases of one size are equal, and whoever asks knows which values there are.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NIGHTS = 300
"""Small runs beside the large ones."""
IN_WORK = 100
"""Images of the running run that are claimed, calling, or received."""
OTHER_MACHINE = "0123456789ab:77:1"


@dataclass(frozen=True, slots=True)
class Shape:
    """Which numbers mean what. ``assets``: images that the finished runs have made, about."""

    assets: int

    @property
    def run_size(self) -> int:
        return self.assets // 10

    @property
    def jobs(self) -> int:
        return self.assets + self.run_size

    @property
    def running(self) -> int:
        """The id of the run that is going on."""
        return 11 + NIGHTS

    @property
    def now(self) -> datetime:
        """Ten images a minute were made until now."""
        return BEGAN + timedelta(seconds=6 * self.jobs)

    @property
    def first_planned(self) -> int:
        """The first image of the running run that nobody has taken up yet."""
        return self.assets + self.run_size // 2 + IN_WORK + 1


_HELPERS = """
CREATE FUNCTION pg_temp.hash(what text) RETURNS text STABLE LANGUAGE sql AS
  $$ SELECT encode(sha256(what::bytea), 'hex') $$;
CREATE FUNCTION pg_temp.moment(seconds bigint) RETURNS timestamptz STABLE LANGUAGE sql AS
  $$ SELECT timestamptz '2026-01-01 00:00:00+00' + seconds * interval '1 second' $$;
CREATE FUNCTION pg_temp.pad(number bigint) RETURNS text STABLE LANGUAGE sql AS
  $$ SELECT lpad(number::text, 7, '0') $$;
"""

_SERIES = {
    "postgresql": "CREATE TEMP TABLE number AS SELECT n FROM generate_series(1, {jobs}) AS n",
    "sqlite": """CREATE TEMP TABLE number AS
WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {jobs}) SELECT n FROM series""",
}

# ``standing``: what each image came to. A fifth of a percent of each finished run is held, as much failed; the last
# images of the running one lack a photo.
_STANDING = """
CREATE TEMP TABLE standing AS
SELECT n, (n - 1) / {run_size} AS block, (n - 1) % {run_size} AS place,
  CASE
    WHEN n % 500 = 0 AND n <= {assets} THEN 'held'
    WHEN n % 500 = 250 AND n <= {assets} THEN 'failed'
    WHEN n > {jobs} - 20 THEN 'held'
    WHEN n < {first_planned} - {in_work} THEN 'archived'
    WHEN n < {first_planned} - {in_work} + 5 THEN 'claimed'
    WHEN n < {first_planned} - 5 THEN 'calling'
    WHEN n < {first_planned} THEN 'generated'
    ELSE 'planned'
  END AS state,
  CASE
    WHEN n % 500 = 0 AND n <= {assets} THEN CASE WHEN n % 1000 = 0 THEN 'wrong_size' ELSE 'spool_missing' END
    WHEN n > {jobs} - 20 THEN 'reference_unavailable'
    WHEN n % 5000 = 250 AND n <= {assets} THEN 'skipped'
    WHEN n % 500 = 250 AND n <= {assets} THEN 'moderation_blocked'
  END AS code
FROM number
"""

_STATEMENTS = (
    """
INSERT INTO store VALUES ('shop', 'https://s3.example.com', 'https://cdn.example.com/shop')
""",
    """
INSERT INTO run (id, catalog, source, parameters, flow_run_id, state, message, worker, stop_message, started_at,
  ended_at, records, accepted, rejected, blank, continuation, products_new, products_changed, products_same,
  gone_unknown, planned, already, archived, failed, held, calls, spent_micro)
SELECT n, CASE WHEN n % 10 = 0 THEN 'outlet' ELSE 'shop' END, 'catalog.csv', '{{}}', {f}hash('run ' || n),
  CASE WHEN n = {running} THEN 'running' ELSE 'completed' END, '', '{worker}', '', {f}moment(n * 3600),
  CASE WHEN n <> {running} THEN {f}moment(n * 3600 + 3000) END, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, 0, 0, 0, 0, 0, 0
FROM number WHERE n <= {running}
""",
    """
INSERT INTO product (id, catalog, product_key, variant_key, sku, title, category, brand, attributes, image_refs,
  picture, first_run_id, last_run_id)
SELECT n, CASE WHEN n % 10 = 0 THEN 'outlet' ELSE 'shop' END, 'product-' || {f}pad(n), '', 'SKU-' || {f}pad(n / 3),
  'Stoneware mug no ' || n || ', handmade, with a wide handle', 'Home > Kitchen > Cups', 'Acme & Søn',
  '{{"color": "blue", "material": "stoneware", "size": "0.4 l", "weight": "350 g", "care": "dishwasher"}}',
  ('["https://cdn.example.com/p/' || n || '.jpg"]'){json},
  ('{{"title": "' || substr({f}hash('t' || n), 1, 16) || '", "photos": ["' || {f}hash('p' || n) || '"]}}'){json},
  1 + block, 1 + block
FROM standing
""",
    """
INSERT INTO reject (run_id, source, record, line, key, code, message)
SELECT 1 + n % {running}, 'catalog.csv', place, place + 1, 'product-' || {f}pad(n), 'missing_title', 'there is no title'
FROM standing WHERE n % 100 = 3
""",
    """
INSERT INTO image_job (id, key, product_id, shot, variant, model, prompt, aspect_ratio, image_size, reference_photos,
  shot_list_hash, template_hash, template_version, state, code, message, remark, claimed_by, lease_until, created_at,
  updated_at)
SELECT n, {f}hash('job ' || n), n, CASE n % 3 WHEN 0 THEN 'packshot' WHEN 1 THEN 'lifestyle' ELSE 'detail' END, 1,
  'nano-banana-pro', 'Stoneware mug no ' || n || '. ' || '{prompt}', '1:1', '2K',
  ('[{{"source": "https://cdn.example.com/p/' || n || '.jpg", "mime": "image/jpeg", "sha256": "' || {f}hash('p' || n)
    || '"}}]'){json},
  '{hash}', '0123456789ab', 1, state, code, '', '',
  CASE WHEN state IN ('claimed', 'calling', 'generated') THEN '{worker}:' || n END,
  CASE WHEN state IN ('claimed', 'calling', 'generated') THEN {f}moment(6 * {jobs} + 300) END,
  {f}moment(6 * n), {f}moment(6 * n + 30)
FROM standing
""",
    """
INSERT INTO run_job (run_id, job_id, position, outcome, code)
SELECT CASE block WHEN 10 THEN {running} ELSE block + 1 END, n, place,
  CASE WHEN block < 10 THEN state END, CASE WHEN block < 10 THEN code END
FROM standing
""",
    """
INSERT INTO run_job (run_id, job_id, position, outcome, code)
SELECT 11 + (n / 500) % {nights}, n, n / 500, state, code FROM standing
WHERE state = 'held' AND n <= {assets}
""",
    """
INSERT INTO attempt (id, job_id, run_id, number, model, wire_format, price_micro, spool_name, started_at, settled_at,
  code, billed, cost_micro, http_status, request_ids, seconds, in_flight, message, excerpt)
SELECT n, n, CASE block WHEN 10 THEN {running} ELSE block + 1 END, 1, 'nano-banana-pro', 'images', 90000,
  'call-{spool}-' || substr({f}hash('claim ' || n), 1, 12), {f}moment(6 * n),
  CASE WHEN state <> 'calling' THEN {f}moment(6 * n + 25) END, CASE WHEN state = 'failed' THEN 'moderation_blocked' END,
  CASE WHEN state IN ('calling', 'failed') THEN 'unknown' ELSE 'yes' END, 90000, 200,
  ('{{"x-request-id": "' || substr({f}hash('request ' || n), 1, 32) || '"}}'){json}, 22.5, 50, '', ''
FROM standing WHERE state NOT IN ('planned', 'claimed') AND n <= {jobs} - 20
""",
    # One call in fifty was refused before the one that counts; one in a thousand was billed and brought nothing.
    """
INSERT INTO attempt (id, job_id, run_id, number, model, wire_format, price_micro, spool_name, started_at, settled_at,
  code, billed, cost_micro, http_status, request_ids, seconds, in_flight, message, excerpt)
SELECT {jobs} + n, n, CASE block WHEN 10 THEN {running} ELSE block + 1 END, 1, 'nano-banana-pro', 'images', 90000,
  'call-{spool}-' || substr({f}hash('first claim ' || n), 1, 12), {f}moment(6 * n - 60), {f}moment(6 * n - 59),
  CASE WHEN n % 1000 = 7 THEN 'no_image' ELSE 'rate_limited' END, CASE WHEN n % 1000 = 7 THEN 'yes' ELSE 'no' END,
  CASE WHEN n % 1000 = 7 THEN 90000 ELSE 0 END, 429, '{{}}', 0.4, 50, '', ''
FROM standing WHERE n % 50 = 7 AND state NOT IN ('planned', 'claimed') AND n <= {jobs} - 20
""",
    """
INSERT INTO generation (id, job_id, attempt_id, url, expires_at, spool_name, created_at, archived_at, archive_tries)
SELECT n, n, n, 'https://oss.example.com/' || {f}hash('image ' || n) || '.png', {f}moment(6 * n + 30000), '',
  {f}moment(6 * n + 25), CASE WHEN state = 'archived' OR code = 'wrong_size' THEN {f}moment(6 * n + 28) END, 0
FROM standing WHERE state IN ('archived', 'held', 'generated') AND n <= {jobs} - 20
""",
    """
INSERT INTO asset (id, job_id, attempt_id, bucket, key, sha256, bytes, mime, width, height, size_as_ordered,
  created_at)
SELECT n, n, n, 'shop',
  'pub/shop/product-' || {f}pad(n) || '/packshot/' || substr({f}hash('image ' || n), 1, 16) || '.png',
  {f}hash('image ' || n), 4000000 + n, 'image/png', 2048, 2048, code IS NULL, {f}moment(6 * n + 28)
FROM standing WHERE state = 'archived' OR code = 'wrong_size'
""",
)

_SETTLED = "Soft daylight from the left, a plain warm background, no text, no hands, the whole product in the picture. "


def fill(engine: Engine, shape: Shape) -> None:
    """Put all of it into a database that has our tables and nothing in them."""
    postgresql = engine.dialect.name == "postgresql"
    values: dict[str, Any] = {
        "f": "pg_temp." if postgresql else "", "json": "::json" if postgresql else "",
        "jobs": shape.jobs, "assets": shape.assets, "nights": NIGHTS,
        "run_size": shape.run_size, "running": shape.running, "first_planned": shape.first_planned,
        "in_work": IN_WORK, "worker": OTHER_MACHINE, "spool": OTHER_MACHINE.replace(":", "-"),
        "prompt": _SETTLED * 7, "hash": hashlib.sha256(b"shots").hexdigest(),
    }  # fmt: skip
    with engine.execution_options(write=True).connect() as connection:
        if postgresql:
            connection.exec_driver_sql("SET session_replication_role = replica")  # no look-up of foreign keys
            connection.exec_driver_sql(_HELPERS)
        else:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            connection.rollback()
            _prepare(raw)
        for statement in (_SERIES[engine.dialect.name], _STANDING, *_STATEMENTS):
            sql = statement.format(**values)
            connection.exec_driver_sql(sql.replace("%", "%%") if postgresql else sql)
            connection.commit()
        if postgresql:
            for table in ("run", "product", "image_job", "attempt", "generation", "asset"):
                connection.exec_driver_sql(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))")
            connection.commit()
        connection.invalidate()  # nobody else gets these settings
    if postgresql:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")  # as the server does by itself within a minute


def _prepare(raw: sqlite3.Connection) -> None:
    raw.execute("PRAGMA cache_size = -1000000")
    raw.execute("PRAGMA synchronous = OFF")
    raw.execute("PRAGMA foreign_keys = OFF")
    raw.create_function("hash", 1, lambda what: hashlib.sha256(what.encode()).hexdigest(), deterministic=True)
    raw.create_function("pad", 1, lambda number: f"{number:07}", deterministic=True)
    raw.create_function(
        "moment", 1,
        lambda seconds: f"{(BEGAN + timedelta(seconds=seconds)).replace(tzinfo=None)}.000000",
        deterministic=True,
    )  # fmt: skip
