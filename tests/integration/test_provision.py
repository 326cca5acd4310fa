"""Roles, databases and their passwords: made once, kept, and healed when the file is lost."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, make_url, text

from app.settings import PROJECT_ROOT
from db.embedded import EmbeddedPostgres
from db.migrate import migrate_environment
from db.provision import CREDENTIALS, DatabaseUrls, credentials, provision
from tests.kept_databases import WORKER

CODES = ("northeast", "southwest")
PREFIX = f"provisioned_{WORKER}_"
UNCHANGED = f"unchanged_{WORKER}_"


@pytest.fixture
def urls(postgres_server: EmbeddedPostgres) -> Iterator[DatabaseUrls]:
    """Databases that a test may change."""
    with _provisioned(postgres_server, PREFIX) as urls:
        yield urls


@pytest.fixture(scope="module")
def unchanged(postgres_server: EmbeddedPostgres) -> Iterator[DatabaseUrls]:
    """Databases for those that look at them only."""
    with _provisioned(postgres_server, UNCHANGED) as urls:
        yield urls


@contextmanager
def _provisioned(postgres_server: EmbeddedPostgres, prefix: str) -> Iterator[DatabaseUrls]:
    yield provision(postgres_server, CODES, prefix=prefix)
    engine = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in (f"{prefix}central", *(f"{prefix}site_{code}" for code in CODES)):
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        roles = text("SELECT rolname FROM pg_roles WHERE rolname LIKE :name")
        for name in connection.scalars(roles, {"name": f"%{prefix}%"}).all():
            connection.exec_driver_sql(f"DROP ROLE {name}")
    engine.dispose()


def _scalar(url: str, statement: str) -> object:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.scalar(text(statement))
    finally:
        engine.dispose()


def test_one_role_and_one_database_each(unchanged: DatabaseUrls) -> None:
    assert set(unchanged.sites) == set(CODES)
    for url in (unchanged.central, *unchanged.sites.values()):
        parsed = make_url(url)
        assert parsed.drivername == "postgresql+psycopg2"
        assert parsed.host == "127.0.0.1"
        assert parsed.username == parsed.database
        assert _scalar(url, "SELECT current_user") == parsed.username
        assert (
            _scalar(
                url,
                "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user",
            )
            is False
        )
    passwords = {make_url(url).password for url in (unchanged.central, *unchanged.sites.values())}
    assert len(passwords) == 3
    assert all(len(password or "") >= 32 for password in passwords)


def test_doing_it_again_gives_the_same_urls(
    postgres_server: EmbeddedPostgres, unchanged: DatabaseUrls
) -> None:
    assert provision(postgres_server, CODES, prefix=UNCHANGED) == unchanged


def test_the_credentials_file_is_for_its_owner_only(
    postgres_server: EmbeddedPostgres, unchanged: DatabaseUrls
) -> None:
    path = postgres_server.data_dir / CREDENTIALS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())[f"{UNCHANGED}central"] == make_url(unchanged.central).password


def test_a_lost_password_is_replaced_and_the_data_stay(
    postgres_server: EmbeddedPostgres, urls: DatabaseUrls
) -> None:
    engine = create_engine(urls.central)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO institutions (code, name) VALUES ('here', 'Still here')"))
    engine.dispose()
    with credentials(postgres_server.data_dir) as kept:  # tests beside this one add theirs
        del kept[f"{PREFIX}central"]
    fresh = provision(postgres_server, CODES, prefix=PREFIX)
    assert fresh.central != urls.central
    assert fresh.sites == urls.sites
    assert _scalar(fresh.central, "SELECT name FROM institutions") == "Still here"


def test_two_starts_at_once_agree(postgres_server: EmbeddedPostgres, unchanged: DatabaseUrls) -> None:
    script = (
        "import sys; from pathlib import Path; from db.embedded import EmbeddedPostgres; "
        "from db.provision import provision; "
        "print(provision(EmbeddedPostgres(Path(sys.argv[1])), sys.argv[3:], prefix=sys.argv[2]))"
    )
    command = [sys.executable, "-c", script, str(postgres_server.data_dir), UNCHANGED, *CODES]
    both = [subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [str(unchanged)] * 2


def test_the_databases_of_the_environment_are_migrated(
    urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the containers of a hub and of a site call before they start."""
    for url in (urls.central, urls.sites["northeast"]):
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
    for name in ("CENTRAL_{}DATABASE_URL", "SITE_{}DATABASE_URLS", "SITE_{}DATABASE_URL"):
        monkeypatch.delenv(name.format(""), raising=False)
        monkeypatch.delenv(name.format("OWNER_"), raising=False)
    assert migrate_environment() == []
    monkeypatch.setenv("CENTRAL_DATABASE_URL", urls.central)
    monkeypatch.setenv("SITE_DATABASE_URL", urls.sites["northeast"])
    monkeypatch.setenv("INSTITUTION", "northeast")
    assert migrate_environment() == ["central database", "site northeast"]
    assert _scalar(urls.central, "SELECT count(*) FROM training_runs") == 0
    assert _scalar(urls.sites["northeast"], "SELECT count(*) FROM patients") == 0
