"""Patients: the own institution's patients, searched, filtered and ordered by what stands in the address."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app.actor import Actor
from app.components.empty import NextStep, show_empty
from app.components.formats import count, plain
from app.components.guard import acting
from app.components.navigation import page
from app.components.paging import show_page_turner
from app.components.patient_deletion import show_deletion_notice, show_recently_deleted, show_restored
from app.components.patient_draft import show_unsaved, warn_before_leaving
from app.components.patient_export import show_export
from app.components.patient_filters import show_active, show_filters
from app.components.patient_list_state import current_view, order_by, show_view, total_of_list, turn_to
from app.components.patient_list_view import PatientListView, filter_address
from app.components.patient_table import show_patient_table
from app.databases import site_session
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import patient_records, patients
from app.services.paging import Page
from app.services.patient_query import PatientFilter
from db.site import Patient

PATIENTS_PER_PAGE = 25


def read_page(actor: Actor, view: PatientListView) -> tuple[Page[Patient], PatientListView]:
    """List a page; one that no longer exists gives way to the first one."""
    for wanted in (view, view.first_page()):
        try:
            with site_session(actor) as site:
                listed = patients.list_patients(
                    site=site,
                    actor=actor,
                    filter=wanted.filter,
                    sort=wanted.sort,
                    descending=wanted.descending,
                    cursor=wanted.cursor,
                    limit=PATIENTS_PER_PAGE,
                )
        except InvalidInput:
            if wanted.cursor is None:
                raise
            st.warning(
                "That page of the list no longer exists; this is the first one.",
                icon=":material/first_page:",
            )
        else:
            break
    return listed, wanted


def count_list(actor: Actor, view: PatientListView) -> int:
    """Count all pages of a view."""
    with site_session(actor) as site:
        return patients.count_patients(site=site, actor=actor, filter=view.filter)


@st.fragment
@acting(Permission.PATIENTS_READ)
def show_list(actor: Actor) -> None:
    """Search, filter and list patients, a page at a time; typing reruns only this."""
    view, problems = current_view()
    if view.deleted and actor.may(Permission.PATIENTS_DELETE):
        show_deleted(view)
        return
    show_deletion_notice()
    with st.container(horizontal=True, vertical_alignment="bottom", key="patients_search_row"):
        show_filters(view, problems)
        st.space("stretch")
        if actor.may(Permission.PATIENTS_WRITE) and st.button(
            "Add patient", icon=":material/person_add:", type="primary", key="patients_add"
        ):
            st.switch_page(page("patient"), query_params={"new": "yes"})
    show_active(view, problems)
    listed, view = read_page(actor, view)
    if not listed.items:
        show_nobody(actor, view)
        return
    above = st.container(horizontal=True, vertical_alignment="center", key="patients_actions")
    opened = show_patient_table(
        listed.items,
        key="patients_table",
        page=view.cursor or "",
        sort=view.sort,
        descending=view.descending,
        order_by=order_by,
    )
    if opened is not None:
        st.switch_page(page("patient"), query_params={"patient": str(opened)})
    # Counting a million takes longer than reading a page of them, which is on the screen by now.
    total = total_of_list(lambda: count_list(actor, view))
    with above:
        show_actions(actor, view, total)
    show_page_turner(
        "patients",
        page=listed,
        number=view.number,
        page_size=PATIENTS_PER_PAGE,
        total=total,
        turn=turn_to,
    )
    show_way_to_deleted(actor, view)


def show_actions(actor: Actor, view: PatientListView, total: int) -> None:
    """Say how many patients there are and offer what can be done with all of them."""
    fit = "" if not view.is_narrowed else " matches" if total == 1 else " match"
    st.markdown(f"**{count(total, 'patient')}**{fit}", width="content")
    st.space("stretch")
    if actor.may(Permission.PREDICT_BATCH):
        st.page_link(
            page("batch"),
            label="Predict for these patients",
            icon=":material/calculate:",
            query_params=filter_address(view.filter),
        )
    if actor.may(Permission.PATIENTS_EXPORT):
        show_export(actor, view, total)


def show_way_to_deleted(actor: Actor, view: PatientListView) -> None:
    """Lead those who may restore to the patients who were deleted."""
    if actor.may(Permission.PATIENTS_DELETE):
        st.button(
            "Recently deleted patients",
            icon=":material/restore_from_trash:",
            type="tertiary",
            key="patients_show_deleted",
            on_click=show_view,
            args=(replace(view, deleted=True),),
        )


def show_nobody(actor: Actor, view: PatientListView) -> None:
    """Say why the list is empty and what to do."""
    if view.is_narrowed:
        show_empty(
            "Nobody matches",
            "No patient of your hospital fits this search and these filters. Search for a part of the name, or "
            "clear the filters.",
            icon="person_search",
        )
        st.button(
            "Clear search and filters",
            key="patients_clear_empty",
            on_click=show_view,
            args=(view.first_page(filter=PatientFilter()),),
        )
        return
    may_import = actor.may(Permission.PATIENTS_IMPORT)
    show_empty(
        "No patients yet",
        "Add the first one, or import a file."
        if may_import
        else "Add the first one, or let a doctor import a file.",
        icon="groups",
        links=[NextStep("patient_import", "Import a file")] if may_import else (),
    )
    show_way_to_deleted(actor, view)


@acting(Permission.PATIENTS_DELETE)
def show_deleted(actor: Actor, view: PatientListView) -> None:
    """List recently deleted patients."""
    st.button(
        "Back to the patients",
        icon=":material/arrow_back:",
        type="tertiary",
        key="patients_back",
        on_click=show_view,
        args=(replace(view, deleted=False),),
    )
    st.header("Recently deleted", anchor=False)
    show_restored()
    with site_session(actor) as site:
        deleted = patient_records.recently_deleted(site=site, actor=actor).items
    show_recently_deleted(actor, deleted)


@acting(Permission.PATIENTS_READ)
def show_page(actor: Actor) -> None:
    """Lay out what is unsaved, the list, and the way to the deleted ones."""
    st.title("Patients", anchor=False)
    st.markdown(f"Patients of {plain(actor.institution_name or '')}. No other hospital sees them.")
    show_unsaved()
    show_list()
    warn_before_leaving()


show_page()
