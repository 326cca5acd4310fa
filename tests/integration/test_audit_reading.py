"""Each administrator reads the own trail: filtered, paged, exported, with the chain's state; nobody reads a name."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, make_url, select, text

from app.actor import Actor
from app.errors import InvalidInput, PermissionRefused
from app.housekeeping import seal_trails
from app.services import audit, audit_reading
from app.services.access import record_access
from app.services.audit_reading import AuditFilter
from app.services.audit_words import WORDS, action_words
from app.settings import PROJECT_ROOT
from db.central import AuditEvent
from db.site import AccessEvent
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, opened, words

PATIENT = uuid.uuid4()
LISTED = uuid.uuid4()


@pytest.fixture
def trails(consortium: Consortium) -> Consortium:
    """Some events in the central trail and in two hospitals'."""
    people = consortium.actors
    with consortium.central() as central:
        audit.record(central=central, actor=people["admin"], action="run_started", target="run 7")
        audit.record(central=central, actor=people["admin"], action="run_cancelled", target="run 7")
        audit.record(central=central, actor=people["nurse"], action="GET /triggers", outcome="refused")
        central.commit()
    with consortium.site("northeast") as site:
        for _ in range(5):
            record_access(site, people["doctor"], "patient_read", patient_id=PATIENT)
        record_access(site, people["nurse"], "patients_listed", details={"patient_ids": [str(LISTED)]})
        record_access(site, people["nurse"], "patient_read", patient_id=uuid.uuid4(), outcome="failed")
        site.commit()
    with consortium.site("southwest") as site:
        record_access(site, people["other_doctor"], "patients_exported")
        site.commit()
    return consortium


def _found(actor: Actor, filter: AuditFilter, **page: Any) -> list[str]:
    with audit_reading.trail_opened(actor) as trail:
        listed = audit_reading.list_events(trail, actor=actor, filter=filter, **page)
    return [event.action for event in listed.items]


def test_each_administrator_reads_the_own_trail(trails: Consortium) -> None:
    central = _found(trails.actors["admin"], AuditFilter())
    assert central == ["GET /triggers", "run_cancelled", "run_started"]
    assert _found(trails.actors["manager"], AuditFilter()) == [
        "patient_read",
        "patients_listed",
        *["patient_read"] * 5,
    ]
    for person in ("doctor", "nurse", "scientist"):
        with pytest.raises(PermissionRefused), audit_reading.trail_opened(trails.actors[person]):
            pass


def test_every_filter_of_the_central_trail(trails: Consortium) -> None:
    admin = trails.actors["admin"]
    today = datetime.now(UTC).date()
    for chosen, expected in (
        (AuditFilter(worker_id=trails.actors["nurse"].worker_id), ["GET /triggers"]),
        (AuditFilter(action="run_started"), ["run_started"]),
        (AuditFilter(outcome="refused"), ["GET /triggers"]),
        (AuditFilter(target="run 7"), ["run_cancelled", "run_started"]),
        (AuditFilter(institution="northeast"), ["GET /triggers"]),
        (AuditFilter(institution="nowhere"), []),
        (AuditFilter(address="192.0.2.1", action="run_started"), ["run_started"]),
        (AuditFilter(address="192.0.2.9"), []),
        (AuditFilter(request_id="none"), []),
        (AuditFilter(since=today, until=today), ["GET /triggers", "run_cancelled", "run_started"]),
        (AuditFilter(since=today + timedelta(days=1)), []),
        (AuditFilter(until=today - timedelta(days=1)), []),
    ):
        assert _found(admin, chosen) == expected, chosen
    for wrong in (AuditFilter(zone="Nowhere/Land"), AuditFilter(outcome="?"), AuditFilter(action="\x00")):
        with pytest.raises(InvalidInput):
            _found(admin, wrong)


def test_a_hospital_finds_who_saw_a_patient_also_in_a_list(trails: Consortium) -> None:
    manager = trails.actors["manager"]
    assert _found(manager, AuditFilter(target=str(PATIENT))) == ["patient_read"] * 5
    assert _found(manager, AuditFilter(target=str(LISTED))) == ["patients_listed"]
    with pytest.raises(InvalidInput, match="UUID"):
        _found(manager, AuditFilter(target="Lovelace"))


def test_pages_go_both_ways_and_new_events_move_nothing(trails: Consortium) -> None:
    manager = trails.actors["manager"]
    with audit_reading.trail_opened(manager) as trail:
        first = audit_reading.list_events(trail, actor=manager, limit=3)
        record_access(trail.session, manager, "patients_counted")
        trail.session.flush()
        second = audit_reading.list_events(trail, actor=manager, limit=3, cursor=first.next_cursor)
        again = audit_reading.list_events(trail, actor=manager, limit=3, cursor=second.previous_cursor)
        assert [event.id for event in second.items] == [event.id - 3 for event in first.items]
        assert again.items == first.items
        for cursor in ("x", "-1", "9" * 30):
            with pytest.raises(InvalidInput):
                audit_reading.list_events(trail, actor=manager, cursor=cursor)


def test_an_export_holds_what_the_filter_names_and_is_an_event_itself(trails: Consortium) -> None:
    for person, table, action in (
        ("admin", AuditEvent, "run_started"),
        ("manager", AccessEvent, "patient_read"),
    ):
        actor = trails.actors[person]
        with audit_reading.trail_opened(actor) as trail:
            events = list(
                audit_reading.events_for_export(trail, actor=actor, filter=AuditFilter(action=action))
            )
            last = trail.session.scalars(select(table).order_by(table.id.desc()).limit(1)).one()
        assert {event.action for event in events} == {action}
        assert (last.action, last.worker_id) == ("audit_exported", actor.worker_id)
        assert last.details == {"count": len(events), "filters": ["action"]}


def test_verifying_records_what_it_found(trails: Consortium) -> None:
    seal_trails(set())
    manager = trails.actors["manager"]
    assert audit_reading.verify_trail(manager).position == 7
    with audit_reading.trail_opened(manager) as trail:
        state = audit_reading.trail_state(trail, actor=manager)
        assert (state.verified_position, state.problem, state.waiting) == (7, None, 1)
        assert audit_reading.list_events(trail, actor=manager).items[0].action == "audit_verified"


def test_over_the_api(trails: Consortium, api: TestClient, token_of: Callable[[str], dict[str, str]]) -> None:
    seal_trails(set())
    headers = token_of("manager")
    answer = api.get("/audit?action=patient_read&limit=2", headers=headers).json()
    assert [event["action"] for event in answer["items"]] == ["patient_read"] * 2
    assert answer["items"][0]["outcome"] == "failed"
    assert answer["items"][0]["sealed"] == 7
    assert api.get(f"/audit?cursor={answer['next_cursor']}", headers=headers).status_code == 200
    for wrong in (
        "outcome=maybe",
        "zone=Nowhere",
        "nonsense=1",
        "cursor=x",
        "target=x",
        "worker_id=99999999999",
    ):
        assert api.get(f"/audit?{wrong}", headers=headers).status_code == 422, wrong
    exported = api.get("/audit/export?outcome=failed", headers=headers)
    assert exported.status_code == 200
    assert len(exported.text.splitlines()) == 2
    assert api.get("/audit/export?format=xlsx", headers=headers).content[:2] == b"PK"
    head = api.get("/audit/head", headers=headers).json()
    assert (head["position"], head["problem"], len(head["sha256"])) == (7, None, 64)
    assert api.get("/audit", headers=token_of("doctor")).status_code == 403
    central = api.get("/audit?institution=northeast&action=sign_in", headers=token_of("admin")).json()
    assert {event["institution"] for event in central["items"]} == {"Northeast Hospital"}


def test_the_page_shows_filters_chain_and_events_in_words(trails: Consortium) -> None:
    trails.add_patient("northeast", "Quirina", "Zuckmayer")
    seal_trails(set())
    app = opened(trails, "manager", "pages/audit.py").run()
    assert not app.exception
    assert "Sealed up to **position 7**" in words(app)
    app.button(key="audit_verify").click().run()
    assert "Every event up to position 7 is as it was recorded" in words(app)
    app.selectbox(key="audit_outcome").select("failed").run()
    assert not app.exception
    app.text_input(key="audit_target").input("Lovelace").run()
    assert "UUID" in " ".join(error.value for error in app.error)
    assert has_key(app, "audit_show_all")
    app.button(key="audit_show_all").click().run()
    app.text_input(key="audit_address").input("198.51.100.99").run()
    assert "No event fits" in words(app)
    central = opened(trails, "admin", "pages/audit.py").run()
    assert not central.exception
    assert "Who read which patient is known in the hospital alone" in words(central)


def test_the_page_says_what_was_tampered_with(trails: Consortium, postgres_server: Any) -> None:
    seal_trails(set())
    superuser = create_engine(postgres_server.url(make_url(trails.urls.sites["northeast"]).database))
    with superuser.begin() as connection:
        connection.execute(text("SET session_replication_role = replica"))
        connection.execute(text("UPDATE access_events SET worker_id = 1 WHERE id = 2"))
    superuser.dispose()
    app = opened(trails, "manager", "pages/audit.py").run()
    app.button(key="audit_verify").click().run()
    assert "Event 2" in " ".join(error.value for error in app.error)


def test_actions_have_words() -> None:
    assert action_words("GET /patients/{patient_id}") == "Asked the API for GET /patients/{patient_id}"
    assert action_words("pages/model_card.py show_page") == "Asked for the page model card"
    assert action_words("something_new") == "Something new"
    named = set()
    for path in (PROJECT_ROOT / "app").rglob("*.py"):
        source = path.read_text()
        named |= set(
            re.findall(
                r"(?<!def )\b(?:record_access|record_failed_access|refuse_unknown)\([^\")]*?\"(\w+)\"", source
            )
        )
        named |= set(re.findall(r"\baudit\.record\([^\"]*?action=\"(\w+)\"", source))
    assert len(named) > 20
    assert {name for name in named if "_" in name} - set(WORDS) == set()
