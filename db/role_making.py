"""Makes PostgreSQL's roles: what each may never be, how many connections it has, and how long it may take.

What a role may do inside a database is in `db.privileges`. The limits here keep one mistake from stopping a server;
a role can change its own time limits, so they are no wall against a stranger who holds its password.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2.extensions import encrypt_password
from sqlalchemy import Connection, text

from db.privileges import RoleKind, institution_role, role_name


@dataclass(frozen=True)
class RoleLimits:
    """What a role may use at once.

    Attributes
    ----------
    connections
        Of all processes together; a web process has up to 15 to each database.
    statement, lock
        Seconds that one statement may take, and of these wait for a lock.
    idle_in_transaction
        Seconds that a transaction may wait for its client, holding its locks.
    """

    connections: int
    statement: int
    lock: int
    idle_in_transaction: int


# The longest statements of pages are lists and counts of a million patients, under three seconds; of an import of
# 100,000 rows five. A download is read in pieces while its transaction is open, so a slow reader gets minutes.
_WEB = RoleLimits(connections=60, statement=60, lock=20, idle_in_transaction=300)
# A training reads all of a hospital's patients at once, and nobody waits for it at a screen.
_TRAINING = RoleLimits(connections=20, statement=120, lock=20, idle_in_transaction=120)

LIMITS = {RoleKind.APP: _WEB, RoleKind.SITES: _WEB, RoleKind.TRAIN: _TRAINING}

# Temporary tables come last, so that none can stand before a table of the same name.
_SEARCH_PATH = "public, pg_temp"


def make_owner(connection: Connection, name: str, password: str) -> None:
    """Make the role that owns a database and migrates it, or give it this password."""
    _make(connection, name, "LOGIN", password)


def make_role(connection: Connection, name: str, password: str, kind: RoleKind) -> None:
    """Make a role that owns nothing, or bring it to this password and its kind's limits."""
    limits = LIMITS[kind]
    _make(connection, name, f"LOGIN CONNECTION LIMIT {limits.connections}", password)
    settings = {
        "statement_timeout": f"'{limits.statement}s'",
        "lock_timeout": f"'{limits.lock}s'",
        "idle_in_transaction_session_timeout": f"'{limits.idle_in_transaction}s'",
        "search_path": _SEARCH_PATH,
    }
    for setting, value in settings.items():
        connection.exec_driver_sql(f"ALTER ROLE {quoted(connection, name)} SET {setting} = {value}")


def make_institution_role(connection: Connection, central: str, code: str, password: str) -> str:
    """Make the role by which an institution's web process enters the central database; return its name.

    It has what `RoleKind.SITES` may, and cannot become that role.
    """
    name, group = institution_role(central, code), role_name(RoleKind.SITES, central)
    make_role(connection, name, password, RoleKind.SITES)
    connection.exec_driver_sql(
        f"GRANT {quoted(connection, group)} TO {quoted(connection, name)} WITH ADMIN FALSE, INHERIT TRUE, SET FALSE"
    )
    return name


def make_group(connection: Connection, name: str) -> None:
    """Make a role that nobody connects as: its members have its privileges."""
    _make(connection, name, "NOLOGIN")


def make_database(connection: Connection, name: str, owner: str) -> None:
    """Make a database that only its owner, and whom `db.granting` lets, may enter."""
    query = text("SELECT 1 FROM pg_database WHERE datname = :name")
    if not connection.scalar(query, {"name": name}):
        connection.exec_driver_sql(
            f"CREATE DATABASE {quoted(connection, name)} OWNER {quoted(connection, owner)}"
        )
    connection.exec_driver_sql(f"REVOKE ALL ON DATABASE {quoted(connection, name)} FROM PUBLIC")


def quoted(connection: Connection, name: str) -> str:
    """Return a name as an identifier of SQL."""
    return connection.dialect.identifier_preparer.quote_identifier(name)


def _make(connection: Connection, name: str, options: str, password: str | None = None) -> None:
    exists = connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name})
    never = "NOCREATEDB NOCREATEROLE"
    if connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
        never += " NOSUPERUSER NOREPLICATION NOBYPASSRLS"  # nobody else may even say so
    if password is not None:
        # The server gets a verifier, so no log of its statements has the password.
        driver = connection.connection.dbapi_connection
        verifier = encrypt_password(password, name, scope=driver, algorithm="scram-sha-256")
        options += f" PASSWORD '{verifier}'"
    verb = "ALTER" if exists else "CREATE"
    connection.exec_driver_sql(f"{verb} ROLE {quoted(connection, name)} {never} {options}")
