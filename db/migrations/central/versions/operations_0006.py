"""Faults, minutes of requests and backups, for the System page."""

from __future__ import annotations

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add what operating the product leaves behind."""
