"""Search and filters above the list of people."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.components.formats import ROLE_NAMES
from app.components.paging import first_page
from app.components.worker_words import STATE_NAMES, WHOLE
from app.services.worker_list import STATES, WHOLE_CONSORTIUM, WorkerFilter
from db.states import Role


def show_filters(institutions: Mapping[str, str]) -> WorkerFilter:
    """Draw the fields and return what they say; a changed one leads back to the first page.

    Parameters
    ----------
    institutions
        Code -> name of those whose people are looked after; with one there is nothing to choose.
    """
    many = len(institutions) > 1
    search = st.text_input(
        "Search",
        key="workers_search",
        type="search",
        live=True,
        icon=":material/search:",
        placeholder="Name or e-mail",
        width=210,
        on_change=_changed,
    )
    role = st.selectbox(
        "Role",
        list(Role) if many else [Role.DOCTOR, Role.NURSE, Role.INSTITUTION_ADMIN],
        index=None,
        format_func=lambda each: ROLE_NAMES[each],
        key="workers_role",
        placeholder="Any",
        width=160,
        on_change=_changed,
    )
    institution = None
    if many:
        names = {WHOLE_CONSORTIUM: WHOLE, **institutions}
        institution = st.selectbox(
            "Hospital",
            list(names),
            index=None,
            format_func=lambda code: names.get(code, code),
            key="workers_institution",
            placeholder="Any",
            width=180,
            on_change=_changed,
        )
    state = st.selectbox(
        "State",
        STATES,
        index=None,
        format_func=STATE_NAMES.__getitem__,
        key="workers_state",
        placeholder="Any",
        width=160,
        on_change=_changed,
    )
    return WorkerFilter(search=search or None, role=role, institution=institution, state=state)


def _changed() -> None:
    first_page("workers")
