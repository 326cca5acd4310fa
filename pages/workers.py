"""People: who can sign in, found and looked after by the administrators of the consortium or of a hospital."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.dialogs import is_open
from app.components.empty import show_empty
from app.components.formats import count, plain
from app.components.guard import acting, show_error
from app.components.paging import current_cursor, first_page, show_pager
from app.components.worker_add import ADD, add_dialog, open_add
from app.components.worker_dialog import WORKER, open_worker, worker_dialog
from app.components.worker_filters import show_filters
from app.components.worker_table import show_workers
from app.databases import central_session
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import worker_list

PEOPLE_PER_PAGE = 25


@st.fragment
@acting(Permission.WORKERS_MANAGE)
def show_list(actor: Actor) -> None:
    """Search, filter and list people, a page at a time; typing reruns only this."""
    with central_session() as central:
        institutions = worker_list.institutions_to_choose(central=central, actor=actor)
    with st.container(horizontal=True, vertical_alignment="bottom", key="workers_search_row"):
        chosen = show_filters(institutions)
        st.space("stretch")
        st.button(
            "Add a person",
            type="primary",
            icon=":material/person_add:",
            key="workers_add",
            on_click=open_add,
        )
    try:
        with central_session() as central:
            listed = worker_list.list_workers(
                central=central,
                actor=actor,
                filter=chosen,
                cursor=current_cursor("workers"),
                limit=PEOPLE_PER_PAGE,
            )
            total = worker_list.count_workers(central=central, actor=actor, filter=chosen)
    except InvalidInput as error:
        first_page("workers")
        show_error(error)
        return
    if not listed.items:
        show_empty(
            "Nobody matches", "Take a filter away, or search for a part of the name.", icon="person_search"
        )
    else:
        st.markdown(f"**{count(total, 'person', 'people')}**")
        opened = show_workers(listed.items, key="workers_table", with_institution=len(institutions) > 1)
        show_pager("workers", next_cursor=listed.next_cursor)
        if opened is not None:
            open_worker(opened)
            st.rerun()
    if is_open(ADD):
        add_dialog(institutions)
    if is_open(WORKER):
        worker_dialog(institutions)


@acting(Permission.WORKERS_MANAGE)
def show_page(actor: Actor) -> None:
    """Lay out what the page is for and the list."""
    st.title("People", anchor=False)
    whose = plain(actor.institution_name) if actor.institution_name else "the consortium"
    st.markdown(
        f"The people of {whose} who can sign in. Nobody makes up a password for somebody else: a new person, or "
        "one who forgot theirs, gets a link with which they choose one."
    )
    show_list()


show_page()
