"""The commands that make the roles of a server of one's own, and data folders that earlier versions made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from db.embedded import EmbeddedPostgres
from db.migrate import migrate_environment
from db.provision import provision_all
from db.roles import RolesRefused, make_roles
from tests.integration.as_roles import DENIED, refusal, rows

CODE = "northeast"


@pytest.fixture
def own_names(postgres_server: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    """An environment as `docs/operations.md` tells an operator to write it."""
    server = make_url(postgres_server.url())

    def url(role: str, database: str, letters: str = 'it\'s 100% \\ "odd"') -> str:
        return server.set(username=role, password=letters, database=database).render_as_string(
            hide_password=False
        )

    central, site = "mine_central", "mine_site"
    yield {
        "ADMIN_DATABASE_URL": postgres_server.url(),
        "CENTRAL_OWNER_DATABASE_URL": url(central, central),
        "CENTRAL_DATABASE_URL": url(f"app_{central}", central),
        "CENTRAL_SITE_DATABASE_URLS": f'{{"x": "{url(central + "_x", central, "plain")}"}}',
        "SITE_OWNER_DATABASE_URLS": f'{{"x": "{url(site, site, "plain")}"}}',
        "SITE_DATABASE_URLS": f'{{"x": "{url("app_" + site, site, "plain")}"}}',
        "SITE_TRAIN_DATABASE_URLS": f'{{"x": "{url("train_" + site, site, "plain")}"}}',
    }
    superuser = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with superuser.connect() as connection:
        for database in (central, site):
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        roles = text("SELECT rolname FROM pg_roles WHERE rolname ~ '^((app|train|sites)_)?mine_'")
        for role in connection.scalars(roles).all():
            connection.exec_driver_sql(f"DROP ROLE {role}")
    superuser.dispose()


def test_the_commands_make_roles_on_a_server_of_ones_own(
    own_names: dict[str, str], postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_roles(own_names)
    assert made == [
        *(
            "mine_central",
            "mine_site",
            "app_mine_central",
            "app_mine_site",
            "train_mine_site",
            "mine_central_x",
        )
    ]
    assert make_roles(own_names) == made
    for name, value in own_names.items():
        monkeypatch.setenv(name, value)
    assert migrate_environment() == ["central database", "site x"]
    rules = postgres_server.data_dir / "postgres" / "cluster" / "pg_hba.conf"
    assert "samerole" in rules.read_text(), "elsewhere CONNECT alone decides; here this line does, too"
    with create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT").connect() as superuser:
        query = text(
            "SELECT has_database_privilege(role, 'mine_central', 'CONNECT'), "
            "has_database_privilege(role, 'mine_site', 'CONNECT') FROM unnest(cast(:roles AS text[])) AS role"
        )
        may_enter = superuser.execute(query, {"roles": made}).all()
    assert [tuple(row) for row in may_enter] == [
        *((True, False), (False, True), (True, False), (False, True), (False, True), (True, False))
    ]
    superuser_there = make_url(postgres_server.url("mine_central")).render_as_string(hide_password=False)
    policies = "SELECT count(*) FROM pg_policy WHERE polname = 'own_rows'"
    assert rows(superuser_there, policies) == rows(superuser_there, policies.replace("own_rows", "all_rows"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ADMIN_DATABASE_URL": ""}, "Set ADMIN_DATABASE_URL"),
        (
            {"CENTRAL_OWNER_DATABASE_URL": "", "SITE_OWNER_DATABASE_URLS": ""},
            "Set CENTRAL_OWNER_DATABASE_URL",
        ),
        ({"CENTRAL_DATABASE_URL": "postgresql://me:x@h/mine_central"}, "is called app_mine_central, not me"),
        ({"CENTRAL_DATABASE_URL": "postgresql://app_mine_central@h/mine_central"}, "its password"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(
    own_names: dict[str, str], changes: dict[str, str], words: str
) -> None:
    with pytest.raises(RolesRefused, match=words):
        make_roles({**own_names, **changes})


def test_a_data_folder_of_an_earlier_version_is_brought_up_to_date(open_folder: Path) -> None:
    server = EmbeddedPostgres(open_folder / "data")
    server.start()
    try:
        rules = next(server.data_dir.rglob("pg_hba.conf"))
        rules.write_text(
            "host all postgres 127.0.0.1/32 scram-sha-256\nhost sameuser all 127.0.0.1/32 scram-sha-256\n"
        )
        with create_engine(server.url(), isolation_level="AUTOCOMMIT").connect() as superuser:
            superuser.exec_driver_sql("SELECT pg_reload_conf()")
            superuser.exec_driver_sql("CREATE ROLE central LOGIN PASSWORD 'old'")
            superuser.exec_driver_sql("CREATE DATABASE central OWNER central")
        server.start()  # adopts the running server, as after a killed launcher
        urls = provision_all(server, (CODE,))
        for url in (
            urls.app_central,
            urls.app_sites[CODE],
            urls.train_sites[CODE],
            urls.central_of_sites[CODE],
        ):
            assert rows(url, "SELECT current_user::text") == [(make_url(url).username,)]
        assert refusal(urls.app_central, "DELETE FROM audit_events") == DENIED
        assert provision_all(server, (CODE,)) == urls
    finally:
        server.erase()
