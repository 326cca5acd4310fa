"""What keeps one institution's patients away from everybody else."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import OperationalError

from db.provision import DatabaseUrls


def _connect(url: str) -> None:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    finally:
        engine.dispose()


def _with_database_of(role_url: str, database_url: str) -> str:
    target = make_url(role_url).set(database=make_url(database_url).database)
    return target.render_as_string(hide_password=False)


def test_each_role_enters_its_own_database(databases: DatabaseUrls) -> None:
    for url in (databases.central, *databases.sites.values()):
        _connect(url)


@pytest.mark.parametrize("role", ["northeast", "northwest", "southeast", "southwest", "central"])
def test_no_role_enters_another_institutions_database(databases: DatabaseUrls, role: str) -> None:
    own = databases.central if role == "central" else databases.sites[role]
    for code, url in databases.sites.items():
        if code != role:
            with pytest.raises(OperationalError, match=r"no pg_hba\.conf entry|permission denied"):
                _connect(_with_database_of(own, url))


def test_no_site_role_enters_the_central_database(databases: DatabaseUrls) -> None:
    for url in databases.sites.values():
        with pytest.raises(OperationalError, match=r"no pg_hba\.conf entry|permission denied"):
            _connect(_with_database_of(url, databases.central))


def test_the_databases_themselves_admit_only_their_owner(databases: DatabaseUrls) -> None:
    """Without this the line in pg_hba.conf would be the only wall."""
    engine = create_engine(databases.central)
    names = [make_url(url).database for url in (databases.central, *databases.sites.values())]
    with engine.connect() as connection:
        for name in names:
            may_enter = connection.scalar(
                text("SELECT has_database_privilege(current_user, :name, 'CONNECT')"), {"name": name}
            )
            assert may_enter is (name == names[0])
    engine.dispose()


def test_a_wrong_password_is_refused(databases: DatabaseUrls) -> None:
    wrong = make_url(databases.central).set(password="guess").render_as_string(hide_password=False)
    with pytest.raises(OperationalError, match="password authentication failed"):
        _connect(wrong)


def test_the_central_database_has_no_patient_table_and_no_feature_column(databases: DatabaseUrls) -> None:
    engine = create_engine(databases.central)
    tables = inspect(engine).get_table_names()
    columns = {column["name"] for table in tables for column in inspect(engine).get_columns(table)}
    engine.dispose()
    assert not [table for table in tables if "patient" in table or "prediction" in table]
    assert not columns & {
        "age",
        "sex",
        "bmi",
        "children",
        "smoker",
        "insurance_cost",
        "first_name",
        "last_name",
    }
