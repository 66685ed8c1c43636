"""first tables."""

import sqlalchemy as sa
from alembic import op

from packshot.db.types import UtcDateTime

revision = "0001"
down_revision = None

ASSET_LINEAGE = """
CREATE VIEW asset_lineage AS
SELECT
  asset.id AS asset_id,
  store.public_base_url || '/' || asset.key AS url,
  asset.bucket AS bucket,
  asset.key AS object_key,
  asset.sha256 AS sha256,
  asset.bytes AS bytes,
  asset.mime AS mime,
  asset.width AS width,
  asset.height AS height,
  asset.size_as_ordered AS size_as_ordered,
  asset.created_at AS created_at,
  product.catalog AS catalog,
  product.product_key AS product_key,
  product.variant_key AS variant_key,
  product.sku AS sku,
  product.title AS title,
  product.category AS category,
  image_job.id AS job_id,
  image_job.key AS job_key,
  image_job.shot AS shot,
  image_job.variant AS variant,
  image_job.model AS model,
  image_job.prompt AS prompt,
  image_job.aspect_ratio AS aspect_ratio,
  image_job.image_size AS image_size,
  image_job.remark AS remark,
  image_job.template_hash AS template_hash,
  image_job.template_version AS template_version,
  attempt.id AS attempt_id,
  attempt.number AS attempt_number,
  attempt.cost_micro AS cost_micro,
  attempt.request_ids AS request_ids,
  attempt.seconds AS seconds,
  attempt.run_id AS run_id,
  run.flow_run_id AS flow_run_id
FROM asset
JOIN store ON store.bucket = asset.bucket
JOIN image_job ON image_job.id = asset.job_id
JOIN product ON product.id = image_job.product_id
JOIN attempt ON attempt.id = asset.attempt_id
JOIN run ON run.id = attempt.run_id
WHERE asset.replaced_at IS NULL
"""


def upgrade() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("catalog", sa.String(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("flow_run_id", sa.String(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=True),
        sa.Column("stop_requested_at", UtcDateTime(), nullable=True),
        sa.Column("stop_code", sa.String(), nullable=True),
        sa.Column("stop_message", sa.Text(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("blank", sa.Integer(), nullable=False),
        sa.Column("continuation", sa.Integer(), nullable=False),
        sa.Column("products_new", sa.Integer(), nullable=False),
        sa.Column("products_changed", sa.Integer(), nullable=False),
        sa.Column("products_same", sa.Integer(), nullable=False),
        sa.Column("products_refused", sa.Integer(), nullable=True),
        sa.Column("products_gone", sa.Integer(), nullable=True),
        sa.Column("gone_unknown", sa.Text(), nullable=False),
        sa.Column("reading", sa.String(length=16), nullable=True),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("already", sa.Integer(), nullable=False),
        sa.Column("archived", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("spent_micro", sa.BigInteger(), nullable=False),
        sa.Column("max_cost_micro", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_run_catalog", "run", ["catalog"])
    op.create_index("ix_run_flow_run_id", "run", ["flow_run_id"])

    op.create_table(
        "store",
        sa.Column("bucket", sa.String(), nullable=False),
        sa.Column("endpoint_url", sa.String(), nullable=False),
        sa.Column("public_base_url", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("bucket"),
    )
    op.create_table(
        "product",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("catalog", sa.String(), nullable=False),
        sa.Column("product_key", sa.String(), nullable=False),
        sa.Column("variant_key", sa.String(), nullable=False),
        sa.Column("sku", sa.String(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("brand", sa.String(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("image_refs", sa.JSON(), nullable=False),
        sa.Column("picture", sa.JSON(), nullable=False),
        sa.Column("first_run_id", sa.Integer(), nullable=False),
        sa.Column("last_run_id", sa.Integer(), nullable=False),
        sa.Column("gone_run_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["first_run_id"],
            ["run.id"],
        ),
        sa.ForeignKeyConstraint(
            ["last_run_id"],
            ["run.id"],
        ),
        sa.ForeignKeyConstraint(
            ["gone_run_id"],
            ["run.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("catalog", "product_key", "variant_key"),
    )
    op.create_index("ix_product_sku", "product", ["sku"])
    op.create_table(
        "catalog_change",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.Integer(), nullable=False),
        sa.Column("change", sa.String(length=16), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["run.id"],
        ),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["product.id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "product_id"),
    )
    op.create_index("ix_catalog_change_product_id", "catalog_change", ["product_id"])

    op.create_table(
        "reject",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("record", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["run.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_reject_run_id", "reject", ["run_id"])

    op.create_table(
        "image_job",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("product_id", sa.Integer(), nullable=False),
        sa.Column("shot", sa.String(), nullable=False),
        sa.Column("variant", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("aspect_ratio", sa.String(), nullable=False),
        sa.Column("image_size", sa.String(), nullable=False),
        sa.Column("reference_photos", sa.JSON(), nullable=False),
        sa.Column("shot_list_hash", sa.String(), nullable=False),
        sa.Column("template_hash", sa.String(length=12), nullable=False),
        sa.Column("template_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("remark", sa.Text(), nullable=False),
        sa.Column("claimed_by", sa.String(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("retry_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "state in ('planned', 'claimed', 'calling', 'generated', 'archived', 'failed', 'held')",
            name="image_job_state",
        ),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["product.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("ix_image_job_product_id", "image_job", ["product_id"])
    op.create_index("ix_image_job_state_lease", "image_job", ["state", "lease_until"])

    op.create_table(
        "attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("wire_format", sa.String(), nullable=False),
        sa.Column("price_micro", sa.Integer(), nullable=False),
        sa.Column("spool_name", sa.String(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("billed", sa.String(), nullable=False),
        sa.Column("cost_micro", sa.Integer(), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("request_ids", sa.JSON(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.Column("reconciled_at", UtcDateTime(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("excerpt", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["image_job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["run.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_attempt_job_id", "attempt", ["job_id"])
    op.create_index("ix_attempt_run_id", "attempt", ["run_id"])

    op.create_table(
        "run_job",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("code", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["image_job.id"],
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["run.id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "job_id"),
        sa.UniqueConstraint("run_id", "position"),
    )
    op.create_index("ix_run_job_job_id", "run_job", ["job_id"])

    op.create_table(
        "daily_spend",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("spent_micro", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day"),
    )

    op.create_table(
        "asset",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.String(), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("mime", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size_as_ordered", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("replaced_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["attempt_id"],
            ["attempt.id"],
        ),
        sa.ForeignKeyConstraint(
            ["bucket"],
            ["store.bucket"],
        ),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["image_job.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("attempt_id"),
    )
    op.create_index("ix_asset_job_id", "asset", ["job_id"])
    current = sa.text("replaced_at IS NULL")
    op.create_index(
        "ix_asset_current", "asset", ["job_id"], unique=True, sqlite_where=current, postgresql_where=current
    )
    op.create_index("ix_asset_sha256", "asset", ["sha256"])

    op.create_table(
        "generation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("spool_name", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("archived_at", UtcDateTime(), nullable=True),
        sa.Column("archive_tries", sa.Integer(), nullable=False),
        sa.Column("lost_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["attempt_id"],
            ["attempt.id"],
        ),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["image_job.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("attempt_id"),
    )
    op.create_index("ix_generation_job_id", "generation", ["job_id"])

    op.execute(ASSET_LINEAGE)


def downgrade() -> None:
    op.execute("DROP VIEW asset_lineage")
    for table in (
        "generation",
        "asset",
        "daily_spend",
        "run_job",
        "attempt",
        "image_job",
        "reject",
        "catalog_change",
        "product",
        "store",
        "run",
    ):
        op.drop_table(table)
