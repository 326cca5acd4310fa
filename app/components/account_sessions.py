"""Where somebody is signed in: each browser and program, and a button that ends it."""

from __future__ import annotations

import uuid

import streamlit as st

from app.actor import Actor
from app.components.device_words import device_words
from app.components.formats import count, plain, when
from app.components.guard import acting
from app.databases import central_session
from app.permissions import Permission
from app.services import worker_sessions
from app.services.worker_sessions import SessionView

_ENDED = "account_sessions_ended"


@acting(Permission.OWN_ACCOUNT)
def end_session(actor: Actor, session_id: uuid.UUID) -> None:
    """End one of the person's sessions."""
    with central_session() as central:
        worker_sessions.end_own_session(central=central, actor=actor, session_id=session_id)
    st.session_state[_ENDED] = 1


@acting(Permission.OWN_ACCOUNT)
def end_others(actor: Actor) -> None:
    """End all of the person's sessions but this one."""
    with central_session() as central:
        st.session_state[_ENDED] = worker_sessions.end_other_sessions(central=central, actor=actor)


@acting(Permission.OWN_ACCOUNT)
def show_sessions(actor: Actor) -> None:
    """List the sessions, this one first."""
    st.header("Where you are signed in", anchor=False)
    with central_session() as central:
        sessions = worker_sessions.own_sessions(central=central, actor=actor)
    ended = st.session_state.pop(_ENDED, None)
    if ended:
        st.success(f"{count(ended, 'session')} ended.", icon=":material/check_circle:")
    st.markdown("If you do not recognise one, end it and change your password.")
    for session in sessions:
        _show(session)
    others = len(sessions) - 1
    if others > 0:
        st.button(
            "Sign out everywhere else",
            icon=":material/logout:",
            key="account_end_others",
            on_click=end_others,
        )


def _show(session: SessionView) -> None:
    with (
        st.container(border=True, key=f"account_session_{session.id}"),
        st.container(horizontal=True, vertical_alignment="center"),
    ):
        with st.container(gap="xxsmall"):
            mark = " :green-badge[This one]" if session.is_this_one else ""
            st.markdown(f"**{plain(device_words(session.kind, session.user_agent))}**{mark}")
            place = f"From {session.address} · " if session.address else ""
            st.caption(
                plain(f"{place}since {when(session.created_at)} · last active {when(session.last_seen_at)}")
            )
        if not session.is_this_one:
            st.button(
                "End",
                key=f"account_end_{session.id}",
                help="Sign this one out",
                on_click=end_session,
                args=(session.id,),
            )
