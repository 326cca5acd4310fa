"""Kinds of Runs, checkpoints, receipts, events, triggers that fire, what Sites say, imports, the shadow version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

EMPTY = sa.text("'{}'::jsonb")
NOW = sa.text("now()")


def upgrade() -> None:
    """Widen the tables of training, then add those that are new."""
    _replace_check(
        "medical_workers",
        "medical_workers_role",
        "role IN ('nurse', 'doctor', 'data_scientist', 'admin', 'institution_admin')",
    )
    op.add_column(
        "institutions", sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False)
    )
    op.add_column("federation_status", sa.Column("bundle_sha256", sa.String(length=64), nullable=True))
    _widen_runs()
    _widen_versions()
    op.add_column(
        "training_triggers", sa.Column("name", sa.String(length=100), server_default="", nullable=False)
    )
    op.alter_column("training_triggers", "name", server_default=None)
    for column in ("next_fire_at", "last_checked_at", "deleted_at"):
        op.add_column("training_triggers", sa.Column(column, sa.DateTime(timezone=True), nullable=True))
    _new_tables()


def _widen_runs() -> None:
    for column in (
        sa.Column("kind", sa.String(length=20), server_default="federated", nullable=False),
        sa.Column("trigger_id", sa.Integer(), nullable=True),
        sa.Column("resumed_from_id", sa.Integer(), nullable=True),
        sa.Column("start_version_id", sa.Integer(), nullable=True),
        sa.Column("preprocessing", JSONB(), nullable=True),
        sa.Column("results", JSONB(), server_default=EMPTY, nullable=False),
    ):
        op.add_column("training_runs", column)
    op.create_foreign_key(None, "training_runs", "training_triggers", ["trigger_id"], ["id"])
    op.create_foreign_key(None, "training_runs", "training_runs", ["resumed_from_id"], ["id"])
    op.create_foreign_key(
        "training_runs_start_version", "training_runs", "model_versions", ["start_version_id"], ["id"]
    )
    op.create_check_constraint(
        "training_runs_kind",
        "training_runs",
        "kind IN ('federated', 'least_squares', 'cohort', 'evaluation')",
    )
    _replace_check(
        "training_runs",
        "training_runs_num_rounds",
        "CASE WHEN kind = 'federated' THEN num_rounds BETWEEN 1 AND 1000 ELSE num_rounds = 0 END",
    )
    op.create_check_constraint(
        "training_runs_evaluates_a_version",
        "training_runs",
        "kind <> 'evaluation' OR start_version_id IS NOT NULL",
    )
    for name in ("weights", "server_state"):
        op.add_column("training_rounds", sa.Column(name, sa.LargeBinary(), nullable=True))
    for name in ("previous_receipt_sha256", "receipt_sha256"):
        op.add_column("training_rounds", sa.Column(name, sa.String(length=64), nullable=True))
    op.add_column("site_results", sa.Column("update_sha256", sa.String(length=64), nullable=True))
    op.add_column("site_results", sa.Column("update", sa.LargeBinary(), nullable=True))
    _replace_check(
        "site_results", "site_results_phase", "phase IN ('statistics', 'train', 'evaluate', 'cohort')"
    )


def _widen_versions() -> None:
    op.alter_column("model_versions", "run_id", nullable=True)
    op.alter_column("model_versions", "training_round", nullable=True)
    for column in (
        sa.Column("origin", sa.String(length=10), server_default="run", nullable=False),
        sa.Column("is_shadow", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("lineage", JSONB(), server_default=EMPTY, nullable=False),
    ):
        op.add_column("model_versions", column)
    op.create_check_constraint("model_versions_origin", "model_versions", "origin IN ('run', 'import')")
    op.create_check_constraint(
        "model_versions_run_has_round",
        "model_versions",
        "origin <> 'run' OR (run_id IS NOT NULL AND training_round IS NOT NULL)",
    )
    op.create_check_constraint(
        "model_versions_shadow_is_candidate", "model_versions", "NOT is_shadow OR status = 'candidate'"
    )
    op.create_index(
        "model_versions_one_shadow",
        "model_versions",
        [sa.text("(true)")],
        unique=True,
        postgresql_where=sa.text("is_shadow"),
    )
    _replace_check(
        "promotions",
        "promotions_action",
        "action IN ('promote', 'reject', 'rollback', 'propose', 'shadow_start', 'shadow_stop')",
    )


def _new_tables() -> None:
    op.create_table(
        "run_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("severity", sa.String(length=10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("round_number", sa.Integer(), nullable=True),
        sa.Column("institution_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("severity IN ('info', 'warning', 'error')", name="run_events_severity"),
        sa.ForeignKeyConstraint(["run_id"], ["training_runs.id"]),
        sa.ForeignKeyConstraint(["institution_id"], ["institutions.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("run_events_run", "run_events", ["run_id", "id"])
    op.create_table(
        "trigger_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("trigger_id", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("outcome IN ('fired', 'skipped', 'failed')", name="trigger_events_outcome"),
        sa.ForeignKeyConstraint(["trigger_id"], ["training_triggers.id"]),
        sa.ForeignKeyConstraint(["run_id"], ["training_runs.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("trigger_events_trigger", "trigger_events", ["trigger_id", "id"])
    op.create_table(
        "run_queue",
        sa.Column("id", sa.Integer(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_by", sa.Integer(), nullable=True),
        sa.Column("next_run_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("id = 1", name="run_queue_single_row"),
        sa.ForeignKeyConstraint(["paused_by"], ["medical_workers.id"]),
        sa.ForeignKeyConstraint(["next_run_id"], ["training_runs.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "site_presence",
        sa.Column("institution_id", sa.Integer(), nullable=False),
        sa.Column("flwr_node_id", sa.String(length=20), nullable=False),
        sa.Column("online_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("usable_rows", sa.Integer(), nullable=False),
        sa.Column("new_rows", sa.Integer(), nullable=False),
        sa.Column("software_version", sa.String(length=50), nullable=False),
        sa.Column("bundle_sha256", sa.String(length=64), nullable=False),
        sa.Column("consent", sa.String(length=10), nullable=False),
        sa.CheckConstraint("consent IN ('open', 'paused', 'approval')", name="site_presence_consent"),
        sa.ForeignKeyConstraint(["institution_id"], ["institutions.id"]),
        sa.PrimaryKeyConstraint("institution_id"),
    )
    op.create_table(
        "shadow_comparisons",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("champion_version_id", sa.Integer(), nullable=False),
        sa.Column("shadow_version_id", sa.Integer(), nullable=False),
        sa.Column("institution_id", sa.Integer(), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("num_examples", sa.Integer(), nullable=False),
        sa.Column("champion_error", sa.Float(), nullable=False),
        sa.Column("shadow_error", sa.Float(), nullable=False),
        sa.Column("difference", sa.Float(), nullable=False),
        sa.Column("difference_squared", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["champion_version_id"], ["model_versions.id"]),
        sa.ForeignKeyConstraint(["shadow_version_id"], ["model_versions.id"]),
        sa.ForeignKeyConstraint(["institution_id"], ["institutions.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("champion_version_id", "shadow_version_id", "institution_id"),
    )


def _replace_check(table: str, name: str, condition: str) -> None:
    op.drop_constraint(name, table, type_="check")
    op.create_check_constraint(name, table, condition)
