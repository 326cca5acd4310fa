"""Answers that are kept for requests that are sent twice."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table of idempotency keys."""
