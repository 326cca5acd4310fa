"""One supervisor leads; over a restart of the database it is the same one, unless another was faster."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from db.embedded import EmbeddedPostgres
from db.engines import engine_for, sessions_for
from db.federation import FederationStatus
from db.provision import DatabaseUrls
from fl.runtime import leadership
from fl.runtime.leadership import Leadership, LeadershipLost


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _leader(urls: DatabaseUrls, name: str) -> Leadership:
    return Leadership(engine_for(urls.app_central), name)


def _say(urls: DatabaseUrls, name: str) -> None:
    with sessions_for(urls.central)() as central, central.begin():
        central.merge(
            FederationStatus(id=1, state="up", runtime="warm", leader=name, bundle_sha256="0" * 64, sites={})
        )


def test_whoever_led_leads_again_after_a_restart(
    own_server: EmbeddedPostgres, own_databases: DatabaseUrls
) -> None:
    first, second = _leader(own_databases, "first"), _leader(own_databases, "second")
    assert first.take() and not second.take()
    _say(own_databases, "first")
    own_server.stop()
    starting = threading.Timer(0.5, own_server.start)
    starting.start()
    first.take_again(_wait)
    starting.join()
    first.keep()
    with pytest.raises(OperationalError):
        second.take()
    assert not second.take()
    first.let_go()
    assert second.take(), "a closed connection keeps no lock in the pool"
    second.let_go()


def test_a_lock_whose_connection_was_ended_is_taken_again(databases: DatabaseUrls) -> None:
    one = _leader(databases, "one")
    assert one.take()
    _say(databases, "one")
    with sessions_for(databases.app_central)() as central:
        central.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
                "WHERE locktype = 'advisory' AND datname = current_database()"
            )
        )
    one.take_again(_wait)
    one.keep()
    one.let_go()


def test_it_is_lost_to_another_who_leads_and_says_so(databases: DatabaseUrls) -> None:
    one, other = _leader(databases, "one"), _leader(databases, "other")
    assert other.take()
    _say(databases, "other")
    began = time.monotonic()
    with pytest.raises(LeadershipLost):
        one.take_again(_wait)
    assert time.monotonic() - began < 2
    other.let_go()
    one.let_go()


def test_a_lock_that_only_the_server_believes_in_is_waited_for(
    databases: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke, and the server has not noticed yet: nobody else leads."""
    one, gone = _leader(databases, "one"), _leader(databases, "one")
    assert gone.take()
    _say(databases, "one")
    threading.Timer(0.5, gone.let_go).start()
    one.take_again(_wait)
    one.let_go()
    monkeypatch.setattr(leadership, "PATIENCE_SECONDS", 0.5)
    assert gone.take()
    with pytest.raises(LeadershipLost):
        one.take_again(_wait)
    gone.let_go()


def test_a_stopping_process_waits_for_nothing(databases: DatabaseUrls) -> None:
    with pytest.raises(LeadershipLost):
        _leader(databases, "one").take_again(lambda _: True)
