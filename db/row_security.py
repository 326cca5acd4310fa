"""Which rows of the central database an institution sees and writes: its own people, their sessions, its own results.

The web process of a Site that runs apart enters the central database as its institution's role. Without policies it
could read every other hospital's password hashes. Like privileges, policies are data, brought into the database after
every migration. A function that must see all rows, such as a trigger's, is SECURITY DEFINER: owners see everything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, text

from db.granting import existing_roles
from db.privileges import RoleKind, role_name

# The institution of the role that asks. Its name says it, and a role cannot change its own name; the brackets make
# PostgreSQL look once in a statement.
OWN_INSTITUTION = "(SELECT id FROM institutions WHERE current_user = current_database() || '_' || code)"
OWN_STAFF = f"institution_id = {OWN_INSTITUTION} AND role IN ('nurse', 'doctor', 'institution_admin')"
# Of the people of `medical_workers` the policy of that table lets only the own ones through.
OF_OWN_STAFF = "EXISTS (SELECT 1 FROM medical_workers WHERE medical_workers.id = worker_id)"
# Somebody unknown who tried to sign in belongs to nobody.
OWN_EVENT = f"institution_id = {OWN_INSTITUTION} OR (institution_id IS NULL AND worker_id IS NULL)"

# Table -> the rows that an institution's role reads and writes there. Every other role, and every other table that
# `db.privileges` lets institutions read, is without limit.
OWN_ROWS: dict[str, str] = {
    "audit_events": OWN_EVENT,
    "idempotency_keys": OF_OWN_STAFF,
    "medical_workers": OWN_STAFF,
    "one_time_links": OF_OWN_STAFF,
    # Likewise of the sessions.
    "refresh_tokens": "EXISTS (SELECT 1 FROM sessions WHERE sessions.id = session_id)",
    "sessions": OF_OWN_STAFF,
    "site_presence": f"institution_id = {OWN_INSTITUTION}",
    "site_results": f"institution_id = {OWN_INSTITUTION}",
}

_PRESENT = text(
    "SELECT polname, relname, coalesce(obj_description(pg_policy.oid, 'pg_policy'), '') "
    "FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid WHERE relnamespace = 'public'::regnamespace"
)
_WITHOUT = text(
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY(:tables) "
    "AND NOT relrowsecurity"
)


@dataclass(frozen=True, order=True)
class Policy:
    """One policy; `digest` is kept as its comment, because PostgreSQL spells a condition in its own way."""

    name: str
    table: str
    digest: str


def secure_rows(connection: Connection) -> list[str]:
    """Make the policies of the connected central database those of `OWN_ROWS`; return the statements that it took.

    Parameters
    ----------
    connection
        As the owner of the database; the caller commits. A role that does not exist gets no policy, so that it sees
        no row until it exists and this is done again.
    """
    database = str(connection.scalar(text("SELECT current_database()")))
    quote = connection.dialect.identifier_preparer.quote_identifier
    everybody, institutions = role_name(RoleKind.APP, database), role_name(RoleKind.SITES, database)
    there = existing_roles(connection, (everybody, institutions))
    wanted = {}
    for table, condition in OWN_ROWS.items():
        for name, role, rows in (("all_rows", everybody, "true"), ("own_rows", institutions, condition)):
            if role not in there:
                continue
            definition = f"TO {quote(role)} USING ({rows}) WITH CHECK ({rows})"
            digest = hashlib.sha256(definition.encode()).hexdigest()
            wanted[Policy(name, table, digest)] = definition
    present = {Policy(*row) for row in connection.execute(_PRESENT)}
    statements = [
        f"DROP POLICY {quote(policy.name)} ON {quote(policy.table)}"
        for policy in sorted(present - wanted.keys())
    ]
    for policy in sorted(wanted.keys() - present):
        on = f"{policy.name} ON {quote(policy.table)}"
        statements += [f"CREATE POLICY {on} {wanted[policy]}", f"COMMENT ON POLICY {on} IS '{policy.digest}'"]
    unprotected = connection.scalars(_WITHOUT, {"tables": list(OWN_ROWS)}).all()
    statements += [f"ALTER TABLE {quote(table)} ENABLE ROW LEVEL SECURITY" for table in sorted(unprotected)]
    for statement in statements:
        connection.exec_driver_sql(statement)
    return statements
