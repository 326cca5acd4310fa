"""The sign-in form as Streamlit runs it: who gets past it, and for how long."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select, update
from streamlit.testing.v1 import AppTest

from app.auth import login_form
from db.central import MedicalWorker, Session
from db.engines import engine_for

EMAIL = "nurse@northeast.test.local"


def _page() -> None:
    import streamlit as st

    from app.auth.login_form import require_actor, sign_out

    actor = require_actor()
    st.title(f"{actor.role} of {actor.institution_name}")
    st.button("Leave", on_click=sign_out)


@pytest.fixture
def browser(consortium: Any) -> AppTest:
    return AppTest.from_function(_page, default_timeout=30).run()


def _sign_in(browser: AppTest, email: str, password: str) -> AppTest:
    browser.text_input[0].set_value(email)
    browser.text_input[1].set_value(password)
    return browser.button[0].click().run()


def _titles(browser: AppTest) -> list[str]:
    assert not browser.exception
    return [title.value for title in browser.title]


def _trade_ticket(consortium: Any) -> None:
    with consortium.central() as central:
        central.execute(update(Session).values(ticket_sha256=None, ticket_expires_at=None))
        central.commit()


def test_nobody_sees_the_page_before_signing_in(browser: AppTest) -> None:
    assert _titles(browser) == []
    assert [field.label for field in browser.text_input] == ["E-mail", "Password"]
    assert browser.button[0].label == "Sign in"
    assert [error.value for error in browser.error] == []


def test_a_wrong_password_and_an_empty_form_say_so_in_one_sentence(browser: AppTest) -> None:
    _sign_in(browser, EMAIL, "wrong")
    assert len(browser.error) == 1
    assert "do not match" in browser.error[0].value
    assert _titles(browser) == []
    _sign_in(browser, "", "")
    assert [error.value for error in browser.error] == ["Please enter your e-mail and your password."]
    _sign_in(browser, EMAIL, "")
    assert len(browser.error) == 1


def test_signing_in_shows_the_page_and_hands_a_ticket_to_the_browser_until_it_is_traded(
    browser: AppTest, consortium: Any
) -> None:
    _sign_in(browser, f" {EMAIL.upper()} ", consortium.password)
    assert _titles(browser) == ["nurse of Northeast Hospital"]
    scripts = [element.proto.body for element in browser.get("html")]
    assert len(scripts) == 1
    assert login_form.SESSION_PATH in scripts[0]
    with consortium.central() as central:
        session = central.scalars(select(Session)).one()
        assert session.ticket_sha256 is not None
    browser.run()  # comes so soon that the browser may not have seen the first
    assert [element.proto.body for element in browser.get("html")] == scripts
    _trade_ticket(consortium)
    browser.run()
    assert _titles(browser) == ["nurse of Northeast Hospital"]
    assert browser.get("html") == []
    assert consortium.password not in repr(browser.session_state)


def test_a_ticket_that_nobody_fetches_is_given_up_after_its_minute(browser: AppTest, consortium: Any) -> None:
    _sign_in(browser, EMAIL, consortium.password)
    with consortium.central() as central:
        central.execute(update(Session).values(ticket_expires_at=func.now() - timedelta(seconds=1)))
        central.commit()
    browser.run()
    assert _titles(browser) == ["nurse of Northeast Hospital"]
    assert browser.get("html") == []


def test_a_session_that_ends_elsewhere_ends_here_at_the_next_rerun(browser: AppTest, consortium: Any) -> None:
    _sign_in(browser, EMAIL, consortium.password)
    with consortium.central() as central:
        central.execute(update(Session).values(ended_at=func.now()))
        central.commit()
    browser.run()
    assert _titles(browser) == []
    assert [notice.value for notice in browser.info] == ["Your session has ended. Please sign in again."]


def test_a_switched_off_worker_and_an_expired_session_end_too(browser: AppTest, consortium: Any) -> None:
    _sign_in(browser, EMAIL, consortium.password)
    with consortium.central() as central:
        central.execute(update(MedicalWorker).values(is_active=False))
        central.commit()
    assert _titles(browser.run()) == []
    with consortium.central() as central:
        central.execute(update(MedicalWorker).values(is_active=True))
        central.commit()
    _sign_in(browser, EMAIL, consortium.password)
    assert _titles(browser) == ["nurse of Northeast Hospital"]
    with consortium.central() as central:
        central.execute(update(Session).values(expires_at=func.now() - timedelta(seconds=1)))
        central.commit()
    assert _titles(browser.run()) == []


def test_the_librarys_session_state_signs_nobody_in(browser: AppTest) -> None:
    for key, value in {
        "authentication_status": True,
        "username": "admin@test.local",
        "name": "The admin",
        "roles": ["admin"],
        "auth_session_id": uuid.uuid4(),
    }.items():
        browser.session_state[key] = value
    assert _titles(browser.run()) == []


def test_signing_out_ends_the_session_in_the_database(browser: AppTest, consortium: Any) -> None:
    _sign_in(browser, EMAIL, consortium.password)
    browser.button[0].click().run()
    assert _titles(browser) == []
    assert browser.text_input[0].label == "E-mail"
    with consortium.central() as central:
        assert central.scalars(select(Session)).one().ended_at is not None


def test_a_rerun_of_a_signed_in_person_is_one_select(browser: AppTest, consortium: Any) -> None:
    _sign_in(browser, EMAIL, consortium.password)
    _trade_ticket(consortium)
    browser.run()
    statements: list[str] = []
    engine = engine_for(consortium.urls.app_central)

    def remember(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", remember)
    try:
        browser.run()
    finally:
        event.remove(engine, "before_cursor_execute", remember)
    assert len(statements) == 1
