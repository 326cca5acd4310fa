"""Whether the institution takes part, its approvals of Runs, and what the shadow version predicted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"

NOW = sa.text("now()")


def upgrade() -> None:
    """Add the three tables."""
    op.create_table(
        "shadow_predictions",
        sa.Column("prediction_id", sa.Uuid(), nullable=False),
        sa.Column("model_version", sa.String(length=50), nullable=False),
        sa.Column("predicted_cost", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.ForeignKeyConstraint(["prediction_id"], ["predictions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("prediction_id"),
    )
    op.create_table(
        "participation",
        sa.Column("id", sa.Integer(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("consent", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("changed_by", sa.Integer(), nullable=False),
        sa.Column("changed_by_name", sa.String(length=255), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.CheckConstraint("id = 1", name="participation_single_row"),
        sa.CheckConstraint("consent IN ('open', 'paused', 'approval')", name="participation_consent"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "run_approvals",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("settings_sha256", sa.String(length=64), nullable=False),
        sa.Column("settings", JSONB(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("decision", sa.String(length=10), server_default=sa.text("'waiting'"), nullable=False),
        sa.Column("decided_by", sa.Integer(), nullable=True),
        sa.Column("decided_by_name", sa.String(length=255), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("decision IN ('waiting', 'approved', 'refused')", name="run_approvals_decision"),
        sa.CheckConstraint(
            "(decision = 'waiting') = (decided_at IS NULL)", name="run_approvals_decided_has_time"
        ),
        sa.PrimaryKeyConstraint("run_id"),
    )
