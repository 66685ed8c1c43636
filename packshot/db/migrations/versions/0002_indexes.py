"""Indexes for a million images: what people, recovery and forecasts ask no longer reads a whole table."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_UNFINISHED = sa.text("outcome != 'archived'")
_OPEN = sa.text("archived_at IS NULL AND lost_at IS NULL")


def upgrade() -> None:
    op.create_index("ix_product_product_key", "product", ["product_key"])
    # The lease was never looked for by itself, and each sign of life wrote it into the index.
    op.drop_index("ix_image_job_state_lease", "image_job")
    op.create_index("ix_image_job_state_code", "image_job", ["state", "code", "updated_at", "id"])
    op.create_index(
        "ix_run_job_unfinished", "run_job", ["run_id", "position"], sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )  # fmt: skip
    op.create_index("ix_attempt_model_started_at", "attempt", ["model", "started_at"])
    op.create_index("ix_attempt_spool_name", "attempt", ["spool_name"])
    op.create_index("ix_generation_open", "generation", ["expires_at"], sqlite_where=_OPEN, postgresql_where=_OPEN)


def downgrade() -> None:
    op.drop_index("ix_generation_open", "generation")
    op.drop_index("ix_attempt_spool_name", "attempt")
    op.drop_index("ix_attempt_model_started_at", "attempt")
    op.drop_index("ix_run_job_unfinished", "run_job")
    op.drop_index("ix_image_job_state_code", "image_job")
    op.create_index("ix_image_job_state_lease", "image_job", ["state", "lease_until"])
    op.drop_index("ix_product_product_key", "product")
