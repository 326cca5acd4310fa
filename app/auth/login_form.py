"""The page-side gate: who is at this browser, read from the database at each rerun, or the sign-in form."""

from __future__ import annotations

import json
import uuid
from typing import Any

import streamlit as st
from sqlalchemy.orm import Session as DatabaseSession
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.actor import Actor
from app.auth import sessions
from app.auth.authenticator import DatabaseAuthenticate
from app.auth.browser_cookie import browser_cookie_name
from app.auth.cookie import SESSION_PATH, SIGN_OUT_PATH, cookie_name
from app.auth.openid import identity_of, sign_in_as, was_used
from app.auth.openid_settings import openid_settings
from app.auth.sessions import ENDED, actor_for_session, actor_for_token, issue_ticket, ticket_waits
from app.databases import central_session
from app.errors import FedcostError, SessionEnded
from app.waiting import outlasting
from db.central import MedicalWorker

FORM_FIELDS = {
    "Form name": "Sign in",
    "Username": "E-mail",
    "Password": "Password",  # a label
    "Login": "Sign in",
}
# Of this browser connection only; who the session belongs to and what they may do is never kept here.
_SESSION = "auth_session_id"
_TICKET_DUE = "auth_ticket_due"
_TICKET = "auth_ticket"  # that the browser was given; it is worth nothing once traded, or after a minute
_COOKIE_DUE_CLEARED = "auth_cookie_due_cleared"
_NOTICE = "auth_notice"
_IDENTITY_TRIED = "auth_identity_tried"  # the last identity of the provider that was tried here


def require_actor() -> Actor:
    """Return who is signed in; otherwise show the sign-in form and stop the script.

    The entry script calls this first. A session ended elsewhere, or a Worker switched off, ends here too.
    """
    try:
        actor = current_actor()
    except SessionEnded:
        if _SESSION in st.session_state:
            _forget()
            st.session_state[_NOTICE] = ENDED
    except FedcostError as error:
        st.error(str(error))
        st.stop()
    else:
        _hand_over_cookie(actor)
        return actor
    _show_form()
    st.stop()
    raise AssertionError("st.stop() does not return")  # pragma: no cover


def current_actor() -> Actor:
    """Return who is signed in at this moment, read from the database.

    Every page, fragment and callback calls this first: fragments and callbacks skip the entry script.

    Raises
    ------
    SessionEnded
        If nobody is signed in, the session has ended or the Worker was switched off.
    """
    return outlasting(_current_actor, repeatable=True)


def _current_actor() -> Actor:
    session_id = st.session_state.get(_SESSION)
    address = browser_address()
    if isinstance(session_id, uuid.UUID):
        with central_session() as central:
            return actor_for_session(
                central, session_id=session_id, address=address, person_acts=not _is_fragment_run()
            )
    secret = _sent(st.context.cookies.get(cookie_name()))
    if not secret or st.session_state.get(_COOKIE_DUE_CLEARED):
        raise SessionEnded(ENDED)
    with central_session() as central:
        actor = actor_for_token(central, secret=secret, address=address)
    st.session_state[_SESSION] = actor.session_id
    return actor


def sign_out() -> None:
    """End the session and forget it here; the next rerun shows the form and clears the cookie.

    Whom an OpenID Connect provider vouched for leaves there too: Streamlit clears its own cookie and leads the
    browser to the provider's sign-out.
    """
    try:
        actor = current_actor()
    except SessionEnded:
        actor = None
    if actor is not None:
        with central_session() as central:
            sessions.sign_out(central, actor=actor)
    _forget()
    if openid_settings().is_on and _claims().get("is_logged_in"):
        st.logout()
        st.stop()  # a rerun would drop the way to the provider before the browser has it


def stay_signed_in(central: DatabaseSession, worker: MedicalWorker) -> None:
    """Open another session for this browser, whose own has just ended with all others of the person."""
    session, _ = sessions.open_session(
        central, worker=worker, user_agent=_user_agent(), address=browser_address()
    )
    st.session_state[_SESSION] = session.id
    st.session_state[_TICKET_DUE] = True


def leave_notice(sentence: str) -> None:
    """Have the sign-in form say something, once, above its fields."""
    st.session_state[_NOTICE] = sentence


def browser_address() -> str | None:
    """Return the network address that the browser comes from."""
    return _sent(st.context.ip_address)


def _user_agent() -> str | None:
    return _sent(st.context.headers.get("User-Agent"))


def _show_form() -> None:
    if st.session_state.get(_COOKIE_DUE_CLEARED):
        _post(SIGN_OUT_PATH, None)
    notice = st.session_state.pop(_NOTICE, None)
    if notice:
        st.info(notice)
    # The library believes its own keys in the session state; none of an earlier sign-in may be left.
    st.session_state["authentication_status"] = None
    if openid_settings().is_on:
        _offer_openid()
    form = DatabaseAuthenticate(address=browser_address(), user_agent=_user_agent())
    try:
        form.login(fields=FORM_FIELDS, key="auth_sign_in")
    except FedcostError as error:
        st.error(str(error))
        return
    if form.opened is not None:
        _enter(form.opened)
    if form.refusal is not None:
        st.error(form.refusal)
    elif st.session_state.get("authentication_status") is None and _submitted():
        st.error("Please enter your e-mail and your password.")


def _is_fragment_run() -> bool:
    """Tell whether only a part of the page runs, which a timer does without anybody being there."""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)


def _offer_openid() -> None:
    """Let in whom the provider has just vouched for, or offer to go there."""
    identity = identity_of(_claims())
    if identity is not None and st.session_state.get(_IDENTITY_TRIED) != identity.key:
        st.session_state[_IDENTITY_TRIED] = identity.key
        try:
            with central_session() as central:
                # Signing out here leaves Streamlit's own cookie for a moment; it opens nothing more.
                opened = (
                    None
                    if was_used(central, identity)
                    else sign_in_as(
                        central, identity=identity, address=browser_address(), user_agent=_user_agent()
                    ).id
                )
        except FedcostError as error:
            st.error(str(error))
            opened = None
        if opened is not None:
            _enter(opened)
    if st.button(
        f"Sign in with {openid_settings().openid_name}",
        icon=":material/passkey:",
        key="auth_openid",
        width="stretch",
    ):
        st.login()
    st.caption("Or with your e-mail and password:")


def _enter(session_id: uuid.UUID) -> None:
    """Begin this browser connection anew as the session's person; does not return."""
    _forget()
    st.session_state[_SESSION] = session_id
    st.session_state[_TICKET_DUE] = True
    st.session_state.pop(_COOKIE_DUE_CLEARED, None)
    st.rerun()


def _claims() -> dict[str, Any]:
    """Return what the provider said of whoever opened this browser connection, if anything."""
    return dict(st.user.to_dict())


def _submitted() -> bool:
    return bool(st.session_state.get("FormSubmitter:auth_sign_in-Sign in"))


def _hand_over_cookie(actor: Actor) -> None:
    """Let the browser fetch its cookie: in the first whole run after the form, and in the next ones until it did.

    A run that follows at once takes the script away before the browser has seen it.
    """
    if st.session_state.pop(_TICKET_DUE, False):
        with central_session() as central:
            st.session_state[_TICKET] = issue_ticket(
                central,
                session_id=actor.session_id,
                browser=_sent(st.context.cookies.get(browser_cookie_name())),
            )
    elif _TICKET in st.session_state:
        with central_session() as central:
            if not ticket_waits(central, ticket=st.session_state[_TICKET]):
                del st.session_state[_TICKET]
    if _TICKET in st.session_state:
        _post(SESSION_PATH, {"ticket": st.session_state[_TICKET]})


def _post(path: str, body: dict[str, str] | None) -> None:
    options = {
        "method": "POST",
        "credentials": "same-origin",
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(body or {}),
    }
    st.html(
        f"<script>fetch({json.dumps(path)}, {json.dumps(options)});</script>", unsafe_allow_javascript=True
    )


def _forget() -> None:
    for key in list(st.session_state.keys()):
        del st.session_state[key]
    if _sent(st.context.cookies.get(cookie_name())):
        st.session_state[_COOKIE_DUE_CLEARED] = True


def _sent(value: object) -> str | None:
    """Return what the browser sent; under Streamlit's AppTest there is no request, and stand-ins answer."""
    return value if isinstance(value, str) else None
