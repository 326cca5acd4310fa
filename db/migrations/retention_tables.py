"""The tables of retention, the same in the central database and in each Site's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

NOW = sa.text("now()")


def make_retention_tables() -> None:
    """Make the settings and the jobs."""
    op.create_table(
        "retention_settings",
        sa.Column("id", sa.Integer(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("days", JSONB(), nullable=False),
        sa.Column("daily", sa.Boolean(), nullable=False),
        sa.Column("changed_by", sa.Integer(), nullable=False),
        sa.Column("changed_by_name", sa.String(length=255), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.CheckConstraint("id = 1", name="retention_settings_single_row"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "retention_jobs",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=10), server_default=sa.text("'running'"), nullable=False),
        sa.Column("requested_by", sa.Integer(), nullable=True),
        sa.Column("requested_by_name", sa.String(length=255), nullable=True),
        sa.Column("days", JSONB(), nullable=False),
        sa.Column("deleted", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("archive", sa.String(length=255), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('running', 'completed', 'failed')", name="retention_jobs_status"),
        sa.PrimaryKeyConstraint("id"),
    )
