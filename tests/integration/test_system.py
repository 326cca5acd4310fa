"""The System page and its route: counts that are written down, faults by reference, and what is wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text

from app import measures, operations_record
from app.databases import central_session
from app.log_privacy import log_fault
from app.measures import REQUEST_BUCKETS, Minute, MinuteCounts
from app.operations_record import OperationsRecord
from app.services import operations, system
from app.services.operations import quantile
from db.central import AuditEvent
from db.engines import engine_for
from db.federation import FederationStatus, SitePresence
from db.operations import Fault, RequestMinute
from tests.integration.page_scripts import opened, words
from tests.integration.test_logs_served import served

A_MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def counted_from_zero(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Counts of other tests are none of ours."""
    counts = MinuteCounts()
    monkeypatch.setattr(measures, "MINUTES", counts)
    monkeypatch.setattr(operations_record, "MINUTES", counts)
    measures.SEEN_FAULTS.clear()
    yield
    measures.SEEN_FAULTS.clear()


def _ask(requests: int, status: int = 200, seconds: float = 0.02) -> None:
    for _ in range(requests):
        measures.request_answered(method="GET", route="/api/patients", status=status, seconds=seconds)


def _recent() -> operations.Interval:
    with central_session() as central:
        found = operations.total(central=central, since=timedelta(minutes=5))
    assert found is not None
    return found


def test_counts_of_several_processes_add_up_and_said_twice_count_once(consortium: Any) -> None:
    _ask(90)
    _ask(4, status=404)
    _ask(6, status=500, seconds=0.3)
    taken = measures.MINUTES.taken()
    with central_session() as central:
        for process in ("one", "one", "other"):
            operations.write_minutes(central=central, minutes=taken, process=process)
    found = _recent()
    assert (found.requests, found.client_errors, found.server_errors) == (200, 8, 12)
    assert found.error_share == 0.06
    assert found.request_p50 is not None and 0.01 < found.request_p50 < 0.025
    assert found.request_p95 is not None and 0.25 < found.request_p95 < 0.5


def test_what_was_counted_is_written_once_and_goes_on_within_the_minute(consortium: Any) -> None:
    record = OperationsRecord()
    _ask(3)
    assert record.write()
    _ask(2)
    with measures.prediction_timed():
        pass
    measures.batch_predicted(10)
    assert record.write()
    assert record.write()
    found = _recent()
    assert (found.requests, found.predictions) == (5, 11)


def test_minutes_that_are_over_and_written_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = measures.MINUTES
    for minutes in (3, 2, 1):
        monkeypatch.setattr(measures.time, "time", lambda minutes=minutes: 600.0 - 60 * minutes)
        _ask(1)
    taken = counts.taken()
    monkeypatch.setattr(measures.time, "time", lambda: 480.0)
    _ask(1)  # counted while the others were written
    counts.written(taken)
    assert [len(taken), len(counts.taken())] == [3, 2]
    for later in range(100):
        monkeypatch.setattr(measures.time, "time", lambda later=later: 6000.0 + 60 * later)
        _ask(1)
    counts.forget_old()
    assert len(counts.taken()) == measures.KEPT_MINUTES


def test_a_role_that_may_not_write_is_told_once_and_nothing_is_held_up(
    consortium: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with engine_for(consortium.urls.central).begin() as connection:
        connection.execute(text("ALTER TABLE request_minutes RENAME TO elsewhere"))
    record = OperationsRecord()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            _ask(1)
            assert not record.write()
    assert [line.getMessage() for line in caplog.records] == [
        "counts of requests are not written down for now: ProgrammingError"
    ]
    with engine_for(consortium.urls.central).begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO request_minutes"))
    assert record.write()
    assert _recent().requests == 3


def test_a_mistake_is_kept_by_its_reference_and_without_its_text(consortium: Any) -> None:
    name = "Love" + "lace"
    try:
        raise RuntimeError(f"Failing row contains ({name})")
    except RuntimeError as error:
        reference = log_fault(logging.getLogger("here"), error, at="/api/patients")
        assert log_fault(logging.getLogger("further out"), error, at="a page") == reference
    assert OperationsRecord().write()
    with central_session() as central:
        [fault] = central.scalars(select(Fault)).all()
        assert operations.last_fault(central=central) == fault
    assert (fault.reference, fault.place, fault.kind) == (reference, "/api/patients", "RuntimeError")
    assert name not in str(vars(fault))
    assert not measures.SEEN_FAULTS


def test_counts_of_more_than_thirty_days_are_swept(consortium: Any) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with central_session() as central:
        minutes = {now - timedelta(days=days): Minute(requests=days) for days in (1, 29, 31)}
        operations.write_minutes(central=central, minutes=minutes)
        operations.sweep_minutes(central=central)
        assert central.scalar(select(func.sum(RequestMinute.requests))) == 30


def test_the_history_is_by_stretches_of_time(consortium: Any) -> None:
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    minutes = {begin + timedelta(minutes=m): Minute(requests=1) for m in (0, 29, 30, 61)}
    with central_session() as central:
        operations.write_minutes(central=central, minutes=minutes)
        found = operations.history(central=central, since=timedelta(hours=24), step=timedelta(minutes=30))
    assert [(each.begin, each.requests) for each in found] == [
        (begin, 2),
        (begin + timedelta(minutes=30), 1),
        (begin + timedelta(minutes=60), 1),
    ]
    assert all(each.request_p50 is None for each in found)


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([0] * 11, 0.5, None),
        ([10, *[0] * 10], 0.5, 0.0025),
        ([0, 10, *[0] * 9], 0.9, 0.0095),
        ([*[0] * 10, 5], 0.5, 5.0),
        ([1, 2], 0.5, None),
    ],
)
def test_a_quantile_is_read_from_the_buckets(counts: list[int], share: float, expected: float | None) -> None:
    found = quantile(share, REQUEST_BUCKETS, counts)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.fixture
def healthy(consortium: Any) -> Any:
    """A consortium whose federation is up and whose hospitals have just answered."""
    with consortium.central() as central:
        now = datetime.now(UTC)
        central.add(
            FederationStatus(
                state="up", runtime="warm", leader="hub:7", sites={"northeast": {"state": "connected"}}
            )
        )
        central.add(
            SitePresence(
                institution_id=consortium.actors["doctor"].institution_id,
                flwr_node_id="1",
                online_since=now - timedelta(hours=1),
                last_seen_at=now,
                usable_rows=100,
                new_rows=0,
                software_version="0.1.0",
                bundle_sha256="a" * 64,
                consent="open",
            )
        )
        central.commit()
    return consortium


def _findings(consortium: Any) -> list[str]:
    with central_session() as central:
        view = system.system_view(central=central, actor=consortium.actors["admin"])
    # Whether a backup was made is another's business.
    return [finding.rule for finding in view.findings if finding.rule not in ("backup", "disk")]


def test_everything_works_until_something_does_not(healthy: Any) -> None:
    assert _findings(healthy) == []
    with healthy.central() as central:
        central.execute(text("UPDATE federation_status SET heartbeat_at = now() - interval '40 seconds'"))
        central.execute(text("UPDATE site_presence SET last_seen_at = now() - interval '2 hours'"))
        central.add_all([AuditEvent(action="sign_in", outcome="refused", details={}) for _ in range(25)])
        central.commit()
    _ask(100, status=500)
    assert OperationsRecord().write()
    assert _findings(healthy) == ["supervisor_silent", "error_rate", "site_silent", "sign_ins"]


def test_an_old_schema_is_found_and_takes_the_process_out_of_the_balance(
    healthy: Any, api: TestClient
) -> None:
    assert api.get("/ready").json() == {"status": "ready", "database": "up", "schema_current": True}
    with healthy.central() as central:
        central.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        central.commit()
    assert _findings(healthy) == ["migrations"]
    answer = api.get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")


def test_the_route_answers_the_administrator_and_nobody_else(
    healthy: Any, api: TestClient, token_of: Callable[[str], dict[str, str]], add_run: Callable[..., int]
) -> None:
    add_run("completed", rounds=1, excluded={"northwest": "Too few rows."})
    _ask(5)
    assert OperationsRecord().write()
    answer = api.get("/system", headers=token_of("admin"))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["database"]["version"].startswith("18.")
    assert body["database"]["revision"] == body["database"]["expected_revision"]
    assert body["supervisor"]["leader"] == "hub:7"
    assert body["recent"]["requests"] == 5
    assert {each["name"]: each["version"] for each in body["versions"]}["TensorFlow"].startswith("2.")
    took_part = {each["name"]: each for each in body["participation"]}
    assert took_part["Northeast Hospital"]["ok"] == took_part["Northeast Hospital"]["asked"] > 0
    assert took_part["Northwest Hospital"]["excluded"] > 0
    for person in ("scientist", "doctor", "manager"):
        assert api.get("/system", headers=token_of(person)).status_code == 403


def test_the_page_is_calm_when_all_is_well_and_says_what_to_do_when_not(healthy: Any) -> None:
    with healthy.central() as central:
        central.execute(text("UPDATE federation_status SET heartbeat_at = now()"))
        central.commit()
    app = opened(healthy, "admin").run()
    app = app.switch_page("../pages/system.py").run()
    assert not app.exception
    said = words(app)
    assert "Everything works." in said or "backup" in said.lower()
    assert "Nothing was counted yet" in said
    assert "No run has asked a hospital yet." in said
    labels = [figure.label for figure in app.metric]
    assert labels[:2] == ["Database", "Federation"]
    assert "Last error" in labels
    with healthy.central() as central:
        central.execute(text("UPDATE federation_status SET heartbeat_at = now() - interval '50 seconds'"))
        central.commit()
    _ask(3)
    OperationsRecord().write()
    app.run()
    said = words(app)
    assert "The supervisor of the federation has been silent for" in said
    assert "See logs/supervisor.log" in said
    assert "Nothing was counted yet" not in said


def test_a_served_application_writes_its_counts_down_when_it_ends(consortium: Any, tmp_path: Path) -> None:
    with served(tmp_path) as client:
        for _ in range(7):
            assert client.get("/api/ready").status_code == 200
    assert _recent().requests >= 7
