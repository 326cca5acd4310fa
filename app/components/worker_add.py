"""Adding a person: the form, and the one-time link that is shown once afterwards."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, open_dialog
from app.components.formats import ROLE_NAMES, plain
from app.components.guard import acting
from app.components.link_once import show_link_once
from app.databases import central_session
from app.permissions import INSTITUTION_ROLES, Permission
from app.services import worker_changes
from app.services.worker_changes import AddedWorker
from app.services.worker_scope import looks_after_all, roles_given_by
from db.states import Role

ADD = "worker_add"  # dialog
_ADDED = "worker_added"  # what is shown once
_FIELDS = ("worker_add_name", "worker_add_email", "worker_add_role", "worker_add_institution")


@acting(Permission.WORKERS_MANAGE)
def open_add(actor: Actor) -> None:
    """Open the form, empty."""
    for key in (_ADDED, *_FIELDS):
        st.session_state.pop(key, None)
    open_dialog(ADD)


@st.dialog("Add a person", on_dismiss=close_dialog)
@acting(Permission.WORKERS_MANAGE)
def add_dialog(actor: Actor, institutions: Mapping[str, str]) -> None:
    """Ask who it is; then show the link."""
    added: AddedWorker | None = st.session_state.get(_ADDED)
    if added is not None:
        _show_added(added)
        return
    name = st.text_input("Name", key="worker_add_name", autocomplete="off")
    email = st.text_input("E-mail", key="worker_add_email", autocomplete="off")
    role = st.selectbox(
        "Role", roles_given_by(actor), format_func=lambda each: ROLE_NAMES[each], key="worker_add_role"
    )
    institution = choose_institution(actor, role, institutions, key="worker_add_institution")
    if st.button("Add", type="primary", width="stretch", key="worker_add_confirmed"):
        with central_session() as central:
            st.session_state[_ADDED] = worker_changes.add_worker(
                central=central,
                actor=actor,
                name=name,
                email=email,
                role=role,
                institution=institution,
            )
        st.rerun()


def choose_institution(
    actor: Actor, role: Role, institutions: Mapping[str, str], *, key: str, chosen: str | None = None
) -> str | None:
    """Ask for the institution where there is one to choose; None for roles of the whole consortium.

    Parameters
    ----------
    chosen
        Code of the institution that is chosen at first.
    """
    if role not in INSTITUTION_ROLES:
        return None
    if not looks_after_all(actor):
        return actor.institution_code
    codes = list(institutions)
    return st.selectbox(
        "Hospital",
        codes,
        index=codes.index(chosen) if chosen in codes else None,
        format_func=lambda code: institutions.get(code, code),
        placeholder="Choose the hospital",
        key=key,
    )


def _show_added(added: AddedWorker) -> None:
    st.markdown(f":material/check_circle: **{plain(added.worker.name)} was added.**")
    st.markdown(
        "With this link they choose their password. **It is shown only now**; hand it over safely, and to nobody else."
    )
    show_link_once(added.link, key="worker_added_link")
    if st.button("I have noted it", type="primary", width="stretch", key="worker_added_done"):
        st.session_state.pop(_ADDED, None)
        close_dialog()
        st.rerun()
