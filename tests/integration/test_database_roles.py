"""What each database role may not do, tried: every statement here is refused by PostgreSQL itself."""

from __future__ import annotations

import io
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from sqlalchemy import create_engine, make_url, text

from app.databases import central_session
from app.errors import CentralUnavailable
from db.embedded import EmbeddedPostgres
from db.engines import engine_for
from db.granting import present_grants
from db.privileges import TABLES, DatabaseKind, RoleKind, read_privileges
from db.provision import DatabaseUrls
from db.role_making import LIMITS
from tests.integration.as_roles import DENIED, connected, refusal, refusal_on, rows
from tests.integration.conftest import Consortium
from tests.kept_databases import KeptDatabases

CODE, OTHER = "northeast", "southwest"
ROLES = ("app_central", "central_of_site", "app_site", "train_site")
KINDS: dict[str, tuple[DatabaseKind, RoleKind]] = {
    "app_central": ("central", RoleKind.APP),
    "central_of_site": ("central", RoleKind.SITES),
    "app_site": ("site", RoleKind.APP),
    "train_site": ("site", RoleKind.TRAIN),
}
EACH_ROLE = pytest.mark.parametrize("role", ROLES)

NOBODY_MAY = [
    # make, change or own anything
    "CREATE TABLE mine (n int)",
    "CREATE SCHEMA mine",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
    "CREATE EXTENSION hstore",
    "CREATE PUBLICATION mine FOR ALL TABLES",
    "CREATE DATABASE mine",
    "CREATE ROLE mine",
    "DROP TABLE {table}",
    "ALTER TABLE {table} ADD COLUMN mine int",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
    "CREATE POLICY mine ON {table} USING (true)",
    "CREATE TRIGGER mine BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE INDEX mine ON {table} ((1))",
    "TRUNCATE {table}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO PUBLIC",
    # be somebody else, or more
    "SET ROLE {owner}",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION {owner}",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
    "ALTER ROLE postgres PASSWORD 'mine'",
    "ALTER ROLE {owner} PASSWORD 'mine'",
    "GRANT {owner} TO CURRENT_USER WITH INHERIT TRUE",
    "GRANT pg_read_all_data TO CURRENT_USER",
    "SELECT rolpassword FROM pg_authid",
    # reach the server's files and programs, other servers, or switch off what protects
    "SELECT pg_read_file('/etc/hostname')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_import('/etc/hostname')",
    "SELECT lo_export(1, '/tmp/mine')",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO '/tmp/mine'",
    "CREATE SERVER mine FOREIGN DATA WRAPPER mine",
    "ALTER SYSTEM SET fsync = off",
    "SET session_replication_role = replica",
    "SELECT pg_reload_conf()",
    "SELECT pg_create_physical_replication_slot('mine')",
    "SELECT pg_switch_wal()",
]


def _url(urls: DatabaseUrls, role: str) -> str:
    return {
        "app_central": urls.app_central,
        "central_of_site": urls.central_of_sites[CODE],
        "app_site": urls.app_sites[CODE],
        "train_site": urls.train_sites[CODE],
    }[role]


@pytest.fixture(scope="module")
def untouched(_migrated: KeptDatabases) -> Iterator[DatabaseUrls]:
    """The databases for statements of which nothing stays."""
    yield _migrated.urls
    _migrated.reset()


@EACH_ROLE
@pytest.mark.parametrize("statement", NOBODY_MAY)
def test_no_role_makes_becomes_or_reaches_more(untouched: DatabaseUrls, role: str, statement: str) -> None:
    url = _url(untouched, role)
    table = "institutions" if KINDS[role][0] == "central" else "patients"
    asked = statement.format(table=table, owner=make_url(url).database)
    autocommit_only = ("CREATE DATABASE", "ALTER SYSTEM")
    if asked.startswith(autocommit_only):
        with connected(url) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor, pytest.raises(psycopg2.Error) as refused:
                cursor.execute(asked)
        assert refused.value.pgcode == DENIED
        return
    # A wrapper that does not exist is looked for before the privilege.
    assert refusal(url, asked) in ({DENIED, "42704"} if "FOREIGN DATA" in asked else {DENIED})


@EACH_ROLE
def test_every_statement_on_a_table_that_is_not_written_down_is_refused(
    untouched: DatabaseUrls, role: str
) -> None:
    kind, role_kind = KINDS[role]
    owner = untouched.central if kind == "central" else untouched.sites[CODE]
    with connected(_url(untouched, role)) as connection:
        assert _tried_in_vain(connection, owner, kind, role_kind) > 20


def _tried_in_vain(connection: Connection, owner: str, kind: DatabaseKind, role_kind: RoleKind) -> int:
    tried = 0
    for table, by_role in TABLES[kind].items():
        allowed = set(read_privileges(by_role[role_kind])) if role_kind in by_role else set()
        columns = [
            str(name)
            for (name,) in rows(
                owner, f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0"
            )
        ]
        for privilege, statement in (
            ("SELECT", "SELECT {column} FROM {table}"),
            ("UPDATE", "UPDATE {table} SET {column} = DEFAULT"),
            ("INSERT", "INSERT INTO {table} ({column}) OVERRIDING SYSTEM VALUE VALUES (DEFAULT)"),
        ):
            for column in columns:
                if (privilege, "") in allowed or (privilege, column) in allowed:
                    continue
                asked = statement.format(table=table, column=column)
                assert refusal_on(connection, asked) == DENIED, asked
                tried += 1
        for asked in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            if (asked.split()[0], "") not in allowed:
                assert refusal_on(connection, asked) == DENIED, asked
                tried += 1
    return tried


@EACH_ROLE
def test_a_role_passes_nothing_on_that_it_may_do(databases: DatabaseUrls, role: str) -> None:
    kind, _ = KINDS[role]
    owner = databases.central if kind == "central" else databases.sites[CODE]
    with connected(_url(databases, role)) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"GRANT SELECT ON {'institutions' if kind == 'central' else 'run_approvals'} TO PUBLIC"
        )
        connection.commit()
    with create_engine(owner).connect() as asked:
        assert not [grant for grant in present_grants(asked, []) if grant.on.startswith("TABLE")]


@EACH_ROLE
def test_a_role_enters_no_database_but_its_own(databases: DatabaseUrls, role: str) -> None:
    own = make_url(_url(databases, role))
    every = {make_url(url).database for url in (databases.central, *databases.sites.values())}
    for name in {*every, "postgres", "template1"} - {own.database}:
        with (
            pytest.raises(psycopg2.OperationalError, match=r"no pg_hba\.conf entry|permission denied"),
            connected(own.set(database=name).render_as_string(hide_password=False)),
        ):
            pass


def test_the_training_reads_no_name_by_any_way(consortium: Consortium) -> None:
    url = consortium.urls.train_sites[CODE]
    consortium.add_patient(CODE, "Ada", "Lovelace")
    with create_engine(consortium.urls.sites[CODE]).begin() as owner:
        owner.execute(text("ANALYZE patients"))
    for statement in (
        "SELECT * FROM patients",
        "SELECT last_name FROM patients",
        "SELECT p FROM patients AS p",
        "SELECT age FROM patients WHERE first_name = 'Ada'",
        "SELECT age FROM patients ORDER BY last_name",
        "SELECT to_jsonb(p) FROM patients AS p",
        "COPY patients TO STDOUT",
        "SELECT changes FROM patient_changes",
        "SELECT inputs FROM predictions",
        "SELECT details FROM access_events",
        "UPDATE run_approvals SET decision = 'approved'",
        "INSERT INTO run_approvals (run_id, settings_sha256, settings, decision) VALUES (1, '', '{}', 'approved')",
        "CREATE TEMPORARY TABLE patients (n int)",
    ):
        assert refusal(url, statement) == DENIED, statement
    assert (
        rows(url, "SELECT attname FROM pg_stats WHERE tablename = 'patients' AND attname = 'last_name'") == []
    )
    assert rows(url, "SELECT age FROM patients") == [(40,)]


# --- what an institution's role sees in the central database -----------------------------------------------


def test_an_institution_reads_the_hashes_of_its_own_people_only(consortium: Consortium) -> None:
    url = consortium.urls.central_of_sites[CODE]
    own = {
        ("doctor@northeast.test.local",),
        ("nurse@northeast.test.local",),
        ("manager@northeast.test.local",),
    }
    with create_engine(consortium.urls.central).begin() as owner:
        owner.execute(text("ANALYZE medical_workers"))
    assert set(rows(url, "SELECT email FROM medical_workers WHERE password_hash <> ''")) == own
    # A condition that would betray others by its error is only asked of rows that the policy lets through.
    tricky = (
        "SELECT 1 FROM medical_workers WHERE email LIKE 'admin%' AND 1 / (length(password_hash) - 60) = 1"
    )
    assert rows(url, tricky) == []
    assert rows(url, "SELECT 1 FROM pg_stats WHERE tablename = 'medical_workers'") == []
    assert refusal(url, "SET LOCAL row_security = off; SELECT email FROM medical_workers") == DENIED
    join = "SELECT count(*) FROM institutions JOIN medical_workers ON institution_id = institutions.id"
    assert rows(url, join) == [(3,)]
    with connected(url) as connection, connection.cursor() as cursor:
        written = io.StringIO()
        cursor.copy_expert("COPY medical_workers (email) TO STDOUT", written)
        assert len(written.getvalue().splitlines()) == 3
        cursor.execute("SET search_path = pg_temp, pg_catalog, public")
        cursor.execute("SELECT count(*) FROM medical_workers")
        assert cursor.fetchone() == (3,)
        cursor.execute(
            "DO $$ BEGIN PERFORM 1 FROM medical_workers WHERE role = 'admin'; ASSERT NOT FOUND; END $$"
        )


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO medical_workers (email, name, role, institution_id) VALUES ('x@y.z', 'X', 'doctor', {other})",
        "INSERT INTO medical_workers (email, name, role) VALUES ('x@y.z', 'X', 'admin')",
        "INSERT INTO medical_workers (email, name, role, institution_id) VALUES ('x@y.z', 'X', 'admin', {own})",
        "UPDATE medical_workers SET role = 'admin' WHERE email LIKE 'nurse%'",
        "UPDATE medical_workers SET role = 'data_scientist' WHERE email LIKE 'nurse%'",
        "UPDATE medical_workers SET institution_id = {other} WHERE email LIKE 'nurse%'",
        "INSERT INTO sessions (id, worker_id, expires_at) VALUES (uuidv7(), {admin}, now() + interval '1 day')",
        "UPDATE sessions SET worker_id = {admin}",
        "INSERT INTO audit_events (action, outcome, institution_id) VALUES ('run_started', 'ok', {other})",
        "INSERT INTO audit_events (action, outcome, worker_id) VALUES ('run_started', 'ok', {admin})",
        "INSERT INTO one_time_links (worker_id, token_sha256, expires_at) VALUES ({admin}, 'x', now())",
        "INSERT INTO training_runs DEFAULT VALUES",
        "UPDATE model_versions SET status = 'champion'",
        "UPDATE institutions SET is_active = true",
        'SELECT "update" FROM site_results',
    ],
)
def test_an_institution_writes_nothing_in_anothers_name(consortium: Consortium, statement: str) -> None:
    actors = consortium.actors
    with consortium.central() as central:
        central.execute(
            text("INSERT INTO sessions (id, worker_id, expires_at) VALUES (uuidv7(), :id, now())"),
            {"id": actors["nurse"].worker_id},
        )
        central.commit()
    asked = statement.format(
        own=actors["doctor"].institution_id,
        other=actors["other_doctor"].institution_id,
        admin=actors["admin"].worker_id,
    )
    assert refusal(consortium.urls.central_of_sites[CODE], asked) == DENIED


def test_what_an_institution_changes_of_others_is_nothing(consortium: Consortium) -> None:
    with consortium.central() as central:
        for worker in consortium.workers.values():
            central.execute(
                text("INSERT INTO sessions (id, worker_id, expires_at) VALUES (uuidv7(), :id, now())"),
                {"id": worker.id},
            )
        central.commit()
    with (
        connected(consortium.urls.central_of_sites[CODE]) as connection,
        connection.cursor() as cursor,
    ):
        for statement, count in (
            ("UPDATE medical_workers SET failed_attempts = 0", 3),
            ("UPDATE sessions SET ended_at = now()", 3),
            ("SELECT 1 FROM sessions FOR UPDATE", 3),
        ):
            cursor.execute(statement)
            assert cursor.rowcount == count, statement


# --- limits --------------------------------------------------------------------------------------------------


@EACH_ROLE
def test_every_role_has_its_limits(databases: DatabaseUrls, role: str) -> None:
    url, limits = _url(databases, role), LIMITS[KINDS[role][1]]
    settings = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    seconds = (limits.statement, limits.lock, limits.idle_in_transaction)
    for setting, expected in zip(settings, seconds, strict=True):
        query = f"SELECT setting::int / 1000 FROM pg_settings WHERE name = '{setting}'"
        assert rows(url, query) == [(expected,)]
    assert rows(url, "SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user") == [
        (limits.connections,)
    ]
    owned = "SELECT 1 FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)"
    assert rows(url, owned) == []


@pytest.fixture
def hurried(consortium: Consortium, postgres_server: EmbeddedPostgres) -> Iterator[Consortium]:
    """The application's role with limits so short that a test can wait for them."""
    role = make_url(consortium.urls.app_central).username
    superuser = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    settings = {"statement_timeout": "60s", "idle_in_transaction_session_timeout": "300s"}
    with superuser.connect() as connection:
        for setting in settings:
            connection.exec_driver_sql(f"ALTER ROLE {role} SET {setting} = '300ms'")
        # A connection keeps the limits that it began with.
        engine_for(consortium.urls.app_central).dispose()
        yield consortium
        for setting, value in settings.items():
            connection.exec_driver_sql(f"ALTER ROLE {role} SET {setting} = '{value}'")
        engine_for(consortium.urls.app_central).dispose()
    superuser.dispose()


def test_a_statement_that_takes_too_long_is_ended_and_the_person_told(hurried: Consortium) -> None:
    with pytest.raises(CentralUnavailable), central_session() as central:
        central.execute(text("SELECT pg_sleep(20)"))
    assert refusal(hurried.urls.app_central, "SELECT pg_sleep(20)") == "57014"


def test_a_transaction_that_stands_idle_is_ended_and_its_locks_with_it(hurried: Consortium) -> None:
    with connected(hurried.urls.app_central) as idle, idle.cursor() as cursor:
        cursor.execute("UPDATE institutions SET name = name")
        with hurried.central() as other:
            other.execute(text("SET lock_timeout = '20s'"))
            other.execute(text("UPDATE institutions SET name = name"))
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
