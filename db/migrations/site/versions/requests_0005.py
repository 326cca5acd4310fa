"""Answers that are kept for requests that are sent twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table of idempotency keys."""
    op.create_table(
        "idempotency_keys",
        sa.Column("worker_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("attempt", sa.Uuid(), nullable=False),
        sa.Column("route", sa.String(100), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", JSONB(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=True),
    )
    op.create_index("idempotency_keys_created_at", "idempotency_keys", ["created_at"])
