"""Sessions that are listed, refresh tokens, one-time links, and a trigger that ends what a changed account held."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NOW = sa.text("now()")
# Whoever changes an account, also by hand in SQL, ends its sessions in the same transaction. It runs as its owner,
# so that a role that may change accounts need not be allowed to change sessions.
_END_SESSIONS = """
CREATE FUNCTION end_sessions_of_changed_worker() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.sessions SET ended_at = clock_timestamp(), ticket_sha256 = NULL, end_reason = CASE
            WHEN OLD.is_active AND NOT NEW.is_active THEN 'deactivated'
            WHEN OLD.password_hash IS DISTINCT FROM NEW.password_hash THEN 'password_changed'
            WHEN OLD.role IS DISTINCT FROM NEW.role THEN 'role_changed'
            ELSE 'institution_changed'
        END
        WHERE worker_id = NEW.id AND ended_at IS NULL;
    IF OLD.password_hash IS DISTINCT FROM NEW.password_hash OR NOT NEW.is_active THEN
        UPDATE public.one_time_links SET ended_at = clock_timestamp()
            WHERE worker_id = NEW.id AND used_at IS NULL AND ended_at IS NULL;
    END IF;
    RETURN NULL;
END
$$
"""
_WHEN_CHANGED = """
CREATE TRIGGER medical_workers_end_sessions AFTER UPDATE ON medical_workers FOR EACH ROW
WHEN ((OLD.role, OLD.institution_id, OLD.password_hash, OLD.is_active)
      IS DISTINCT FROM (NEW.role, NEW.institution_id, NEW.password_hash, NEW.is_active))
EXECUTE FUNCTION end_sessions_of_changed_worker()
"""


def upgrade() -> None:
    """Add what signing in safely needs."""
    op.alter_column("medical_workers", "password_hash", nullable=True)
    op.add_column(
        "medical_workers", sa.Column("password_changed_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column(
        "medical_workers",
        sa.Column("row_version", sa.Integer(), server_default=sa.text("1"), nullable=False),
    )
    _widen_sessions()
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("session_id", sa.Uuid(), sa.ForeignKey("sessions.id"), nullable=False),
        sa.Column("token_sha256", sa.String(64), unique=True, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("refresh_tokens_session", "refresh_tokens", ["session_id"])
    op.create_table(
        "one_time_links",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("worker_id", sa.Integer(), sa.ForeignKey("medical_workers.id"), nullable=False),
        sa.Column("created_by", sa.Integer(), sa.ForeignKey("medical_workers.id"), nullable=True),
        sa.Column("token_sha256", sa.String(64), unique=True, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("one_time_links_worker", "one_time_links", ["worker_id"])
    op.create_index(
        "one_time_links_one_alive",
        "one_time_links",
        ["worker_id"],
        unique=True,
        postgresql_where=sa.text("used_at IS NULL AND ended_at IS NULL"),
    )
    op.execute(_END_SESSIONS)
    op.execute("REVOKE ALL ON FUNCTION end_sessions_of_changed_worker() FROM PUBLIC")
    op.execute(_WHEN_CHANGED)


def _widen_sessions() -> None:
    for column in (
        sa.Column("kind", sa.String(10), server_default="browser", nullable=False),
        sa.Column("ticket_browser_sha256", sa.String(64), nullable=True),
        sa.Column("openid_sha256", sa.String(64), nullable=True),
        sa.Column("address", sa.String(64), nullable=True),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("end_reason", sa.String(30), nullable=True),
    ):
        op.add_column("sessions", column)
    op.create_unique_constraint("sessions_openid_sha256_key", "sessions", ["openid_sha256"])
    op.create_check_constraint("sessions_kind", "sessions", "kind IN ('browser', 'api')")
    op.create_check_constraint(
        "sessions_end_reason",
        "sessions",
        "end_reason IN ('signed_out', 'ended_by_owner', 'ended_by_administrator', 'token_reused', "
        "'password_changed', 'role_changed', 'institution_changed', 'deactivated')",
    )
