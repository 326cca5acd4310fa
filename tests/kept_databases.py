"""Databases that one test after another uses: after each they are as they were, in a tenth of the time of new ones."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from sqlalchemy import create_engine, make_url

from db.embedded import EmbeddedPostgres
from db.engines import engine_for
from db.granting import grant_privileges
from db.privileges import DatabaseKind
from db.provision import DatabaseUrls
from tests.log_search import SPOKEN

# Begins the name of what this process makes on the server that it shares with others.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "single")
WAIT_FOR_A_LOCK = 2000  # milliseconds that a connection which a test left open may hold up
# What a test may have changed besides rows; then the database is made anew from its template.
_SHAPE = """
SELECT coalesce(sum(hash_record_extended(line, 0)), 0) FROM (
  SELECT ROW(oid, relname, relkind, relowner, relacl) AS line FROM pg_class
    WHERE relnamespace = 'public'::regnamespace
  UNION ALL SELECT ROW(attrelid, attname, atttypid, attnotnull) FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'public'::regnamespace AND attnum > 0
  UNION ALL SELECT ROW(conrelid, conname, convalidated) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
  UNION ALL SELECT ROW(tgrelid, tgname, tgenabled) FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT ROW(proname, prosrc) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
  UNION ALL SELECT ROW(polrelid, polname) FROM pg_policy
  UNION ALL SELECT ROW(nspname, nspowner, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_'
  UNION ALL SELECT ROW(datdba, datallowconn, datconnlimit, datacl) FROM pg_database
    WHERE datname = current_database()
) AS lines
"""
# Whoever holds a transaction open, or a lock of the session, would be in the next test's way.
_IN_THE_WAY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND (state <> 'idle' OR pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory'))
"""
_TABLES = """
SELECT format('%I', relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1
"""
_SEQUENCES = """
SELECT format('PERFORM setval(%L, %s, %L)', 'public.' || quote_ident(sequencename), coalesce(last_value, start_value),
              last_value IS NOT NULL)
FROM pg_sequences WHERE schemaname = 'public'
"""


@dataclass
class KeptDatabase:
    """One database, made from a template, and how it was then.

    Attributes
    ----------
    rows
        Table -> its rows as COPY writes them, of the tables that are not empty in the template.
    """

    server: EmbeddedPostgres
    kind: DatabaseKind
    name: str
    template: str
    rows: dict[str, bytes] = field(default_factory=dict)
    _connection: Connection | None = None
    _shape: str = ""

    def make(self) -> None:
        """Make the database, and note how it is."""
        self.drop()
        engine = create_engine(self.server.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as superuser:
            superuser.exec_driver_sql(
                f"CREATE DATABASE {self.name} TEMPLATE {self.template} OWNER {self.name} STRATEGY FILE_COPY"
            )
            superuser.exec_driver_sql(f"REVOKE ALL ON DATABASE {self.name} FROM PUBLIC")
        engine.dispose()
        # What a template has of privileges on the database itself, its copy has not.
        engine = create_engine(self.server.url(self.name))
        with engine.begin() as superuser:
            grant_privileges(superuser, self.kind)
        engine.dispose()
        with self._cursor() as cursor:
            cursor.execute(_TABLES)
            tables = [table for (table,) in cursor.fetchall()]
            for table in tables:
                if rows := _copied(cursor, table):
                    self.rows[table] = rows
            SPOKEN.learn_patients(cursor)
            cursor.execute(_SEQUENCES)
            statements = [
                *(f"DELETE FROM {table}" for table in tables if table not in self.rows),
                *(statement for (statement,) in cursor.fetchall()),
            ]
            # What the connection has prepared runs in a third of the time.
            cursor.execute(
                f"""
                SET session_replication_role = replica; -- no trigger, no foreign key
                SET lock_timeout = {WAIT_FOR_A_LOCK};
                PREPARE in_the_way AS {_IN_THE_WAY};
                PREPARE shape AS {_SHAPE};
                CREATE FUNCTION pg_temp.as_it_was() RETURNS void LANGUAGE plpgsql
                  AS $do$ BEGIN {"; ".join(statements)}; END $do$;
                """
            )
            self._shape = _value(cursor, "EXECUTE shape")

    def reset(self) -> None:
        """Bring the rows back that were there, or make the database anew if more than rows was changed."""
        try:
            with self._cursor() as cursor:
                changed = [table for table, rows in self.rows.items() if _copied(cursor, table) != rows]
                if self.kind == "site" and ("patients" in changed or "patients" not in self.rows):
                    SPOKEN.learn_patients(cursor)
                cursor.execute("EXECUTE in_the_way")
                if _value(cursor, "EXECUTE shape") == self._shape:
                    cursor.execute("SELECT pg_temp.as_it_was()")
                    for table in changed:
                        cursor.execute(f"DELETE FROM {table}")
                        cursor.copy_expert(f"COPY {table} FROM STDIN", io.BytesIO(self.rows[table]))
                    return
        except psycopg2.Error:
            pass  # the server was restarted, or somebody holds a lock
        self.make()

    def drop(self) -> None:
        """Delete the database, whoever is connected."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        engine = create_engine(self.server.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as superuser:
            superuser.exec_driver_sql(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        engine.dispose()

    @contextmanager
    def _cursor(self) -> Iterator[Cursor]:
        if self._connection is None:
            url = make_url(self.server.url(self.name))
            self._connection = psycopg2.connect(
                host=url.host, port=url.port, user=url.username, password=url.password, dbname=self.name
            )
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            yield cursor


def _copied(cursor: Cursor, table: str) -> bytes:
    """Return a table's rows in some order that is always the same."""
    written = io.BytesIO()
    cursor.copy_expert(f"COPY {table} TO STDOUT", written)
    return b"".join(sorted(written.getvalue().splitlines(keepends=True)))


def _value(cursor: Cursor, query: str) -> str:
    cursor.execute(query)
    row = cursor.fetchone()
    assert row is not None
    return str(row[0])


class KeptDatabases:
    """The central database and the Sites', made from templates at the first use."""

    def __init__(self, server: EmbeddedPostgres, urls: DatabaseUrls, suffix: str) -> None:
        self.urls = urls
        central, *sites = names_of(urls)
        self._databases = [
            KeptDatabase(server, kind, name, f"{name}{suffix}")
            for kind, name in (("central", central), *(("site", name) for name in sites))
        ]
        for database in self._databases:
            database.make()

    def reset(self) -> None:
        """Have every database as it was, and nobody connected who remembers otherwise."""
        for database in self._databases:
            database.reset()

    def drop(self) -> None:
        """Delete every database."""
        for url in all_urls(self.urls):
            engine_for(url).dispose()
        for database in self._databases:
            database.drop()


def names_of(urls: DatabaseUrls) -> list[str]:
    """Return the names of the databases."""
    return [url.rsplit("/", 1)[1] for url in (urls.central, *urls.sites.values())]


def all_urls(urls: DatabaseUrls) -> list[str]:
    """Return the URL of every role."""
    return [
        urls.central,
        urls.app_central,
        *urls.sites.values(),
        *urls.app_sites.values(),
        *urls.train_sites.values(),
        *urls.central_of_sites.values(),
    ]
