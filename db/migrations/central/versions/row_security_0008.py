"""Which rows a Site role of the central database sees."""

from __future__ import annotations

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the policies of row-level security."""
