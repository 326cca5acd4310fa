"""The audit trail as a chain of hashes, and what is kept for how long."""

from __future__ import annotations

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the seals of the audit trail."""
