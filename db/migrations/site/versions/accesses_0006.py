"""Events that name many patients are found by each of them, without reading all events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the index over the lists of patients."""
    op.create_index(
        "access_events_patients",
        "access_events",
        [sa.text("(details -> 'patient_ids')")],
        postgresql_using="gin",
        postgresql_where=sa.text("details ? 'patient_ids'"),
    )
