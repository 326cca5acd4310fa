"""Which schema a database has, and which one this software wants."""

from __future__ import annotations

from functools import lru_cache

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.migrate import MIGRATIONS
from db.privileges import DatabaseKind


@lru_cache(maxsize=2)
def newest_revision(kind: DatabaseKind) -> str:
    """Return the revision that `db.migrate` brings a database to."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS / kind))
    config.set_main_option("path_separator", "os")
    return str(ScriptDirectory.from_config(config).get_current_head())


def current_revision(session: Session) -> str | None:
    """Return the revision that a database has; None if it was never migrated."""
    if session.scalar(text("SELECT to_regclass('public.alembic_version') IS NULL")):
        return None
    found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return found
