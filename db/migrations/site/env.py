"""Alembic's entry for the site database; `db.migrate` hands over the connection."""

from __future__ import annotations

from alembic import context

import db.audit_trail
import db.data_life
import db.idempotency  # noqa: F401
from db.site import SiteBase

context.configure(connection=context.config.attributes["connection"], target_metadata=SiteBase.metadata)
with context.begin_transaction():
    context.run_migrations()
