"""The tables of a site database, with trigram search over patients' names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from db.migrations.append_only import make_append_only

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table, constraint, index and trigger."""
    op.execute("CREATE EXTENSION pg_trgm")
    op.create_table(
        "access_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=True),
        sa.Column("details", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("access_events_time", "access_events", ["occurred_at"])
    op.create_table(
        "patients",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("first_name", sa.String(length=255), nullable=False),
        sa.Column("last_name", sa.String(length=255), nullable=False),
        sa.Column("age", sa.Integer(), nullable=False),
        sa.Column("sex", sa.String(length=10), nullable=False),
        sa.Column("bmi", sa.Numeric(precision=6, scale=3), nullable=False),
        sa.Column("children", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("smoker", sa.String(length=3), server_default="no", nullable=False),
        sa.Column("region", sa.String(length=50), nullable=False),
        sa.Column("insurance_cost", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("row_version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "region IN ('northeast', 'northwest', 'southeast', 'southwest')", name="patients_region"
        ),
        sa.CheckConstraint("sex IN ('female', 'male')", name="patients_sex"),
        sa.CheckConstraint("smoker IN ('yes', 'no')", name="patients_smoker"),
        sa.CheckConstraint("age BETWEEN 0 AND 120", name="patients_age"),
        sa.CheckConstraint("bmi BETWEEN 10 AND 100", name="patients_bmi"),
        sa.CheckConstraint("children BETWEEN 0 AND 30", name="patients_children"),
        sa.CheckConstraint("insurance_cost >= 0", name="patients_insurance_cost"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("patients_keyset", "patients", ["last_name", "first_name", "id"])
    op.create_index(
        "patients_name_trigram",
        "patients",
        [sa.text("(lower((last_name || ' ') || first_name)) gin_trgm_ops")],
        postgresql_using="gin",
    )
    op.create_table(
        "predictions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=True),
        sa.Column("inputs", JSONB(), nullable=False),
        sa.Column("predicted_cost", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("model_version", sa.String(length=50), nullable=False),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("worker_name", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("predictions_patient", "predictions", ["patient_id"])
    op.create_index("predictions_time", "predictions", [sa.text("created_at DESC"), sa.text("id DESC")])
    make_append_only("access_events")
