"""Who may see which page: the menu by role, each page's own check, sign-in and sign-out."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from app.components.navigation import PAGES, pages_for
from app.permissions import PERMISSIONS
from db.central import MedicalWorker, Session
from db.states import Role
from tests.integration.conftest import PASSWORD, PEOPLE, Consortium
from tests.integration.page_scripts import opened, page_of, words

MENU = {
    "admin": [
        "overview",
        "training",
        "compare",
        "cohort",
        "triggers",
        "models",
        "model_card",
        "institutions",
        "retention",
        "audit",
        "system",
        "workers",
        "account",
    ],
    "scientist": ["overview", "training", "compare", "cohort", "models", "model_card", "account"],
    "doctor": [
        "overview",
        "patients",
        "patient",
        "patient_import",
        "predict",
        "batch",
        "history",
        "model_card",
        "account",
    ],
    "nurse": ["overview", "patients", "patient", "predict", "history", "model_card", "account"],
    "manager": ["overview", "model_card", "participation", "retention", "audit", "workers", "account"],
}
TITLES = {entry.name: entry.title for entry in PAGES}
EVERY_PAGE_BY_EVERY_ROLE = [(person, entry.name) for person in MENU for entry in PAGES]


@pytest.mark.parametrize("person", MENU)
def test_the_menu_lists_what_the_role_may_open_and_starts_on_its_first_page(
    consortium: Consortium, person: str
) -> None:
    assert [entry.name for entry in pages_for(consortium.actors[person])] == MENU[person]
    app = opened(consortium, person).run()
    assert not app.exception
    assert app.title[0].value == TITLES[MENU[person][0]]


def test_every_role_has_a_page() -> None:
    for role, permissions in PERMISSIONS.items():
        assert any(entry.permission in permissions for entry in PAGES), role


@pytest.mark.parametrize(("person", "name"), EVERY_PAGE_BY_EVERY_ROLE)
def test_a_page_outside_the_menu_is_not_reachable(consortium: Consortium, person: str, name: str) -> None:
    if name in MENU[person]:
        app = page_of(consortium, person, name)
        assert not app.exception
        assert app.title[0].value == TITLES[name]
    else:
        with pytest.raises(ValueError, match="registered"):
            page_of(consortium, person, name)


def test_nobody_sees_a_page_without_signing_in(consortium: Consortium) -> None:
    app = opened(consortium, None).run()
    assert not app.title
    assert [field.label for field in app.text_input] == ["E-mail", "Password"]


def test_the_form_signs_in_and_the_sidebar_says_who_it_is(consortium: Consortium) -> None:
    app = opened(consortium, None).run()
    app.text_input[0].set_value(PEOPLE["doctor"][0])
    app.text_input[1].set_value(PASSWORD)
    app.button[0].click().run()
    assert app.title[0].value == "Overview"
    said = "\n".join(str(element.value) for element in [*app.sidebar.markdown, *app.sidebar.caption])
    assert "The doctor" in said
    assert "Doctor" in said
    assert "Northeast Hospital" in said


def test_a_wrong_password_is_refused_with_a_sentence(consortium: Consortium) -> None:
    app = opened(consortium, None).run()
    app.text_input[0].set_value(PEOPLE["doctor"][0])
    app.text_input[1].set_value("not it")
    app.button[0].click().run()
    assert not app.title
    assert len(app.error) == 1
    assert not app.exception


def test_signing_out_ends_the_session_in_the_database(consortium: Consortium) -> None:
    app = opened(consortium, "doctor").run()
    session_id = app.session_state["auth_session_id"]
    app.button(key="sidebar_sign_out").click().run()
    assert not app.title
    assert [field.label for field in app.text_input] == ["E-mail", "Password"]
    with consortium.central() as central:
        assert central.scalars(select(Session.ended_at).where(Session.id == session_id)).one() is not None


def test_what_was_entered_is_gone_after_signing_out(consortium: Consortium) -> None:
    app = opened(consortium, "doctor").run()
    app.session_state["predict_result"] = "somebody's cost"
    app.button(key="sidebar_sign_out").click().run()
    assert "predict_result" not in app.session_state


def test_an_account_switched_off_is_out_at_the_next_rerun(consortium: Consortium) -> None:
    app = opened(consortium, "nurse").run()
    with consortium.central() as central:
        central.execute(
            update(MedicalWorker)
            .where(MedicalWorker.id == consortium.workers["nurse"].id)
            .values(is_active=False)
        )
        central.commit()
    app.run()
    assert not app.title
    assert "session has ended" in words(app)


def test_a_changed_role_needs_a_new_sign_in_and_then_takes_effect(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "training")
    with consortium.central() as central:
        central.execute(
            update(MedicalWorker)
            .where(MedicalWorker.id == consortium.workers["admin"].id)
            .values(role=Role.DATA_SCIENTIST)
        )
        central.commit()
    app.run()
    assert not app.title
    assert "session has ended" in words(app)
    app = page_of(consortium, "admin", "training")
    assert app.title[0].value == "Training"
    assert not any(button.key == "training_start" for button in app.button)
