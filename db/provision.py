"""One role and one database each for the consortium and for every institution, on an embedded server."""

from __future__ import annotations

import fcntl
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, create_engine, make_url, text

from db.embedded import EmbeddedPostgres
from db.migrate import migrate_central, migrate_site
from db.private_files import write_private

CREDENTIALS = "credentials.json"
CENTRAL = "central"  # database and role, after the prefix


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
    central, names = f"{prefix}{CENTRAL}", _site_names(institution_codes, prefix)
    urls = _make_databases(server, (central, *names.values()))
    migrate_central(urls[central])
    for name in names.values():
        migrate_site(urls[name])
    return DatabaseUrls(urls[central], {code: urls[name] for code, name in names.items()})


def provision_all(server: EmbeddedPostgres, institution_codes: Sequence[str]) -> DatabaseUrls:
    """Do the same for these institutions and for every other one that the central database knows."""
    urls = provision(server, institution_codes)
    engine = create_engine(urls.central)
    try:
        with engine.connect() as connection:
            known = connection.scalars(text("SELECT code FROM institutions ORDER BY code")).all()
    finally:
        engine.dispose()
    added = {code: provision_site(server, code) for code in known if code not in urls.sites}
    return DatabaseUrls(urls.central, {**urls.sites, **added})


def provision_site(server: EmbeddedPostgres, institution_code: str, *, prefix: str = "") -> str:
    """Make the role and the database of one institution, or find them, and migrate it; return its URL."""
    (name,) = _site_names((institution_code,), prefix).values()
    url = _make_databases(server, (name,))[name]
    migrate_site(url)
    return url


def prefix_of(central_url: str) -> str:
    """Return the prefix under which `provision` made this central database.

    Raises
    ------
    ValueError
        If `provision` did not make it.
    """
    name = make_url(central_url).database or ""
    if not name.endswith(CENTRAL):
        raise ValueError("this central database was not made by db.provision")
    return name.removesuffix(CENTRAL)


def _site_names(institution_codes: Sequence[str], prefix: str) -> dict[str, str]:
    return {code: f"{prefix}site_{code}" for code in institution_codes}


def _make_databases(server: EmbeddedPostgres, names: Sequence[str]) -> dict[str, str]:
    """Make what is missing of roles and databases of these names; return the URL of each."""
    with _credentials(server.data_dir) as passwords:
        engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                for name in names:
                    passwords.setdefault(name, secrets.token_urlsafe(24))
                    _ensure_role(connection, name, passwords[name])
                    _ensure_database(connection, name)
        finally:
            engine.dispose()
        return {name: server.url(name, name, passwords[name]) for name in names}


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
            write_private(path, json.dumps(passwords, indent=2))
