"""Keys of the SuperNodes that may connect."""

from __future__ import annotations

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table of SuperNode keys."""
