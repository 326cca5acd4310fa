"""The record of who read which patient as a chain of hashes, erased patients, and what is kept for how long."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.migrations.append_only import protect_too
from db.migrations.audit_chain import make_chain
from db.migrations.retention_tables import NOW, make_retention_tables

revision = "0004"
down_revision = "0003"

COVERED = (
    "event.id",
    "(extract(epoch FROM event.occurred_at) * 1000000)::bigint",
    "event.worker_id",
    "event.role",
    "event.action",
    "event.patient_id",
    "event.outcome",
    "event.address",
    "event.request_id",
    "event.details",
)


def upgrade() -> None:
    """Add what the events lacked, indexes for reading them, the chain, and the tables of erasure and retention."""
    op.add_column("access_events", sa.Column("role", sa.String(length=50), nullable=True))
    op.add_column(
        "access_events",
        sa.Column("outcome", sa.String(length=20), server_default=sa.text("'ok'"), nullable=False),
    )
    op.add_column("access_events", sa.Column("request_id", sa.String(length=64), nullable=True))
    op.create_check_constraint(
        "access_events_outcome", "access_events", "outcome IN ('ok', 'refused', 'failed')"
    )
    # Housekeeping acts for nobody.
    op.alter_column("access_events", "worker_id", nullable=True)
    op.create_index("access_events_worker", "access_events", ["worker_id", "id"])
    op.create_index("access_events_action", "access_events", ["action", "id"])
    op.create_index(
        "access_events_not_ok",
        "access_events",
        ["outcome", "id"],
        postgresql_where=sa.text("outcome <> 'ok'"),
    )
    op.create_index(
        "access_events_request",
        "access_events",
        ["request_id"],
        postgresql_where=sa.text("request_id IS NOT NULL"),
    )
    make_chain("access_events", COVERED)
    make_retention_tables()
    op.create_table(
        "erasures",
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("worker_name", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("patient_id"),
    )
    protect_too("erasures")
