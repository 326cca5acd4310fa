"""The People page: who stands in it, adding somebody with a link, and changing them; and the page of a link."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update
from streamlit.testing.v1 import AppTest

from app.auth.one_time_link import link_holder
from app.components.worker_dialog import open_worker
from app.databases import central_session
from app.services import one_time_links
from db.central import MedicalWorker, Session
from tests.integration.conftest import PASSWORD, PEOPLE, Consortium
from tests.integration.page_scripts import has_key, opened, page_of, words

GOOD = "seven otters juggle"


def _rows(app: AppTest) -> list[list[str]]:
    import json

    [table] = [each for each in app.get("bidi_component") if "workers_table" in each.proto.id]
    data = json.loads(table.proto.json)
    return [row["cells"] for row in data["rows"]]


def _open_person() -> None:
    import streamlit as st

    from app.components.worker_dialog import open_worker, worker_dialog
    from app.databases import central_session
    from app.services import worker_list

    if "worker_shown" not in st.session_state:
        open_worker(st.session_state["of_the_test"])
    from app.auth.login_form import current_actor

    with central_session() as central:
        institutions = worker_list.institutions_to_choose(central=central, actor=current_actor())
    worker_dialog(institutions)


def _person(world: Consortium, person: str, worker_id: int) -> AppTest:
    from app.auth.sessions import open_session

    app = AppTest.from_function(_open_person, default_timeout=30)
    with central_session() as central:
        session, _ = open_session(central, worker=world.workers[person])
    app.session_state["auth_session_id"] = session.id
    app.session_state["of_the_test"] = worker_id
    return app.run()


def test_a_hospitals_administrator_adds_somebody_of_the_own_hospital(consortium: Consortium) -> None:
    app = page_of(consortium, "manager", "workers")
    assert "3 people" in words(app)
    app.button("workers_add").click().run()
    app.button("worker_add_confirmed").click().run()
    assert "The name has from 2" in app.error[0].value
    app.text_input("worker_add_name").set_value("Nora New")
    app.text_input("worker_add_email").set_value("nora@northeast.test.local")
    assert len(app.selectbox("worker_add_role").options) == 3
    app.selectbox("worker_add_role").set_value("nurse")
    app.button("worker_add_confirmed").click().run()
    assert not app.exception and not app.error
    said = words(app)
    assert "Nora New was added" in said and "shown only now" in said
    token = app.code[0].value.partition("/set_password#")[2]
    with central_session() as central:
        assert link_holder(central, token=token).email == "nora@northeast.test.local"
    app.button("worker_added_done").click().run()
    assert not app.code and "4 people" in words(app)


def test_the_list_is_narrowed_by_its_fields(consortium: Consortium) -> None:
    app = page_of(consortium, "admin", "workers")
    assert "6 people" in words(app)
    app.text_input("workers_search").set_value("southwest").run()
    assert "1 person" in words(app)
    app.selectbox("workers_role").set_value("nurse").run()
    assert "Nobody matches" in words(app)


def test_a_person_is_changed_deactivated_and_gets_a_link(consortium: Consortium) -> None:
    nurse = consortium.workers["nurse"].id
    app = _person(consortium, "manager", nurse)
    assert "Has never signed in." in words(app)
    app.selectbox(f"worker_{nurse}_1_role").set_value("doctor").run()
    app.button("worker_save").click().run()
    assert "Saved." in words(app) and not app.error
    app.button("worker_make_link").click().run()
    with central_session() as central:
        holder = link_holder(central, token=app.code[0].value.partition("#")[2])
    assert holder.email == PEOPLE["nurse"][0]
    app.toggle(f"worker_{nurse}_2_active").set_value(False).run()
    app.button("worker_save").click().run()
    assert "Deactivated: cannot sign in." in words(app)
    assert not has_key(app, "worker_make_link")
    with consortium.central() as central:
        worker = central.get_one(MedicalWorker, nurse)
        assert (worker.role, worker.is_active) == ("doctor", False)


def test_a_person_changed_by_somebody_else_meanwhile_is_not_overwritten(consortium: Consortium) -> None:
    nurse = consortium.workers["nurse"].id
    app = _person(consortium, "admin", nurse)
    with consortium.central() as central:
        central.execute(update(MedicalWorker).values(name="Renamed Elsewhere", row_version=2))
        central.commit()
    app.text_input(f"worker_{nurse}_1_name").set_value("Mine")
    app.button("worker_save").click().run()
    assert "Somebody else changed this person" in app.error[0].value
    with consortium.central() as central:
        assert central.get_one(MedicalWorker, nurse).name == "Renamed Elsewhere"


def test_nobody_changes_their_own_role(consortium: Consortium) -> None:
    own = consortium.workers["admin"].id
    app = _person(consortium, "admin", own)
    assert app.selectbox(f"worker_{own}_1_role").disabled
    assert app.toggle(f"worker_{own}_1_active").disabled


def test_ending_somebodys_sessions_says_how_many(consortium: Consortium) -> None:
    browser = opened(consortium, "nurse").run()
    app = _person(consortium, "manager", consortium.workers["nurse"].id)
    app.button("worker_end_sessions").click().run()
    assert "1 session ended." in words(app)
    assert [field.label for field in browser.run().text_input] == ["E-mail", "Password"]


def test_a_person_of_another_hospital_cannot_be_opened(consortium: Consortium) -> None:
    assert open_worker.__wrapped__  # the gate is there
    app = _person(consortium, "admin", consortium.workers["other_doctor"].id)
    assert "The other_doctor" in words(app)
    with central_session() as central, pytest.raises(Exception, match="no such person"):
        one_time_links.make_link(
            central=central,
            actor=consortium.actors["manager"],
            worker_id=consortium.workers["other_doctor"].id,
        )


def _link(world: Consortium) -> str:
    with central_session() as central:
        link = one_time_links.make_link(
            central=central, actor=world.actors["admin"], worker_id=world.workers["nurse"].id
        )
    return link.path.partition("#")[2]


def _opens_link(world: Consortium, secret: str | None, person: str | None = None) -> AppTest:
    app = AppTest.from_function(_link_script, default_timeout=30)
    if secret is not None:
        app.session_state["one_time_link"] = secret
    return app.run()


def _link_script() -> None:
    import streamlit as st

    from app.components.choose_password import password_page

    home = st.Page(lambda: st.write("home"), title="Fedcost", url_path="home", default=True)
    page = password_page()
    chosen = st.navigation([home, page], position="hidden")
    if not st.session_state.get("left"):
        st.session_state["left"] = True
        st.switch_page(page)
    chosen.run()


def test_a_link_asks_for_the_password_twice_and_sets_it(consortium: Consortium) -> None:
    app = _opens_link(consortium, _link(consortium))
    assert "The nurse" in words(app)
    first, second = app.text_input
    first.set_value(GOOD)
    second.set_value("something else entirely")
    app.button[0].click().run()
    assert "differ" in app.error[0].value
    first, second = app.text_input
    first.set_value("short")
    second.set_value("short")
    app.button[0].click().run()
    assert "too short" in app.error[0].value
    first, second = app.text_input
    first.set_value(GOOD)
    second.set_value(GOOD)
    app.button[0].click().run()
    assert "home" in words(app) and "one_time_link" not in app.session_state
    assert GOOD not in repr(app.session_state)
    form = opened(consortium, None).run()
    form.text_input[0].set_value(PEOPLE["nurse"][0])
    form.text_input[1].set_value(GOOD)
    form.button[0].click().run()
    assert form.title[0].value == "Overview"


@pytest.mark.parametrize("secret", ["nonsense", "none"])
def test_a_link_that_does_not_work_says_what_to_do(consortium: Consortium, secret: str) -> None:
    app = _opens_link(consortium, secret)
    assert "administrator" in words(app)
    assert not app.text_input


def test_the_own_account_lists_sessions_and_ends_them(consortium: Consortium) -> None:
    other = opened(consortium, "nurse").run()
    app = page_of(consortium, "nurse", "account")
    said = words(app)
    assert "The nurse" in said and "Northeast Hospital" in said and "This one" in said
    app.button("account_end_others").click().run()
    assert "1 session ended." in words(app)
    assert not has_key(app, "account_end_others")
    assert [field.label for field in other.run().text_input] == ["E-mail", "Password"]


def test_a_session_is_ended_from_the_list(consortium: Consortium) -> None:
    opened(consortium, "nurse").run()
    app = page_of(consortium, "nurse", "account")
    [end] = [
        button
        for button in app.button
        if (button.key or "").startswith("account_end_") and button.label == "End"
    ]
    end.click().run()
    assert "1 session ended." in words(app)


def test_a_changed_password_leaves_only_this_browser_signed_in(consortium: Consortium) -> None:
    other = opened(consortium, "nurse").run()
    app = page_of(consortium, "nurse", "account")

    def change(present: str, new: str, again: str) -> None:
        app.text_input("account_present").set_value(present)
        app.text_input("account_new").set_value(new)
        app.text_input("account_again").set_value(again)
        app.button("account_change").click().run()

    change("not the one", GOOD, GOOD)
    assert "present password is not right" in app.error[0].value
    change(PASSWORD, GOOD, GOOD + " ")
    assert "differ" in app.error[0].value
    change(PASSWORD, GOOD, GOOD)
    assert "Your password is changed" in words(app) and not app.error
    assert [field.label for field in other.run().text_input] == ["E-mail", "Password"]
    assert GOOD not in repr(app.session_state)
    with consortium.central() as central:
        reasons: list[Any] = list(central.scalars(select(Session.end_reason)))
        assert sorted(map(str, reasons)) == ["None", "password_changed", "password_changed"]
