"""Faults and minutes of requests, for the System page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0006"
down_revision = "0005"

NOW = sa.text("now()")
COUNTS = ("requests", "client_errors", "server_errors", "sign_in_failures", "predictions")


def upgrade() -> None:
    """Add what operating the product leaves behind."""
    op.create_table(
        "request_minutes",
        sa.Column("minute", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("process", sa.String(16), primary_key=True),
        *(sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False) for name in COUNTS),
        sa.Column("request_buckets", ARRAY(sa.Integer()), nullable=False),
        sa.Column("prediction_buckets", ARRAY(sa.Integer()), nullable=False),
    )
    op.create_table(
        "faults",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("reference", sa.String(16), unique=True, nullable=False),
        sa.Column("place", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(200), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=True),
        sa.Column("process", sa.String(16), nullable=False),
    )
    op.create_index("faults_time", "faults", ["occurred_at"])
