"""Audit: who did what, when, from where; in a hospital its own trail, in the consortium the central one."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.audit_filters import LIST, clear_filters, show_filters
from app.components.audit_view import show_chain, show_event, show_events, show_export
from app.components.empty import show_empty
from app.components.formats import plain
from app.components.guard import acting, show_error
from app.components.paging import current_cursor, show_pager
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import audit_reading
from app.services.audit_words import action_words

EVENTS_PER_PAGE = 25


@acting(Permission.AUDIT_READ)
def show_all(actor: Actor) -> None:
    """Take the filters away."""
    clear_filters()


@acting(Permission.AUDIT_READ)
def show_list(actor: Actor) -> None:
    """Filter and list events, a page at a time."""
    with audit_reading.trail_opened(actor, read_only=True) as trail:
        of_patients = trail.kind == "site"
        show_chain(actor, audit_reading.trail_state(trail, actor=actor))
        chosen = show_filters(audit_reading.audit_choices(trail, actor=actor), of_patients=of_patients)
        cursor = current_cursor(LIST)
        try:
            listed = audit_reading.list_events(
                trail, actor=actor, filter=chosen, cursor=cursor, limit=EVENTS_PER_PAGE
            )
        except InvalidInput as error:
            show_error(error)
            st.button("Show all events", key="audit_show_all", on_click=show_all)
            return
    if not listed.items:
        show_empty(
            "No event fits" if chosen.used else "Nothing has happened yet",
            "Nothing in the trail fits all the filters above. Take one away, or all of them."
            if chosen.used
            else "Every sign-in, read, change and export will stand here.",
            icon="filter_alt_off" if chosen.used else "policy",
        )
        if chosen.used:
            st.button("Show all events", key="audit_show_all", on_click=show_all)
        return
    opened = show_events(listed.items, with_institution=not of_patients, page=cursor or "")
    show_pager(LIST, next_cursor=listed.next_cursor)
    show_export(actor, chosen)
    if opened is not None:
        st.dialog(plain(action_words(opened.action)))(show_event)(opened)


@acting(Permission.AUDIT_READ)
def show_page(actor: Actor) -> None:
    """Say whose trail it is, and show it."""
    st.title("Audit", anchor=False)
    st.markdown(
        f"Who read or changed what at {plain(actor.institution_name)}. Patients stand here by number, never by name, "
        "and no other hospital sees this."
        if actor.institution_name
        else "Sign-ins, refusals, runs, decisions and settings of the consortium. Who read which patient is known in "
        "the hospital alone."
    )
    show_list()


show_page()
