"""A real PostgreSQL for every test that asks for one, with databases of its own for each test."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import numpy as np  # noqa: F401 - so that its threads are there to be limited
import pytest
from sqlalchemy import create_engine
from threadpoolctl import threadpool_limits

from app.settings import Settings, get_settings
from db.embedded import EmbeddedPostgres
from db.engines import engine_for
from db.provision import DatabaseUrls, provision
from tests import quick_passwords  # noqa: F401 - makes them quick
from tests.kept_databases import WORKER, KeptDatabases, names_of
from tests.log_search import SPOKEN, logs_below
from tests.open_folders import an_open_folder, quick_folder

INSTITUTION_CODES = ("northeast", "northwest", "southeast", "southwest")

threadpool_limits(1, user_api="blas")  # as the web process does
# Other work on the machine makes single examples slow; what counts is what they find.
hypothesis.settings.register_profile(
    "here", deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("here")

Statements = Callable[..., None]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "gate").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_log_names_anybody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After all tests of this process: none of the logs that they caused holds a person, a patient or a secret."""
    yield
    found = SPOKEN.found_in(logs_below(tmp_path_factory.getbasetemp()))
    assert not found, "\n".join(found)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One server for all xdist workers; the last one to leave stops and deletes it.

    Each worker holds a shared lock while it uses the server. The system frees it even for a killed worker.
    """
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    server = EmbeddedPostgres(_open_folder(folder))
    with (folder / "users").open("w") as users:
        with _alone(folder):
            fcntl.flock(users, fcntl.LOCK_SH)
            server.start()
            # Nothing here must survive a power cut, and without it clones are made in milliseconds.
            with _superuser(server) as execute:
                execute("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield server
        with _alone(folder):
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            found = SPOKEN.found_in(logs_below(server.data_dir))
            server.erase()
            shutil.rmtree(server.data_dir)
            assert not found, "\n".join(found)


def _open_folder(base: Path) -> Path:
    """Return a folder, the same for the same `base`, that the user of a server started by root may enter.

    pytest's own folder is closed to all others.
    """
    name = hashlib.sha256(str(base).encode()).hexdigest()[:12]
    folder = quick_folder() / f"fedcost-tests-{name}"
    folder.mkdir(mode=0o755, exist_ok=True)
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A fresh folder that every user may enter, for a test that starts a server of its own."""
    with an_open_folder() as folder:
        yield folder


@contextmanager
def _superuser(server: EmbeddedPostgres) -> Iterator[Statements]:
    engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:

            def execute(*statements: str) -> None:
                for statement in statements:
                    connection.exec_driver_sql(statement)

            yield execute
    finally:
        engine.dispose()


def _set_aside(server: EmbeddedPostgres, urls: DatabaseUrls, suffix: str) -> None:
    """Turn the present databases into templates."""
    with _superuser(server) as execute:
        for name in names_of(urls):
            execute(f"ALTER DATABASE {name} RENAME TO {name}{suffix}")


@pytest.fixture(scope="session")
def _migrated(postgres_server: EmbeddedPostgres) -> Iterator[KeptDatabases]:
    urls = provision(postgres_server, INSTITUTION_CODES, prefix=f"{WORKER}_")
    _set_aside(postgres_server, urls, "_migrated")
    kept = KeptDatabases(postgres_server, urls, "_migrated")
    yield kept
    kept.drop()


@pytest.fixture(scope="session")
def _demo(postgres_server: EmbeddedPostgres) -> Iterator[KeptDatabases]:
    from app.demo import seed_demo

    urls = provision(postgres_server, INSTITUTION_CODES, prefix=f"{WORKER}_seeded_")
    seed_demo(urls)
    for url in (urls.central, *urls.sites.values()):
        engine_for(url).dispose()
    _set_aside(postgres_server, urls, "_template")
    kept = KeptDatabases(postgres_server, urls, "_template")
    yield kept
    kept.drop()


@pytest.fixture
def databases(_migrated: KeptDatabases) -> Iterator[DatabaseUrls]:
    """A central database and four site databases, migrated and empty."""
    yield _migrated.urls
    _migrated.reset()


@pytest.fixture
def demo_databases(_demo: KeptDatabases) -> Iterator[DatabaseUrls]:
    """The same with the demonstration consortium: institutions, workers and generated patients."""
    yield _demo.urls
    _demo.reset()


@pytest.fixture
def settings(
    demo_databases: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """The settings of a demo web process over `demo_databases`, without a federation."""
    environment = {
        "HOST": "127.0.0.1",
        "DEMO_MODE": "true",
        "FEDERATION": "false",
        "DATA_DIR": str(tmp_path),
        "CENTRAL_DATABASE_URL": demo_databases.app_central,
        "SITE_DATABASE_URLS": json.dumps(demo_databases.app_sites),
        "JWT_SECRET": "a secret for tests that nobody else uses",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()
