"""The audit trail as a chain of hashes, what is kept for how long, and backups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from db.migrations.audit_chain import make_chain
from db.migrations.retention_tables import NOW, make_retention_tables

revision = "0004"
down_revision = "0003"

COVERED = (
    "event.id",
    "(extract(epoch FROM event.occurred_at) * 1000000)::bigint",
    "event.worker_id",
    "event.role",
    "event.institution_id",
    "event.action",
    "event.target",
    "event.outcome",
    "event.address",
    "event.request_id",
    "event.details",
)


def upgrade() -> None:
    """Add the request to the events, indexes for reading them, the chain, and the tables of retention and backups."""
    op.add_column("audit_events", sa.Column("request_id", sa.String(length=64), nullable=True))
    for name, columns in (
        ("audit_events_worker", ["worker_id", "id"]),
        ("audit_events_action", ["action", "id"]),
        ("audit_events_institution", ["institution_id", "id"]),
        ("audit_events_target", ["target", "id"]),
    ):
        op.create_index(name, "audit_events", columns)
    op.create_index(
        "audit_events_not_ok", "audit_events", ["outcome", "id"], postgresql_where=sa.text("outcome <> 'ok'")
    )
    op.create_index(
        "audit_events_request",
        "audit_events",
        ["request_id"],
        postgresql_where=sa.text("request_id IS NOT NULL"),
    )
    make_chain("audit_events", COVERED)
    make_retention_tables()
    op.create_table(
        "backups",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("databases", JSONB(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('completed', 'failed')", name="backups_status"),
        sa.PrimaryKeyConstraint("id"),
    )
