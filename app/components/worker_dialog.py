"""One person: how they stand, what they are, and what can be done for them."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, open_dialog
from app.components.formats import ROLE_NAMES, count, plain, verbatim
from app.components.guard import acting
from app.components.link_once import show_link_once
from app.components.worker_add import choose_institution
from app.components.worker_words import facts_of
from app.databases import central_session
from app.permissions import Permission
from app.services import one_time_links, worker_changes, worker_list, worker_sessions
from app.services.one_time_links import NewLink
from app.services.worker_list import WorkerView
from app.services.worker_scope import roles_given_by
from db.states import Role

WORKER = "worker"  # dialog
_SHOWN = "worker_shown"  # the person as the administrator saw them when they were opened
_LINK, _SAID = "worker_link", "worker_said"


@acting(Permission.WORKERS_MANAGE)
def open_worker(actor: Actor, worker_id: int) -> None:
    """Open a person as they are now."""
    with central_session() as central:
        st.session_state[_SHOWN] = worker_list.read_worker(central=central, actor=actor, worker_id=worker_id)
    for key in (_LINK, _SAID):
        st.session_state.pop(key, None)
    open_dialog(WORKER)


@st.dialog("Person", on_dismiss=close_dialog)
@acting(Permission.WORKERS_MANAGE)
def worker_dialog(actor: Actor, institutions: Mapping[str, str]) -> None:
    """Show the person, the fields that can be changed, and the actions."""
    worker: WorkerView = st.session_state[_SHOWN]
    with st.container(gap="xxsmall", key="worker_facts"):
        st.markdown(f"**{plain(worker.name)}** · {verbatim(worker.email)}")
        for fact in facts_of(worker):
            st.caption(plain(fact))
    said = st.session_state.pop(_SAID, None)
    if said:
        st.success(plain(said), icon=":material/check_circle:")
    link: NewLink | None = st.session_state.get(_LINK)
    if link is not None:
        st.markdown("**The link is shown only now**; hand it over safely, and to nobody else.")
        show_link_once(link, key="worker_new_link")
    _show_fields(actor, worker, institutions)
    st.divider()
    with st.container(horizontal=True):
        if worker.is_active:
            st.button(
                "Make a one-time link",
                icon=":material/link:",
                key="worker_make_link",
                help="With it the person chooses a new password. An earlier link stops working.",
                on_click=make_link,
                args=(worker.id,),
            )
        st.button(
            "End all sessions",
            icon=":material/logout:",
            key="worker_end_sessions",
            disabled=worker.sessions == 0,
            on_click=end_sessions,
            args=(worker.id,),
        )


@acting(Permission.WORKERS_MANAGE)
def make_link(actor: Actor, worker_id: int) -> None:
    """Make a link, which the dialog then shows."""
    with central_session() as central:
        st.session_state[_LINK] = one_time_links.make_link(central=central, actor=actor, worker_id=worker_id)
    _read_again(actor, worker_id)


@acting(Permission.WORKERS_MANAGE)
def end_sessions(actor: Actor, worker_id: int) -> None:
    """Sign the person out everywhere."""
    with central_session() as central:
        ended = worker_sessions.end_sessions_of(central=central, actor=actor, worker_id=worker_id)
    st.session_state[_SAID] = f"{count(ended, 'session')} ended."
    _read_again(actor, worker_id)


def _show_fields(actor: Actor, worker: WorkerView, institutions: Mapping[str, str]) -> None:
    # A record that was read again has fields of its own.
    key = f"worker_{worker.id}_{worker.row_version}"
    name = st.text_input("Name", value=worker.name, key=f"{key}_name", autocomplete="off")
    roles = roles_given_by(actor)
    itself = worker.id == actor.worker_id
    role = st.selectbox(
        "Role",
        roles,
        index=roles.index(Role(worker.role)),
        format_func=lambda each: ROLE_NAMES[each],
        key=f"{key}_role",
        disabled=itself,
        help="Nobody changes their own role." if itself else None,
    )
    institution = choose_institution(
        actor, role, institutions, key=f"{key}_institution", chosen=worker.institution_code
    )
    active = st.toggle("May sign in", value=worker.is_active, key=f"{key}_active", disabled=itself)
    if worker.sessions and (
        role != worker.role or institution != worker.institution_code or active < worker.is_active
    ):
        st.caption(f"Saving signs {plain(worker.name)} out everywhere.")
    if st.button("Save", type="primary", width="stretch", key="worker_save"):
        with central_session() as central:
            changed = worker_changes.change_worker(
                central=central,
                actor=actor,
                worker_id=worker.id,
                row_version=worker.row_version,
                name=name,
                role=role,
                institution=institution,
                is_active=active,
            )
        if changed == worker:
            close_dialog()
            st.rerun()
        st.session_state[_SHOWN] = changed
        st.session_state[_SAID] = "Saved."
        st.rerun()


def _read_again(actor: Actor, worker_id: int) -> None:
    with central_session() as central:
        st.session_state[_SHOWN] = worker_list.read_worker(central=central, actor=actor, worker_id=worker_id)
