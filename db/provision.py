"""One role and one database each for the consortium and for every institution, on an embedded server."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, create_engine, text

from db.embedded import EmbeddedPostgres
from db.migrate import migrate_central, migrate_site

CREDENTIALS = "credentials.json"


@dataclass(frozen=True)
class DatabaseUrls:
    """SQLAlchemy URLs, each with the password of a role that may enter that one database only.

    Attributes
    ----------
    central
        The consortium's database.
    sites
        Institution code -> that institution's database.
    """

    central: str
    sites: dict[str, str]


def provision(
    server: EmbeddedPostgres, institution_codes: Sequence[str], *, prefix: str = ""
) -> DatabaseUrls:
    """Make the roles and databases that are missing and bring every database to the newest schema.

    Parameters
    ----------
    server
        A running server. Passwords are random and kept in `credentials.json` of its data folder.
    institution_codes
        One site database is made for each.
    prefix
        Begins the name of every role and database, so that one server can hold several consortia.
    """
    names = {code: f"{prefix}site_{code}" for code in institution_codes}
    central = f"{prefix}central"
    with _credentials(server.data_dir) as passwords:
        engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                for name in (central, *names.values()):
                    passwords.setdefault(name, secrets.token_urlsafe(24))
                    _ensure_role(connection, name, passwords[name])
                    _ensure_database(connection, name)
        finally:
            engine.dispose()
        urls = DatabaseUrls(
            central=server.url(central, central, passwords[central]),
            sites={code: server.url(name, name, passwords[name]) for code, name in names.items()},
        )
    migrate_central(urls.central)
    for url in urls.sites.values():
        migrate_site(url)
    return urls


def _ensure_role(connection: Connection, name: str, password: str) -> None:
    """Make the role, or give it the password we know: the credentials file may have been lost."""
    exists = connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name})
    verb = "ALTER" if exists else "CREATE"
    quoted = _identifier(connection, name)
    # A statement about roles takes no parameters; the password holds letters, digits, - and _ only.
    connection.exec_driver_sql(
        f"{verb} ROLE {quoted} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{password}'"
    )


def _ensure_database(connection: Connection, name: str) -> None:
    quoted = _identifier(connection, name)
    if not connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}):
        connection.exec_driver_sql(f"CREATE DATABASE {quoted} OWNER {quoted}")
    connection.exec_driver_sql(f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC")


def _identifier(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)


@contextmanager
def _credentials(data_dir: Path) -> Iterator[dict[str, str]]:
    """Give the passwords by role and keep what was added; one process at a time, never half written."""
    path = data_dir / CREDENTIALS
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        passwords = dict(kept)
        yield passwords
        if passwords != kept:
            fresh = path.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(passwords, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
