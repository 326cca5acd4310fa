"""Keys of the SuperNodes that may connect, and until when the hub's certificate is valid."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table of SuperNode keys, and the expiry that the supervisor tells."""
    op.create_table(
        "supernode_keys",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("institution_id", sa.Integer(), nullable=False),
        sa.Column("public_key", sa.String(length=300), nullable=False),
        sa.Column("fingerprint", sa.String(length=60), nullable=False),
        sa.Column(
            "registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("registered_by", sa.Integer(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.Integer(), nullable=True),
        sa.Column("flwr_node_id", sa.String(length=20), nullable=True),
        sa.CheckConstraint(
            "revoked_at IS NULL OR flwr_node_id IS NULL", name="supernode_keys_revoked_has_no_node"
        ),
        sa.ForeignKeyConstraint(["institution_id"], ["institutions.id"]),
        sa.ForeignKeyConstraint(["registered_by"], ["medical_workers.id"]),
        sa.ForeignKeyConstraint(["revoked_by"], ["medical_workers.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("fingerprint"),
    )
    op.create_index("supernode_keys_institution", "supernode_keys", ["institution_id"])
    op.create_index(
        "supernode_keys_node",
        "supernode_keys",
        ["flwr_node_id"],
        unique=True,
        postgresql_where=sa.text("flwr_node_id IS NOT NULL"),
    )
    op.add_column(
        "federation_status",
        sa.Column("certificate_expires_at", sa.DateTime(timezone=True), nullable=True),
    )
