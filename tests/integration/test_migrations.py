"""The migrated schema is the one that the models describe, and the database itself holds its rules."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase

import db.accounts
import db.audit_trail
import db.federation
import db.idempotency
import db.operations
import db.supernode_keys  # noqa: F401 - their tables belong to the metadata
from db.central import CENTRAL_APPEND_ONLY, CentralBase
from db.granting import grant_privileges, present_grants
from db.migrate import migrate_central, migrate_site
from db.privileges import ROLES_OF, TABLES, DatabaseKind, read_privileges, role_name, wanted_grants
from db.provision import DatabaseUrls
from db.site import PATIENT_NAME_SQL, PRESENT_SQL, SITE_APPEND_ONLY, SiteBase

A_PATIENT = (
    "INSERT INTO patients (first_name, last_name, age, sex, bmi, children, smoker, region) "
    "VALUES ('Ada', 'Byron', 36, 'female', 24.5, 3, 'no', 'northeast')"
)
A_RUN = (
    "INSERT INTO training_runs (idempotency_key, status, num_rounds, strategy, settings, seed) "
    "VALUES ('{key}', '{status}', 3, 'fedavg', '{{}}', 1)"
)
A_VERSION = (
    "INSERT INTO model_versions (version, status, model_path, run_id, training_round, preprocessing, weights, "
    "  weights_sha256, num_examples, metrics) "
    "SELECT '{version}', '{status}', 'v', id, 1, '{{}}', '', '', 1, '{{}}' FROM training_runs LIMIT 1"
)
ONE_EVENT = {
    "audit_events": "INSERT INTO audit_events (action, outcome) VALUES ('sign_in', 'ok')",
    "access_events": "INSERT INTO access_events (worker_id, action) VALUES (1, 'patient_read')",
    "promotions": (
        "INSERT INTO promotions (model_version_id, action, reason) "
        "SELECT id, 'promote', 'first model' FROM model_versions LIMIT 1"
    ),
}

# Columns, constraints and indexes, each as PostgreSQL itself spells it.
SCHEMA = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}


@pytest.fixture
def central(databases: DatabaseUrls) -> Iterator[Engine]:
    engine = create_engine(databases.central)
    yield engine
    engine.dispose()


@pytest.fixture
def site(databases: DatabaseUrls) -> Iterator[Engine]:
    engine = create_engine(databases.sites["northeast"])
    yield engine
    engine.dispose()


def _schema(engine: Engine) -> dict[str, set[tuple[object, ...]]]:
    with engine.connect() as connection:
        return {
            part: {tuple(row) for row in connection.execute(text(query)) if row[0] != "alembic_version"}
            for part, query in SCHEMA.items()
        }


def _run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.parametrize(("which", "base"), [("central", CentralBase), ("site", SiteBase)])
def test_the_migrated_schema_equals_the_models(
    request: pytest.FixtureRequest, which: str, base: type[DeclarativeBase]
) -> None:
    engine: Engine = request.getfixturevalue(which)
    with engine.connect() as connection, warnings.catch_warnings():
        # Alembic says that it cannot compare the expression of the trigram index; the comparison below can.
        warnings.filterwarnings("ignore", message="Expression #1", category=UserWarning)
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, base.metadata) == []
    migrated = _schema(engine)
    assert all(migrated.values())
    _run(engine, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    if which == "site":
        _run(engine, "CREATE EXTENSION pg_trgm")
    base.metadata.create_all(engine)
    assert _schema(engine) == migrated


def test_migrating_again_changes_nothing(databases: DatabaseUrls, central: Engine, site: Engine) -> None:
    before = _schema(central), _schema(site)
    migrate_central(databases.central)
    migrate_site(databases.sites["northeast"])
    assert (_schema(central), _schema(site)) == before


@pytest.mark.parametrize(("kind", "base"), [("central", CentralBase), ("site", SiteBase)])
def test_what_each_role_may_do_with_each_table_is_written_down_and_no_more_is_allowed(
    request: pytest.FixtureRequest, kind: DatabaseKind, base: type[DeclarativeBase]
) -> None:
    assert set(TABLES[kind]) == {*base.metadata.tables, "alembic_version"}
    engine: Engine = request.getfixturevalue(kind)
    database = str(engine.url.database)
    with engine.connect() as connection:
        roles = [role_name(role, database) for role in ROLES_OF[kind]]
        assert present_grants(connection, roles) == wanted_grants(kind, database)
        assert grant_privileges(connection, kind) == [], "nothing is left to do"


def test_privileges_that_somebody_changed_are_put_right_by_the_next_start(
    databases: DatabaseUrls, site: Engine
) -> None:
    role = f"app_{site.url.database}"
    _run(
        site,
        f"GRANT DELETE, TRUNCATE ON access_events TO {role}",
        f"REVOKE SELECT ON patients FROM {role}",
        "GRANT SELECT ON patients TO PUBLIC",
        "CREATE FUNCTION everybodys() RETURNS int LANGUAGE sql RETURN 1",
    )
    migrate_site(databases.sites["northeast"])
    with site.connect() as connection:
        present = present_grants(connection, [role])
        assert present == {
            grant for grant in wanted_grants("site", str(site.url.database)) if grant.role == role
        }


def test_no_role_may_change_a_row_that_is_written_once() -> None:
    for table in (*CENTRAL_APPEND_ONLY, *SITE_APPEND_ONLY):
        kind: DatabaseKind = "central" if table in CENTRAL_APPEND_ONLY else "site"
        for text_ in TABLES[kind][table].values():
            assert {privilege for privilege, _ in read_privileges(text_)} <= {"SELECT", "INSERT"}, table


@pytest.mark.parametrize("wrong", ["", "SELECT;", "ALL", "SELECT(id)", "SELECT, TRUNCATE", "select"])
def test_a_misspelt_privilege_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a list of privileges"):
        read_privileges(wrong)


@pytest.mark.parametrize("table", [*CENTRAL_APPEND_ONLY, *SITE_APPEND_ONLY])
@pytest.mark.parametrize(
    "change", ["UPDATE {table} SET action = action", "DELETE FROM {table}", "TRUNCATE {table}"]
)
def test_an_append_only_table_refuses_every_change(
    request: pytest.FixtureRequest, table: str, change: str
) -> None:
    engine: Engine = request.getfixturevalue("central" if table in CENTRAL_APPEND_ONLY else "site")
    if table == "promotions":
        _run(engine, A_RUN.format(key="a", status="training"))
        _run(engine, A_VERSION.format(version="v1", status="champion"))
    _run(engine, ONE_EVENT[table])
    with pytest.raises(IntegrityError, match="written once and never changed"):
        _run(engine, change.format(table=table))
    with engine.connect() as connection:
        assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 1


def test_only_one_run_is_under_way(central: Engine) -> None:
    _run(central, A_RUN.format(key="a", status="training"), A_RUN.format(key="b", status="queued"))
    with pytest.raises(IntegrityError, match="training_runs_one_running"):
        _run(central, A_RUN.format(key="c", status="starting"))


def test_only_one_version_is_champion(central: Engine) -> None:
    _run(central, A_RUN.format(key="a", status="training"))
    _run(central, A_VERSION.format(version="v1", status="champion"))
    _run(central, A_VERSION.format(version="v2", status="candidate"))
    with pytest.raises(IntegrityError, match="model_versions_one_champion"):
        _run(central, A_VERSION.format(version="v3", status="champion"))


def test_a_run_may_not_end_without_a_time_nor_fail_without_a_reason(central: Engine) -> None:
    with pytest.raises(IntegrityError, match="training_runs_ended_has_time"):
        _run(central, A_RUN.format(key="a", status="completed"))
    _run(central, A_RUN.format(key="b", status="training"))
    with pytest.raises(IntegrityError, match="training_runs_failed_has_reason"):
        _run(central, "UPDATE training_runs SET status = 'failed', finished_at = now()")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("age", "121"),
        ("sex", "'unknown'"),
        ("bmi", "9.9"),
        ("children", "-1"),
        ("smoker", "'?'"),
        ("region", "'north'"),
        ("insurance_cost", "-0.01"),
    ],
)
def test_a_patient_with_an_impossible_value_is_refused(site: Engine, column: str, value: str) -> None:
    _run(site, A_PATIENT)
    with pytest.raises(IntegrityError, match=f"patients_{column}"):
        _run(site, f"UPDATE patients SET {column} = {value}")


def test_a_search_by_part_of_a_name_uses_the_trigram_index(site: Engine) -> None:
    _run(
        site,
        "INSERT INTO patients (first_name, last_name, age, sex, bmi, children, smoker, region) "
        "SELECT md5(n::text), md5((-n)::text), 40, 'male', 27, 0, 'no', 'northwest' "
        "FROM generate_series(1, 20000) n",
        "SELECT gin_clean_pending_list('patients_name_trigram')",
        "ANALYZE patients",
    )
    with site.connect() as connection:
        query = text(
            f"EXPLAIN SELECT id FROM patients WHERE {PRESENT_SQL} AND {PATIENT_NAME_SQL} LIKE '%c4ca4238%'"
        )
        plan = "\n".join(row[0] for row in connection.execute(query))
    assert "patients_name_trigram" in plan
