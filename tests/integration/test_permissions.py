"""Every permission by every role, from a page and from the API: allowed, or refused and kept in the audit."""

from __future__ import annotations

import ast
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from streamlit.testing.v1 import AppTest

from api.app import ROUTERS
from api.dependencies import GuardedRoute
from app.actor import Actor
from app.auth.sessions import open_session
from app.components.downloads import DownloadFailed, file_content
from app.components.model_decisions import DECISIONS
from app.components.navigation import PAGES
from app.components.patient_export import HEADINGS, export_rows
from app.components.patient_list_view import PatientListView
from app.databases import central_session
from app.permissions import PERMISSIONS, Permission
from app.services.tabular import write_csv
from app.settings import PROJECT_ROOT
from db.central import AuditEvent
from db.site import AccessEvent, Patient
from db.states import Role
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, opened, words

PERSON_OF = {
    Role.ADMIN: "admin",
    Role.DATA_SCIENTIST: "scientist",
    Role.DOCTOR: "doctor",
    Role.NURSE: "nurse",
    Role.INSTITUTION_ADMIN: "manager",
}
REFUSED = "Your role does not include this"
# Permissions that open no page of their own: what on a page needs them is tried below.
INSIDE_PAGES = {
    Permission.PATIENTS_WRITE,
    Permission.PATIENTS_DELETE,
    Permission.PATIENTS_EXPORT,
    Permission.PATIENTS_ERASE,
    Permission.PROMOTE,
    Permission.PROMOTION_PROPOSE,
    Permission.MODELS_EXPORT,
    Permission.MODELS_IMPORT,
}
# Permissions that nothing asks for yet, or no route, with the reason; a permission that becomes used leaves the list.
NO_PAGE: dict[Permission, str] = {}
NO_ROUTE: dict[Permission, str] = {}


def _asked_for_by_pages() -> set[Permission]:
    """Return every permission that a page or a component names."""
    folders = (PROJECT_ROOT / "pages", PROJECT_ROOT / "app" / "components")
    trees = (ast.parse(path.read_text()) for folder in folders for path in folder.glob("*.py"))
    return {
        Permission[node.attr]
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "Permission"
    }


def _routes() -> Iterator[tuple[str, str, Permission]]:
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, GuardedRoute):
                [permission] = route.permissions
                for method in route.methods or ():
                    yield method, route.path, permission


def test_every_permission_is_asked_for_by_a_page_and_by_a_route_or_is_listed_with_a_reason() -> None:
    opening = {entry.permission for entry in PAGES}
    assert opening | INSIDE_PAGES == _asked_for_by_pages()
    assert not opening & INSIDE_PAGES
    assert set(NO_PAGE) == set(Permission) - _asked_for_by_pages()
    assert set(NO_ROUTE) == set(Permission) - {permission for _, _, permission in _routes()}
    for permission in Permission:
        assert any(permission in allowed for allowed in PERMISSIONS.values()), f"nobody has {permission}"


def _refusals(consortium: Consortium) -> list[tuple[str, str | None]]:
    with consortium.central() as central:
        query = select(AuditEvent.action, AuditEvent.role).where(AuditEvent.outcome == "refused")
        return [(action, role) for action, role in central.execute(query.order_by(AuditEvent.id))]


def test_every_route_by_every_role_is_allowed_or_refused_and_kept(
    consortium: Consortium, api: TestClient, token_of: Callable[[str], dict[str, str]]
) -> None:
    expected = []
    for role, person in PERSON_OF.items():
        headers = token_of(person)
        for method, path, permission in _routes():
            # Without a body: who may is 422 or more, who may not is refused before it is missed.
            address = path.format(
                patient_id=uuid.uuid4(),
                run_id=1,
                version="v1",
                trigger_id=1,
                key_id=1,
                code="northeast",
                worker_id=9999,
                session_id=uuid.uuid4(),
            )
            status = api.request(method, address, headers=headers).status_code
            if path == "/auth/logout":
                headers = token_of(person)
            if permission in PERMISSIONS[role]:
                assert status not in (401, 403, 500), (role, method, path, status)
            else:
                assert status == 403, (role, method, path, status)
                expected.append((f"{method} {path}", role.value))
    assert _refusals(consortium) == expected
    assert expected


def test_every_page_refuses_the_roles_that_may_not_open_it_and_keeps_that(consortium: Consortium) -> None:
    expected = []
    for role, person in PERSON_OF.items():
        for entry in PAGES:
            if entry.permission not in PERMISSIONS[role]:
                app = opened(consortium, person, f"pages/{entry.name}.py").run()
                assert [error.value[:31] for error in app.error] == [REFUSED], (role, entry.name)
                assert not app.title
                assert not app.exception
                expected.append((f"pages/{entry.name}.py show_page", role.value))
    assert _refusals(consortium) == expected


def _save_a_new_patient() -> None:
    import streamlit as st

    from app.components.patient_draft import Draft
    from app.components.patient_editor import save_draft

    values = {
        "first_name": "Ada",
        "last_name": st.session_state["of_the_test"],
        "age": "40",
        "sex": "female",
        "bmi": "27.5",
        "children": "0",
        "smoker": "no",
        "region": "northeast",
        "insurance_cost": None,
    }
    if not st.session_state.get("pressed"):  # saving leads to the patient's page, which is this script again
        st.session_state["pressed"] = True
        save_draft(Draft(None, None, "", {}, values), None)


def _restore_a_patient() -> None:
    import uuid

    import streamlit as st

    from app.components.patient_deletion import restore

    restore(uuid.UUID(st.session_state["of_the_test"]), "Deleted, Bea")


def _ask_for_rounds() -> None:
    from app.components.run_start import ask_for_rounds

    ask_for_rounds()


def _called(consortium: Consortium, person: str, script: Callable[[], None], value: str) -> AppTest:
    app = AppTest.from_function(script, default_timeout=30)
    with central_session() as central:
        session, _ = open_session(central, worker=consortium.workers[person])
    app.session_state["auth_session_id"] = session.id
    app.session_state["of_the_test"] = value
    return app.run()


def _open_decision() -> None:
    import streamlit as st

    from app.components import model_decisions
    from db.central import ModelVersion

    version = ModelVersion(version="v1", status="candidate", is_shadow=False, rmse=1.0)
    model_decisions.ask(st.session_state["of_the_test"], model_decisions.Situation(version, None))


def _open_model_import() -> None:
    from app.components.model_files_view import import_dialog

    import_dialog()


def _offer_model_export() -> None:
    from app.components.model_files_view import show_export

    show_export("v1")


@pytest.mark.parametrize("name", list(DECISIONS))
def test_every_decision_about_a_model_asks_for_the_permission_itself(
    consortium: Consortium, name: str
) -> None:
    permission = Permission.PROMOTION_PROPOSE if name == "propose" else Permission.PROMOTE
    expected = []
    for role, person in PERSON_OF.items():
        app = _called(consortium, person, _open_decision, name)
        assert not app.exception
        if permission in PERMISSIONS[role]:
            assert has_key(app, "models_confirmed"), role
        else:
            assert [error.value[:31] for error in app.error] == [REFUSED], role
            assert not has_key(app, "models_confirmed"), role
            expected.append((f"components/model_decisions.py {name}", role.value))
    assert _refusals(consortium) == expected


@pytest.mark.parametrize(
    ("permission", "script", "name", "key"),
    [
        (Permission.MODELS_IMPORT, _open_model_import, "import_dialog", "models_import_confirmed"),
        (Permission.MODELS_EXPORT, _offer_model_export, "show_export", None),
    ],
)
def test_files_of_models_ask_for_the_permission_themselves(
    consortium: Consortium, permission: Permission, script: Callable[[], None], name: str, key: str | None
) -> None:
    expected = []
    for role, person in PERSON_OF.items():
        app = _called(consortium, person, script, "")
        assert not app.exception
        if permission in PERMISSIONS[role]:
            assert not app.error and (key is None or has_key(app, key)), role
        else:
            assert [error.value[:31] for error in app.error] == [REFUSED], role
            expected.append((f"components/model_files_view.py {name}", role.value))
    assert _refusals(consortium) == expected


@pytest.mark.parametrize(
    ("permission", "script", "action"),
    [
        (Permission.PATIENTS_WRITE, _save_a_new_patient, "components/patient_editor.py save_draft"),
        (Permission.PATIENTS_DELETE, _restore_a_patient, "components/patient_deletion.py restore"),
        (Permission.TRAINING_CONTROL, _ask_for_rounds, "components/run_start.py ask_for_rounds"),
    ],
)
def test_what_a_page_does_on_a_press_asks_for_the_permission_itself(
    consortium: Consortium, permission: Permission, script: Callable[[], None], action: str
) -> None:
    patient = consortium.add_patient("northeast", "Bea", "Deleted", deleted_at=datetime.now(UTC))

    def done(app: AppTest, value: str) -> bool:
        with consortium.site("northeast") as site:
            if permission is Permission.PATIENTS_WRITE:
                added = select(func.count()).select_from(Patient).where(Patient.last_name == value)
                return site.scalar(added) == 1
            if permission is Permission.PATIENTS_DELETE:
                return site.get(Patient, patient).deleted_at is None
        return "training_request" in app.session_state

    expected = []
    # Those who may come last: what they do must not pass for what the others did.
    for role in sorted(PERSON_OF, key=lambda role: permission in PERMISSIONS[role]):
        value = str(patient) if permission is Permission.PATIENTS_DELETE else f"Added by {role}"
        app = _called(consortium, PERSON_OF[role], script, value)
        if permission in PERMISSIONS[role]:
            assert done(app, value), role
            assert not [error for error in app.error if REFUSED in error.value]
        else:
            assert [error.value[:31] for error in app.error] == [REFUSED], role
            assert not done(app, value), role
            expected.append((action, role.value))
    assert _refusals(consortium) == expected


def test_an_export_asks_who_presses_when_the_file_is_made(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ada", "Lovelace")
    kept = []
    for role, person in PERSON_OF.items():
        with central_session() as central:
            session, _ = open_session(central, worker=consortium.workers[person])
        actor = replace(consortium.actors[person], session_id=session.id)

        def content(presses: Actor) -> bytes:
            return write_csv(HEADINGS, export_rows(presses, PatientListView()))

        if Permission.PATIENTS_EXPORT in PERMISSIONS[role]:
            assert b"Lovelace" in file_content(actor, Permission.PATIENTS_EXPORT, content)
        else:
            with pytest.raises(DownloadFailed, match=REFUSED):
                file_content(actor, Permission.PATIENTS_EXPORT, content)
            kept.append(("download for patients_export", role.value))
    assert _refusals(consortium) == kept
    with consortium.site("northeast") as site:
        assert site.scalars(select(AccessEvent.action)).all() == ["patients_exported"]


def test_people_and_refusals_stand_on_the_overview_of_those_who_may_know_them(consortium: Consortium) -> None:
    for role, person in PERSON_OF.items():
        app = opened(consortium, person).run()
        said = [words(app), *(figure.label for figure in app.metric)]
        for permission, heading in (
            (Permission.WORKERS_MANAGE, "People who can sign in"),
            # A hospital's administrator reads the hospital's own trail; refusals stand in the consortium's.
            (Permission.INSTITUTIONS_MANAGE, "Refused attempts in the last 7 days"),
        ):
            assert any(heading in text for text in said) == (permission in PERMISSIONS[role]), (role, heading)
