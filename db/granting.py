"""Brings the privileges of `db.privileges` into a database: what is missing is granted, what is too much revoked.

Done by the owner after every migration. Only differences are carried out, so that a start beside running processes
waits for none of their locks. A role that does not exist is passed over: whoever makes it migrates again.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, text

from db.privileges import ROLES_OF, DatabaseKind, Grant, role_name, wanted_grants

# Every privilege in this database of one of the named roles or of everybody, spelt as in `Grant`.
_PRESENT = text(
    """
    WITH granted AS (
      SELECT 'TABLE ' || relname AS thing, '' AS column_name, acl.* FROM pg_class, aclexplode(relacl) AS acl
        WHERE relnamespace = 'public'::regnamespace AND relkind <> 'S'
      UNION ALL SELECT 'SEQUENCE ' || relname, '', acl.* FROM pg_class, aclexplode(relacl) AS acl
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
      UNION ALL SELECT 'TABLE ' || relname, attname, acl.*
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid, aclexplode(attacl) AS acl
        WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT 'SCHEMA ' || nspname, '', acl.*
        FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS acl WHERE nspname = 'public'
      UNION ALL SELECT 'DATABASE ' || datname, '', acl.*
        FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl
        WHERE datname = current_database()
      UNION ALL SELECT 'FUNCTION ' || proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', '', acl.*
        FROM pg_proc AS p, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl
        WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (
          SELECT 1 FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
    )
    SELECT coalesce(rolname, 'PUBLIC'), privilege_type, thing, column_name FROM granted
    LEFT JOIN pg_roles ON pg_roles.oid = grantee
    WHERE grantee = 0 OR rolname = ANY(:roles)
    """
)
# Else each new function could be called, and each new object used, by everybody until this is done again.
_NO_DEFAULTS = "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"


def grant_privileges(connection: Connection, kind: DatabaseKind) -> list[str]:
    """Make the privileges in the connected database equal to `db.privileges`; return the statements that it took.

    Parameters
    ----------
    connection
        As the owner of the database; the caller commits.
    """
    database = str(connection.scalar(text("SELECT current_database()")))
    roles = existing_roles(connection, [role_name(role, database) for role in ROLES_OF[kind]])
    wanted = {grant for grant in wanted_grants(kind, database) if grant.role in roles}
    present = present_grants(connection, roles)
    statements = [
        *(_sentence("REVOKE", "FROM", grant, connection) for grant in sorted(present - wanted)),
        *(_sentence("GRANT", "TO", grant, connection) for grant in sorted(wanted - present)),
    ]
    if statements:
        statements.insert(0, _NO_DEFAULTS)
    for statement in statements:
        connection.exec_driver_sql(statement)
    return statements


def present_grants(connection: Connection, roles: Iterable[str]) -> set[Grant]:
    """Return what these roles, and everybody (`PUBLIC`), may do in the connected database."""
    rows = connection.execute(_PRESENT, {"roles": list(roles)})
    return {Grant(role, privilege, thing, column) for role, privilege, thing, column in rows}


def existing_roles(connection: Connection, names: Iterable[str]) -> set[str]:
    """Return those of the names that are roles of the server."""
    query = text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names)")
    return set(connection.scalars(query, {"names": list(names)}))


def _sentence(verb: str, to: str, grant: Grant, connection: Connection) -> str:
    quote = connection.dialect.identifier_preparer.quote_identifier
    privilege = f"{grant.privilege} ({quote(grant.column)})" if grant.column else grant.privilege
    what, _, name = grant.on.partition(" ")
    thing = name if what == "FUNCTION" else quote(name)
    role = "PUBLIC" if grant.role == "PUBLIC" else quote(grant.role)
    return f"{verb} {privilege} ON {what} {thing} {to} {role}"
