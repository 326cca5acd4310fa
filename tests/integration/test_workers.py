"""Looking after people: who sees whom, who may make whom what, and what nobody can undo."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from app.auth.sessions import open_session
from app.databases import central_session
from app.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from app.services import one_time_links, worker_changes, worker_list, worker_sessions
from app.services.worker_list import WHOLE_CONSORTIUM, WorkerFilter
from db.central import AuditEvent, MedicalWorker, Session
from db.states import Role, SessionEnd
from tests.integration.conftest import Consortium

EVERYBODY = {
    "admin@test.local",
    "scientist@test.local",
    "doctor@northeast.test.local",
    "nurse@northeast.test.local",
    "manager@northeast.test.local",
    "doctor@southwest.test.local",
}
NORTHEAST = {email for email in EVERYBODY if "northeast" in email}


def _seen_by(world: Consortium, person: str, **chosen: Any) -> set[str]:
    with central_session() as central:
        page = worker_list.list_workers(
            central=central, actor=world.actors[person], filter=WorkerFilter(**chosen), limit=100
        )
    return {view.email for view in page.items}


def _change(world: Consortium, person: str, worker_id: int, **change: Any) -> worker_list.WorkerView:
    actor = world.actors[person]
    with central_session() as central:
        if "row_version" not in change:
            change["row_version"] = central.get_one(MedicalWorker, worker_id).row_version
            central.rollback()
        return worker_changes.change_worker(central=central, actor=actor, worker_id=worker_id, **change)


def _add(world: Consortium, person: str, **given: Any) -> worker_changes.AddedWorker:
    entry = {"name": "New  Person", "email": " New@Northeast.test.local ", "role": "nurse", **given}
    with central_session() as central:
        return worker_changes.add_worker(central=central, actor=world.actors[person], **entry)


def _events(world: Consortium) -> list[tuple[str, str | None, dict[str, Any]]]:
    with world.central() as central:
        query = select(AuditEvent.action, AuditEvent.target, AuditEvent.details).order_by(AuditEvent.id)
        return [tuple(row) for row in central.execute(query)]  # type: ignore[misc]


def test_an_administrator_sees_everybody_and_one_of_an_institution_only_its_own(
    consortium: Consortium,
) -> None:
    assert _seen_by(consortium, "admin") == EVERYBODY
    assert _seen_by(consortium, "manager") == NORTHEAST
    for person in ("scientist", "doctor", "nurse"):
        with pytest.raises(PermissionRefused):
            _seen_by(consortium, person)


def test_people_are_found_by_what_is_known_of_them(consortium: Consortium) -> None:
    _add(consortium, "admin", institution="northeast")
    _change(consortium, "admin", consortium.workers["nurse"].id, is_active=False)
    with consortium.central() as central:
        central.execute(
            update(MedicalWorker)
            .where(MedicalWorker.id == consortium.workers["other_doctor"].id)
            .values(locked_until=func.now() + timedelta(minutes=3))
        )
        central.commit()
    for chosen, found in (
        ({"search": " THE doc"}, {"doctor@northeast.test.local"}),
        ({"search": "southwest"}, {"doctor@southwest.test.local"}),
        ({"search": "%"}, set()),
        ({"role": Role.NURSE}, {"nurse@northeast.test.local", "new@northeast.test.local"}),
        ({"institution": "southwest"}, {"doctor@southwest.test.local"}),
        ({"institution": WHOLE_CONSORTIUM}, {"admin@test.local", "scientist@test.local"}),
        ({"state": "deactivated"}, {"nurse@northeast.test.local"}),
        ({"state": "locked"}, {"doctor@southwest.test.local"}),
        ({"state": "without_password"}, {"new@northeast.test.local"}),
        ({"state": "active", "role": Role.NURSE}, {"new@northeast.test.local"}),
    ):
        assert _seen_by(consortium, "admin", **chosen) == found, chosen
    assert _seen_by(consortium, "manager", institution="southwest") == set()
    for wrong in ({"state": "asleep"}, {"search": "x" * 101}):
        with pytest.raises(InvalidInput):
            _seen_by(consortium, "admin", **wrong)


def test_pages_of_people_go_both_ways_and_miss_nobody(consortium: Consortium) -> None:
    actor = consortium.actors["admin"]
    with central_session() as central:
        whole = [view.id for view in worker_list.list_workers(central=central, actor=actor).items]
        seen: list[int] = []
        cursor = None
        while True:
            page = worker_list.list_workers(central=central, actor=actor, cursor=cursor, limit=2)
            seen += [view.id for view in page.items]
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        assert seen == whole
        back = worker_list.list_workers(central=central, actor=actor, cursor=page.previous_cursor, limit=2)
        assert [view.id for view in back.items] == whole[2:4]
        own = consortium.actors["manager"]
        with pytest.raises(InvalidInput):
            worker_list.list_workers(
                central=central, actor=own, cursor=str(consortium.workers["other_doctor"].id)
            )


def test_a_view_says_when_somebody_was_last_there_and_what_is_alive(consortium: Consortium) -> None:
    nurse = consortium.workers["nurse"]
    with central_session() as central:
        assert _view(consortium, nurse.id).last_seen_at is None
        open_session(central, worker=nurse)
    view = _view(consortium, nurse.id)
    assert (view.sessions, view.has_password, view.link_expires_at, view.locked_until) == (
        1,
        True,
        None,
        None,
    )
    assert view.last_seen_at is not None


def _view(world: Consortium, worker_id: int, person: str = "admin") -> worker_list.WorkerView:
    with central_session() as central:
        return worker_list.read_worker(central=central, actor=world.actors[person], worker_id=worker_id)


def test_somebody_is_added_without_a_password_and_with_a_link(consortium: Consortium) -> None:
    added = _add(consortium, "manager")
    view = added.worker
    assert (view.email, view.name, view.role, view.institution_code) == (
        "new@northeast.test.local",
        "New Person",
        "nurse",
        "northeast",
    )
    assert (view.has_password, view.is_active) == (False, True)
    assert added.link.path.startswith("/set_password#") and view.link_expires_at == added.link.expires_at
    assert _events(consortium) == [
        ("worker_added", f"worker {view.id}", {"role": "nurse", "institution": "northeast"})
    ]


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        ({"name": "x"}, {"name"}),
        ({"email": "nobody"}, {"email"}),
        ({"role": "chief"}, {"role"}),
        ({"name": "", "email": "", "role": ""}, {"name", "email", "role"}),
        ({"institution": "nowhere"}, {"institution"}),
        ({"role": "doctor", "institution": None}, {"institution"}),
        ({"role": "admin", "institution": "northeast"}, {"institution"}),
    ],
)
def test_a_wrong_entry_names_every_field(
    consortium: Consortium, entry: dict[str, Any], fields: set[str]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        _add(consortium, "admin", **{"institution": "northeast", **entry})
    assert {problem.field for problem in refused.value.problems} == fields


def test_an_address_is_given_to_one_person_only(consortium: Consortium) -> None:
    with pytest.raises(Conflict, match="already"):
        _add(consortium, "admin", email="NURSE@northeast.test.local", institution="northeast")
    with pytest.raises(Conflict) as elsewhere:
        _add(consortium, "manager", email="doctor@southwest.test.local")
    assert "southwest" not in str(elsewhere.value)


@pytest.mark.parametrize("role", ["admin", "data_scientist"])
def test_an_administrator_of_an_institution_gives_no_role_of_the_consortium(
    consortium: Consortium, role: str
) -> None:
    with pytest.raises(PermissionRefused):
        _add(consortium, "manager", role=role)
    with pytest.raises(PermissionRefused):
        _change(consortium, "manager", consortium.workers["nurse"].id, role=role)


def test_an_administrator_of_an_institution_reaches_nobody_elsewhere(consortium: Consortium) -> None:
    with pytest.raises(PermissionRefused):
        _add(consortium, "manager", institution="southwest")
    with pytest.raises(PermissionRefused):
        _change(consortium, "manager", consortium.workers["nurse"].id, institution="southwest")
    for person in ("other_doctor", "admin", "scientist"):
        worker_id = consortium.workers[person].id
        actor = consortium.actors["manager"]
        with pytest.raises(NotFound):
            _view(consortium, worker_id, "manager")
        with pytest.raises(NotFound):
            _change(consortium, "manager", worker_id, is_active=False)
        with pytest.raises(NotFound), central_session() as central:
            one_time_links.make_link(central=central, actor=actor, worker_id=worker_id)
        with pytest.raises(NotFound), central_session() as central:
            worker_sessions.end_sessions_of(central=central, actor=actor, worker_id=worker_id)
    assert _events(consortium) == []


def test_a_change_is_kept_with_what_it_was_and_a_name_only_as_changed(consortium: Consortium) -> None:
    nurse = consortium.workers["nurse"].id
    changed = _change(consortium, "manager", nurse, role="doctor", name="Somebody Else")
    assert (changed.role, changed.name, changed.row_version) == ("doctor", "Somebody Else", 2)
    _change(consortium, "manager", nurse, is_active=False)
    _change(consortium, "admin", nurse, is_active=True, institution="southwest")
    assert _events(consortium) == [
        ("worker_changed", f"worker {nurse}", {"name": "changed", "role": ["nurse", "doctor"]}),
        ("worker_deactivated", f"worker {nurse}", {"is_active": [True, False]}),
        (
            "worker_reactivated",
            f"worker {nurse}",
            {"is_active": [False, True], "institution": ["northeast", "southwest"]},
        ),
    ]


def test_a_change_of_nothing_is_nothing(consortium: Consortium) -> None:
    nurse = consortium.workers["nurse"].id
    assert _change(consortium, "admin", nurse, role="nurse").row_version == 1
    assert _events(consortium) == []


def test_a_doctor_who_becomes_a_scientist_leaves_the_institution(consortium: Consortium) -> None:
    changed = _change(consortium, "admin", consortium.workers["doctor"].id, role="data_scientist")
    assert changed.institution_code is None


def test_a_stale_change_changes_nothing(consortium: Consortium) -> None:
    nurse = consortium.workers["nurse"].id
    _change(consortium, "manager", nurse, name="First Change", row_version=1)
    with pytest.raises(Conflict, match="Somebody else changed"):
        _change(consortium, "admin", nurse, is_active=False, row_version=1)
    assert _view(consortium, nurse).is_active


def test_nobody_demotes_or_deactivates_themselves(consortium: Consortium) -> None:
    for person, change in (
        ("admin", {"is_active": False}),
        ("admin", {"role": "data_scientist"}),
        ("manager", {"is_active": False}),
        ("manager", {"role": "nurse"}),
    ):
        with pytest.raises(Conflict, match="their own role"):
            _change(consortium, person, consortium.workers[person].id, **change)
    assert _change(consortium, "admin", consortium.workers["admin"].id, name="Another Name").name


def _second_admin(world: Consortium) -> int:
    return _add(world, "admin", email="second@test.local", role="admin").worker.id


def test_the_last_active_administrator_stays(consortium: Consortium) -> None:
    second = _second_admin(consortium)
    first = consortium.workers["admin"].id
    world = replace(
        consortium,
        actors={**consortium.actors, "second": replace(consortium.actors["admin"], worker_id=second)},
    )
    _change(world, "second", first, is_active=False)
    with pytest.raises(Conflict, match="last active administrator"):
        _change(consortium, "admin", second, role="data_scientist")
    assert _change(world, "second", first, is_active=True).is_active


def test_two_administrators_who_demote_each_other_at_once_leave_one(consortium: Consortium) -> None:
    for attempt in range(3):
        second = _add(consortium, "admin", email=f"second{attempt}@test.local", role="admin").worker.id
        first = consortium.workers["admin"].id
        actors = {
            first: consortium.actors["admin"],
            second: replace(consortium.actors["admin"], worker_id=second),
        }
        both = threading.Barrier(2)
        outcomes: list[str] = []

        def demote(
            of: int,
            by: int,
            together: threading.Barrier = both,
            known: dict[int, Any] = actors,
            said: list[str] = outcomes,
        ) -> None:
            together.wait(10)
            try:
                with central_session() as central:
                    version = central.scalar(select(MedicalWorker.row_version).where(MedicalWorker.id == of))
                    assert version is not None
                    worker_changes.change_worker(
                        central=central, actor=known[by], worker_id=of, row_version=version, is_active=False
                    )
                    said.append("done")
            except Conflict as error:
                said.append(str(error))

        threads = [threading.Thread(target=demote, args=pair) for pair in ((first, second), (second, first))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(outcome[:4] for outcome in outcomes) == ["This", "done"], outcomes
        with consortium.central() as central:
            active = central.scalar(
                select(func.count()).where(MedicalWorker.role == Role.ADMIN, MedicalWorker.is_active)
            )
            assert active == 1
            central.execute(update(MedicalWorker).where(MedicalWorker.id == first).values(is_active=True))
            central.execute(update(MedicalWorker).where(MedicalWorker.id == second).values(is_active=False))
            central.commit()


def test_ending_somebodys_sessions_says_how_many_and_leaves_the_account(consortium: Consortium) -> None:
    with central_session() as central:
        for person in ("nurse", "nurse", "doctor"):
            open_session(central, worker=consortium.workers[person])
    with central_session() as central:
        ended = worker_sessions.end_sessions_of(
            central=central, actor=consortium.actors["manager"], worker_id=consortium.workers["nurse"].id
        )
    assert ended == 2
    with consortium.central() as central:
        reasons = central.scalars(select(Session.end_reason)).all()
        assert sorted(str(reason) for reason in reasons) == ["None"] + [SessionEnd.ENDED_BY_ADMINISTRATOR] * 2
    assert _events(consortium)[-1][2] == {"sessions": 2}


def test_people_over_the_api(
    consortium: Consortium, api: TestClient, token_of: Callable[[str], dict[str, str]]
) -> None:
    manager, admin = token_of("manager"), token_of("admin")
    listed = api.get("/workers", headers=manager, params={"limit": 2}).json()
    assert len(listed["items"]) == 2 and listed["next_cursor"]
    assert "password_hash" not in str(listed)
    new = {"name": "Nora New", "email": "nora@northeast.test.local", "role": "nurse"}
    added = api.post("/workers", headers=manager, json=new)
    assert added.status_code == 201
    body = added.json()
    assert body["link"]["link"].startswith("http://testserver/set_password#")
    place = f"/workers/{body['worker']['id']}"
    assert api.post("/workers", headers=manager, json=new).status_code == 409
    assert api.post("/workers", headers=manager, json={**new, "role": "admin"}).status_code == 403
    assert api.post("/workers", headers=manager, json={**new, "role": "chief"}).status_code == 422
    assert api.post("/workers", headers=manager, json={**new, "password": "typed"}).status_code == 422
    changed = api.patch(place, headers=admin, json={"row_version": 1, "role": "doctor"})
    assert (changed.status_code, changed.json()["role"]) == (200, "doctor")
    assert api.patch(place, headers=admin, json={"row_version": 1, "role": "nurse"}).status_code == 409
    assert api.patch(place, headers=admin, json={"role": "nurse"}).status_code == 422
    assert api.get(place, headers=manager).json()["row_version"] == 2
    again = api.post(f"{place}/reset-link", headers=manager)
    assert again.status_code == 201 and again.json()["link"] != body["link"]["link"]
    nurse = token_of("nurse")
    ended = api.post(f"/workers/{consortium.workers['nurse'].id}/end-sessions", headers=manager)
    assert ended.json() == {"ended": 1}
    assert api.get("/patients", headers=nurse).status_code == 401
    other = consortium.workers["other_doctor"].id
    for method, path, sent in (
        ("GET", f"/workers/{other}", None),
        ("PATCH", f"/workers/{other}", {"row_version": 1, "is_active": False}),
        ("POST", f"/workers/{other}/reset-link", None),
        ("POST", f"/workers/{other}/end-sessions", None),
    ):
        assert api.request(method, path, headers=manager, json=sent).status_code == 404
    off = api.patch(place, headers=manager, json={"row_version": 2, "is_active": False})
    assert off.json()["is_active"] is False
    assert api.post(f"{place}/reset-link", headers=manager).status_code == 409
