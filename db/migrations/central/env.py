"""Alembic's entry for the central database; `db.migrate` hands over the connection."""

from __future__ import annotations

from alembic import context

import db.accounts
import db.audit_trail
import db.federation
import db.idempotency
import db.operations
import db.supernode_keys  # noqa: F401 - their tables belong to the same metadata
from db.central import CentralBase

context.configure(connection=context.config.attributes["connection"], target_metadata=CentralBase.metadata)
with context.begin_transaction():
    context.run_migrations()
