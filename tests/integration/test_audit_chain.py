"""The chain of hashes over the audit trails: every way of tampering is found, and the first wrong event is named."""

from __future__ import annotations

import datetime
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis
import hypothesis.strategies as st
import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm import Session

from app.housekeeping import seal_trails
from app.services import audit, audit_chain
from app.services.access import record_access
from app.services.audit_chain import (
    ChainBroken,
    ChainHead,
    Trail,
    chain_head,
    chain_state,
    seal,
    verify_and_record,
)
from app.verify_audit import main
from db.audit_trail import CHAIN_APPEND_ONLY
from db.embedded import EmbeddedPostgres
from tests.integration.conftest import Consortium

TABLE = {"central": "audit_events", "site": "access_events"}
INSERT = {
    "central": "INSERT INTO audit_events (action, outcome, target) SELECT 'run_started', 'ok', 'run ' || n "
    "FROM generate_series(1, 10) n",
    "site": "INSERT INTO access_events (action, worker_id, patient_id) SELECT 'patient_read', 7, uuidv7() "
    "FROM generate_series(1, 10) n",
}
AS_SUPERUSER = "SET session_replication_role = replica"  # no trigger stops whoever administers the server


@dataclass
class Chain:
    """One trail with ten sealed events, the owner of its tables, and an administrator of its server."""

    trail: Trail
    url: str
    superuser: Engine
    owner: Engine

    @property
    def table(self) -> str:
        return TABLE[self.trail]

    def sealed(self) -> int | None:
        with Session(create_engine(self.url)) as session:
            count = seal(session)
            session.commit()
            return count

    def add(self, statement: str | None = None) -> None:
        with create_engine(self.url).begin() as connection:
            connection.execute(text(statement or INSERT[self.trail]))

    def tamper(self, *statements: str) -> None:
        with self.superuser.begin() as connection:
            for statement in (AS_SUPERUSER, *statements):
                connection.execute(text(statement))

    def verify(self, expected: ChainHead | None = None) -> ChainHead:
        with Session(create_engine(self.url)) as session:
            return verify_and_record(session, self.trail, expected=expected)


@pytest.fixture(params=["central", "site"])
def chain(
    consortium: Consortium, postgres_server: EmbeddedPostgres, request: pytest.FixtureRequest
) -> Iterator[Chain]:
    urls = consortium.urls
    url = urls.app_central if request.param == "central" else urls.app_sites["northeast"]
    superuser = create_engine(postgres_server.url(make_url(url).database or ""))
    owner = urls.central if request.param == "central" else urls.sites["northeast"]
    chain = Chain(request.param, url, superuser, create_engine(owner))
    chain.add()
    assert chain.sealed() == 10
    yield chain
    superuser.dispose()
    chain.owner.dispose()


def test_a_chain_that_nobody_touched_is_right_and_goes_on(chain: Chain) -> None:
    head = chain.verify()
    assert head.position == 10
    chain.add()
    assert chain.sealed() == 10
    assert chain.sealed() == 0
    assert chain.verify(expected=head).position == 20


@pytest.mark.parametrize(
    ("tampering", "named"),
    [
        (["UPDATE {table} SET action = 'nothing' WHERE id = 4"], "Event 4 .*changed"),
        (["UPDATE {table} SET details = '{{\"a\": 1}}' WHERE id = 4"], "Event 4 .*changed"),
        (
            ["UPDATE {table} SET occurred_at = occurred_at - interval '1 us' WHERE id = 4"],
            "Event 4 .*changed",
        ),
        (["UPDATE {table} SET worker_id = 8 WHERE id = 4"], "Event 4 .*changed"),
        (["UPDATE {table} SET outcome = 'failed' WHERE id = 4"], "Event 4 .*changed"),
        (
            ["UPDATE audit_seals SET sealed_at = now() - interval '1 year' WHERE position = 4"],
            "Event 4 .*changed",
        ),
        (["DELETE FROM {table} WHERE id = 4"], "Event 4, sealed at position 4, was deleted"),
        (
            ["DELETE FROM {table} WHERE id = 4", "DELETE FROM audit_seals WHERE position = 4"],
            "before event 5",
        ),
        (
            [
                "DELETE FROM {table} WHERE id = 4",
                "DELETE FROM audit_seals WHERE position = 4",
                "UPDATE audit_seals SET position = position + 100 WHERE position > 4",
                "UPDATE audit_seals SET position = position - 101 WHERE position > 100",
            ],
            "Event 5, at position 4, does not follow",
        ),
        (
            [
                "UPDATE audit_seals SET position = position + 100 WHERE position >= 4",
                "UPDATE audit_seals SET position = position - 99 WHERE position > 100",
                "INSERT INTO {table} (id, action, outcome) VALUES (99, 'run_started', 'ok')",
                "INSERT INTO audit_seals SELECT 4, 99, now(), sha256, sha256('x') FROM audit_seals WHERE position = 3",
            ],
            "Event 99 .*not what was sealed at position 4",
        ),
        (
            [
                "UPDATE audit_seals SET position = 100 WHERE position = 4",
                "UPDATE audit_seals SET position = 4 WHERE position = 6",
                "UPDATE audit_seals SET position = 6 WHERE position = 100",
            ],
            "Event 6 stands at position 4, where event 4 was sealed, which now stands at position 6",
        ),
        (
            [
                "UPDATE audit_seals SET event_id = 100 WHERE position = 4",
                "UPDATE audit_seals SET event_id = 4 WHERE position = 6",
                "UPDATE audit_seals SET event_id = 6 WHERE position = 4",
            ],
            "Event 6 .*put in the place of another",
        ),
        (
            ["INSERT INTO {table} (id, action, outcome) VALUES (99, 'run_started', 'ok')"],
            "Event 99 was inserted past the trail",
        ),
        (
            [
                "INSERT INTO audit_unsealed VALUES (99)",
            ],
            "Event 99 was deleted before it was sealed",
        ),
    ],
)
def test_whatever_was_tampered_with_is_named(chain: Chain, tampering: list[str], named: str) -> None:
    before = chain.verify()
    chain.tamper(*(statement.format(table=chain.table) for statement in tampering))
    with pytest.raises(ChainBroken, match=named):
        chain.verify()
    with Session(create_engine(chain.url)) as session:
        state = chain_state(session, chain.trail)
    assert state.problem is not None
    assert before.position == 10


def test_a_head_that_was_written_down_tells_of_a_chain_made_anew_and_of_an_end_cut_off(chain: Chain) -> None:
    head = chain.verify()
    everything = ["DELETE FROM audit_seals", f"UPDATE {chain.table} SET action = 'nothing' WHERE id = 10"]
    chain.tamper(*everything, f"INSERT INTO audit_unsealed SELECT id FROM {chain.table}")
    chain.sealed()
    chain.verify()
    with pytest.raises(ChainBroken, match=r"event 10.*made anew"):
        chain.verify(expected=head)
    chain.tamper("DELETE FROM audit_seals WHERE position = 10", f"DELETE FROM {chain.table} WHERE id = 10")
    chain.verify()
    with pytest.raises(ChainBroken, match="ends at position 9, but position 10"):
        chain.verify(expected=head)


@pytest.mark.parametrize("table", CHAIN_APPEND_ONLY)
@pytest.mark.parametrize(
    "change", ["UPDATE {table} SET sha256 = ''", "DELETE FROM {table}", "TRUNCATE {table}"]
)
def test_seals_are_written_once(chain: Chain, table: str, change: str) -> None:
    chain.verify()
    with pytest.raises(ProgrammingError, match="permission denied"):
        chain.add(change.format(table=table))
    with pytest.raises(IntegrityError, match="written once and never changed"), chain.owner.begin() as tables:
        tables.execute(text(change.format(table=table)))


def test_an_event_that_commits_late_is_sealed_late(chain: Chain) -> None:
    slow, quick = Session(create_engine(chain.url)), Session(create_engine(chain.url))
    slow.execute(text(INSERT[chain.trail]))
    quick.execute(text(INSERT[chain.trail]))
    quick.commit()
    assert chain.sealed() == 10
    slow.commit()
    assert chain.sealed() == 10
    chain.verify()
    with Session(create_engine(chain.url)) as session:
        ids = session.scalars(text("SELECT event_id FROM audit_seals ORDER BY position")).all()
    assert list(ids) == [*range(1, 11), *range(21, 31), *range(11, 21)]


def test_what_is_rolled_back_needs_no_seal(chain: Chain) -> None:
    with Session(create_engine(chain.url)) as session:
        session.execute(text(INSERT[chain.trail]))
        session.rollback()
    assert chain.sealed() == 0
    chain.verify()


def test_two_processes_seal_no_event_twice(chain: Chain) -> None:
    holder = Session(create_engine(chain.url))
    chain.add()
    assert seal(holder) == 10
    assert chain.sealed() is None  # the other one is still at it
    holder.commit()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                chain.add()
                chain.sealed()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    chain.sealed()
    assert chain.verify().position == 20 + 600


def test_the_settings_of_a_session_do_not_change_a_hash(chain: Chain) -> None:
    with Session(create_engine(chain.url)) as session:
        for setting in (
            "TimeZone = 'Asia/Kathmandu'",
            "DateStyle = 'SQL, DMY'",
            "extra_float_digits = -3",
            "bytea_output = 'escape'",
            "search_path = ''",
            "IntervalStyle = 'iso_8601'",
        ):
            session.execute(text(f"SET {setting}"))
        session.execute(text(INSERT[chain.trail].replace("INTO ", "INTO public.")))
        session.execute(text("SELECT public.seal_audit(100)"))
        session.commit()
    assert chain.verify().position == 20


@hypothesis.settings(max_examples=40, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    written=st.lists(
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40), min_size=1
    ),
    number=st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
)
def test_any_text_and_number_has_the_same_form_here_and_in_the_database(
    consortium: Consortium, written: list[str], number: float
) -> None:
    with consortium.central() as central:
        for word in written:
            audit.record(
                central=central,
                actor=None,
                action=word,
                target=word,
                address=word,
                details={word: [number, word]},
            )
        central.commit()
        seal(central)
        central.commit()
    with consortium.central() as central:
        verify_and_record(central, "central")


def test_housekeeping_seals_every_trail_and_outlives_one_that_is_silent(
    consortium: Consortium,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    postgres_server: EmbeddedPostgres,
) -> None:
    monkeypatch.setattr(audit_chain, "BATCH", 3)
    doctor = consortium.actors["doctor"]
    with consortium.central() as central, consortium.site("southwest") as site:
        for _ in range(7):
            audit.record(central=central, actor=doctor, action="sign_out")
            record_access(site, doctor, "patients_listed")
        central.commit()
        site.commit()
    name = make_url(consortium.urls.sites["northwest"]).database
    superuser = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    silent: set[str] = set()
    with superuser.connect() as connection, caplog.at_level(logging.WARNING):
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(
            text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        )
        try:
            seal_trails(silent)
            seal_trails(silent)
        finally:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    superuser.dispose()
    assert silent == {"northwest"}
    assert len([record for record in caplog.records if "northwest" in record.getMessage()]) == 1
    for session in (consortium.central(), consortium.site("southwest")):
        with session:
            assert chain_head(session).position == 7
    seal_trails(silent)
    assert not silent


def test_the_command_verifies_every_trail_and_compares_with_a_head(
    consortium: Consortium, capsys: pytest.CaptureFixture[str], postgres_server: EmbeddedPostgres
) -> None:
    with consortium.central() as central:
        audit.record(central=central, actor=consortium.actors["admin"], action="sign_out")
        central.commit()
    seal_trails(set())
    environment = {
        "CENTRAL_DATABASE_URL": consortium.urls.app_central,
        "SITE_DATABASE_URLS": json.dumps(consortium.urls.app_sites),
    }
    assert main(environment) == 0
    said = capsys.readouterr().out
    assert [line.partition(":")[0] for line in said.splitlines()[:5]] == [
        "central",
        *sorted(consortium.urls.sites),
    ]
    with consortium.central() as central:
        head = chain_head(central)
    assert f"position 1 is as it was recorded. Head {head}" in said
    assert main({**environment, "HEAD": str(head)}) == 0
    assert main({**environment, "HEAD": f"1:{'0' * 64}"}) == 1
    assert "central: NOT as it was recorded." in capsys.readouterr().out
    assert main({**environment, "HEAD": f"1:{'0' * 64}", "TRAIL": "northeast"}) == 1
    assert main({**environment, "HEAD": "nonsense"}) == 2
    assert main({**environment, "TRAIL": "elsewhere"}) == 2


def test_the_time_of_a_seal_is_that_of_the_sealing(chain: Chain) -> None:
    with Session(create_engine(chain.url)) as session:
        head = chain_head(session)
    assert head.sealed_at is not None
    assert (
        datetime.timedelta(0)
        <= datetime.datetime.now(datetime.UTC) - head.sealed_at
        < datetime.timedelta(minutes=1)
    )
