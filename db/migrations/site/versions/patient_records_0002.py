"""Deleting and restoring patients, a history of changes, prediction intervals, and where an access came from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

PRESENT = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    """Add the columns and the table, and limit every index of the list to patients that are present."""
    op.add_column("patients", sa.Column("cost_entered_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("patients", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_index("patients_keyset", "patients")
    op.drop_index("patients_name_trigram", "patients")
    for name, columns in (
        ("patients_by_name", ["last_name", "first_name", "id"]),
        ("patients_by_age", ["age", "id"]),
        ("patients_by_change", ["updated_at", "id"]),
    ):
        op.create_index(name, "patients", columns, postgresql_where=PRESENT)
    for name, cost in (
        ("patients_by_cost", "COALESCE(insurance_cost, 'Infinity'::numeric)"),
        ("patients_by_cost_down", "COALESCE(insurance_cost, '-1'::integer::numeric)"),
    ):
        op.create_index(
            name,
            "patients",
            [sa.text(cost), "id"],
            postgresql_include=["region", "smoker", "sex", "age", "bmi", "insurance_cost"],
            postgresql_where=PRESENT,
        )
    op.create_index(
        "patients_filters",
        "patients",
        ["region", "smoker", "sex", "age", "bmi"],
        postgresql_include=["id", "last_name", "first_name", "insurance_cost", "updated_at"],
        postgresql_where=PRESENT,
    )
    op.create_index(
        "patients_deleted", "patients", ["deleted_at"], postgresql_where=sa.text("deleted_at IS NOT NULL")
    )
    op.create_index(
        "patients_name_trigram",
        "patients",
        [sa.text("(lower((last_name || ' ') || first_name)) gin_trgm_ops")],
        postgresql_using="gin",
        postgresql_where=PRESENT,
    )
    op.create_table(
        "patient_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("patient_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("worker_name", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("changes", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.CheckConstraint(
            "action IN ('added', 'imported', 'edited', 'deleted', 'restored')", name="patient_changes_action"
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("patient_changes_patient", "patient_changes", ["patient_id", "id"])
    op.add_column("predictions", sa.Column("interval_low", sa.Numeric(precision=12, scale=2), nullable=True))
    op.add_column("predictions", sa.Column("interval_high", sa.Numeric(precision=12, scale=2), nullable=True))
    op.drop_index("predictions_patient", "predictions")
    for name, column in (
        ("predictions_patient", "patient_id"),
        ("predictions_worker", "worker_id"),
        ("predictions_version", "model_version"),
    ):
        op.create_index(name, "predictions", [column, sa.text("created_at DESC"), sa.text("id DESC")])
    op.create_check_constraint(
        "predictions_interval",
        "predictions",
        "(interval_low IS NULL) = (interval_high IS NULL) AND interval_low <= interval_high",
    )
    op.add_column("access_events", sa.Column("address", sa.String(length=64), nullable=True))
    op.create_index("access_events_patient", "access_events", ["patient_id", "occurred_at"])
