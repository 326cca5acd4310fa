"""Brings a central or a site database to the newest schema and privileges; also a command, `python -m db.migrate`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from db.granting import grant_privileges
from db.logs import configure_logs
from db.privileges import DatabaseKind
from db.row_security import secure_rows

MIGRATIONS = Path(__file__).parent / "migrations"
# Any number that nothing else in this project locks: two processes never migrate one database at a time.
MIGRATION_LOCK = 7_215_401


def migrate_central(url: str) -> None:
    """Bring the central database at `url` to the newest schema; nothing happens if it has it."""
    _upgrade("central", url)


def migrate_site(url: str) -> None:
    """Bring the site database at `url` to the newest schema; nothing happens if it has it."""
    _upgrade("site", url)


def _upgrade(kind: DatabaseKind, url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS / kind))
    config.set_main_option("path_separator", "os")
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
            connection.commit()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            with connection.begin():
                grant_privileges(connection, kind)
                if kind == "central":
                    secure_rows(connection)
    finally:
        engine.dispose()  # ends the session, and with it the lock


def migrate_environment() -> list[str]:
    """Migrate the databases that the environment names, as their owners.

    CENTRAL_OWNER_DATABASE_URL, SITE_OWNER_DATABASE_URLS and SITE_OWNER_DATABASE_URL are the owners' URLs. With none
    of them those of the same names without OWNER are taken, which is right where the owner is the only role.

    Returns
    -------
    list
        What was migrated, one word or two each; empty if the environment names no database.
    """
    migrated = []
    names = ("CENTRAL_{}DATABASE_URL", "SITE_{}DATABASE_URLS", "SITE_{}DATABASE_URL")
    as_owner = any(os.environ.get(name.format("OWNER_")) for name in names)
    central, several, single = (
        os.environ.get(name.format("OWNER_" if as_owner else ""), "") for name in names
    )
    if central:
        migrate_central(central)
        migrated.append("central database")
    sites: dict[str, str] = json.loads(several or "{}")
    if single:
        sites.setdefault(os.environ.get("INSTITUTION", "site"), single)
    for code, url in sites.items():
        migrate_site(url)
        migrated.append(f"site {code}")
    return migrated


if __name__ == "__main__":
    configure_logs("migrate")
    done = migrate_environment()
    if not done:
        sys.exit("Set CENTRAL_OWNER_DATABASE_URL, SITE_OWNER_DATABASE_URLS or SITE_OWNER_DATABASE_URL.")
    sys.stdout.write(f"Migrated: {', '.join(done)}.\n")
