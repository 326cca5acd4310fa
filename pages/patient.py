"""Patient: one record with its history and predictions; adding and editing, with what to do when two people do."""

from __future__ import annotations

import uuid

import streamlit as st

from app.actor import Actor
from app.components.dialogs import is_open, open_dialog
from app.components.empty import show_empty
from app.components.formats import plain
from app.components.guard import acting, show_error
from app.components.navigation import page
from app.components.patient_deletion import ask_to_delete
from app.components.patient_draft import (
    Draft,
    draft_of,
    new_draft,
    show_unsaved,
    warn_before_leaving,
)
from app.components.patient_editor import back_to_list, show_choice, show_form, taken_notice
from app.components.patient_erasure import show_rights
from app.components.patient_list_state import last_address
from app.components.patient_predictions import show_patient_predictions
from app.components.patient_view import listed_name, show_changes, show_record
from app.databases import site_session
from app.errors import NotFound
from app.permissions import Permission
from app.services import patient_records, patients, prediction_history
from db.site import Patient

FORM_WIDTH = 820  # pixels
DELETE = "patient_delete"  # dialog


@acting(Permission.PATIENTS_READ)
def show_patient(actor: Actor, patient: Patient) -> None:
    """Show a record with its predictions and its history."""
    st.title(plain(listed_name(patient)), anchor=False)
    notice = taken_notice()
    if notice:
        st.success(plain(notice), icon=":material/check_circle:")
    show_unsaved()
    with st.container(horizontal=True, key="patient_actions"):
        if actor.may(Permission.PREDICT) and st.button(
            "Predict cost", type="primary", icon=":material/calculate:", key="patient_predict"
        ):
            st.switch_page(page("predict"), query_params={"patient": str(patient.id)})
        if actor.may(Permission.PATIENTS_WRITE) and st.button(
            "Edit", icon=":material/edit:", key="patient_edit"
        ):
            st.switch_page(page("patient"), query_params={"patient": str(patient.id), "edit": "yes"})
        if actor.may(Permission.PATIENTS_DELETE):
            st.button(
                "Delete", icon=":material/delete:", key="patient_delete", on_click=open_dialog, args=(DELETE,)
            )
    if is_open(DELETE, possible=actor.may(Permission.PATIENTS_DELETE)):
        ask_to_delete(patient, deleted=lambda: st.switch_page(page("patients"), query_params=last_address()))
    with site_session(actor) as site:
        changes = patient_records.changes_of(site=site, actor=actor, patient_id=patient.id).items
        outcomes = prediction_history.predictions_of(site=site, actor=actor, patient_id=patient.id).items
    record, history = st.columns(2, gap="large")
    with record:
        st.header("Record", anchor=False)
        show_record(patient)
    with history:
        st.header("Changes", anchor=False)
        show_changes(changes)
    st.header("Predictions", anchor=False)
    if outcomes:
        show_patient_predictions(outcomes)
    else:
        st.markdown("No prediction was saved for this patient yet.")
    show_rights(actor, patient, erased=lambda: st.switch_page(page("patients"), query_params=last_address()))


@acting(Permission.PATIENTS_WRITE)
def show_editing(actor: Actor, draft: Draft, title: str) -> None:
    """Show the form of a new or known patient, or the choice between two versions of a record."""
    st.title(plain(title), anchor=False)
    show_unsaved(but=draft.target)
    with st.container(width=FORM_WIDTH):
        if draft.conflict is not None:
            show_choice(draft)
        else:
            show_form(draft)


def asked_patient(actor: Actor) -> Patient | None:
    """Return the patient whom the address names; a sentence says why if there is none."""
    asked = st.query_params.get("patient")
    if asked is None:
        st.title("Patient", anchor=False)
        show_empty("No patient is chosen", "Choose one from the list.", icon="person_search")
        return None
    try:
        patient_id = uuid.UUID(asked)
    except ValueError:
        st.title("Patient", anchor=False)
        show_error(NotFound("The address names no patient. Choose one from the list."))
        return None
    try:
        with site_session(actor) as site:
            return patients.get_patient(site=site, actor=actor, patient_id=patient_id)
    except NotFound as error:
        st.title("Patient", anchor=False)
        show_error(error)
        if actor.may(Permission.PATIENTS_DELETE):
            st.page_link(
                page("patients"),
                label="Recently deleted patients",
                icon=":material/restore_from_trash:",
                query_params={"deleted": "yes"},
            )
        return None


@acting(Permission.PATIENTS_READ)
def show_page(actor: Actor) -> None:
    """Show what the address asks for: a new patient's form, a record, or its form."""
    back_to_list()
    may_write = actor.may(Permission.PATIENTS_WRITE)
    if st.query_params.get("new") == "yes" and may_write:
        show_editing(new_draft(), "Add a patient")
        return
    patient = asked_patient(actor)
    if patient is None:
        show_unsaved()
        return
    if st.query_params.get("edit") == "yes" and may_write:
        show_editing(draft_of(patient), f"Edit {listed_name(patient)}")
    else:
        show_patient(patient)
        warn_before_leaving()


show_page()
