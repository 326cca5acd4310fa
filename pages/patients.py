"""Patients: the own institution's patients by name, one of them in full, and the import of a file."""

from __future__ import annotations

import uuid

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.empty import show_empty
from app.components.formats import count, plain
from app.components.forms import show_problems
from app.components.guard import acting, show_error
from app.components.import_view import show_import_check, show_import_guide
from app.components.navigation import page
from app.components.paging import current_cursor, first_page, show_pager
from app.components.patient_view import patient_inputs, show_patient
from app.components.tables import show_patients
from app.databases import site_session
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import imports, patient_records, patients
from app.services.patient_query import PatientFilter
from db.site import Patient

PATIENTS_PER_PAGE = 25
ADD, ONE = "patients_add", "patients_one"  # dialogs
_OPENED = "patients_times_opened"  # renews the table, so that no row stays selected
_IMPORTS = "patients_imports"  # how many files were imported; renews the upload field


@acting(Permission.PATIENTS_READ)
def choose_patient(actor: Actor, patient_id: uuid.UUID) -> None:
    """Open the dialog of the selected patient."""
    st.session_state["patients_chosen"] = patient_id
    st.session_state[_OPENED] = st.session_state.get(_OPENED, 0) + 1
    open_dialog(ONE)


@acting(Permission.PATIENTS_READ)
def open_patient(actor: Actor, patient_id: uuid.UUID) -> None:
    """Read one patient, once, and show them in a dialog under their name."""
    with site_session(actor) as site:
        patient = patients.get_patient(site=site, actor=actor, patient_id=patient_id)
    name = plain(f"{patient.last_name}, {patient.first_name}")
    st.dialog(name, width="medium", on_dismiss=close_dialog)(draw_patient)(patient)


@acting(Permission.PATIENTS_READ)
def draw_patient(actor: Actor, patient: Patient) -> None:
    """Draw the dialog of one patient."""
    show_patient(patient)
    if actor.may(Permission.PREDICT) and st.button(
        "Predict cost", type="primary", icon=":material/calculate:", key="patients_predict"
    ):
        close_dialog()
        st.switch_page(page("predict"), query_params={"patient": str(patient.id)})


@st.dialog("Add a patient", width="medium", on_dismiss=close_dialog)
@acting(Permission.PATIENTS_WRITE)
def add_dialog(actor: Actor) -> None:
    """Take a new patient's values and add them; problems appear beneath their fields."""
    with st.form("patients_new_form", border=False):
        entry, places = patient_inputs("patients_new")
        submitted = st.form_submit_button("Add patient", type="primary", key="patients_new_submit")
    if not submitted:
        return
    try:
        with site_session(actor) as site:
            added = patient_records.add_patient(
                site=site,
                actor=actor,
                first_name=entry.first_name,
                last_name=entry.last_name,
                inputs=entry.inputs,
                insurance_cost=entry.insurance_cost,
            )
    except InvalidInput as error:
        rest = show_problems(places, error.problems)
        if rest:
            show_error(InvalidInput(rest))
        return
    st.session_state["patients_notice"] = f"{added.last_name}, {added.first_name} was added."
    close_dialog()
    st.rerun()


@acting(Permission.PATIENTS_READ)
def show_list(actor: Actor) -> None:
    """Search and list patients, a page at a time."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Search by name",
            key="patients_search",
            type="search",
            live=True,
            icon=":material/search:",
            placeholder="First or last name, or a part of it",
            width=380,
        )
        may_add = actor.may(Permission.PATIENTS_WRITE)
        if may_add and st.button("Add patient", icon=":material/person_add:", key="patients_add"):
            open_dialog(ADD)
    if is_open(ADD, possible=may_add):
        add_dialog()
    if st.session_state.get("patients_searched") != search:
        st.session_state["patients_searched"] = search
        first_page("patients")
    with site_session(actor) as site:
        wanted = PatientFilter(search=search)
        total = patients.count_patients(site=site, actor=actor, filter=wanted)
        listed = patients.list_patients(
            site=site, actor=actor, filter=wanted, cursor=current_cursor("patients"), limit=PATIENTS_PER_PAGE
        )
    if not listed.items:
        if search:
            show_empty(
                "Nobody of that name",
                "Check the spelling, or search for a part of the name.",
                icon="person_search",
            )
        else:
            show_empty("No patients yet", "Add a patient, or let a doctor import a file.", icon="groups")
        return
    st.caption(f"{count(total, 'patient')} · select a row to open a patient")
    opened = st.session_state.get(_OPENED, 0)
    show_patients(listed.items, key=f"patients_table_{opened}_{listed.items[0].id}", choose=choose_patient)
    show_pager("patients", next_cursor=listed.next_cursor, page_size=PATIENTS_PER_PAGE, total=total)


@acting(Permission.PATIENTS_IMPORT)
def show_import(actor: Actor) -> None:
    """Check a file and import it whole or not at all."""
    show_import_guide()
    attempt = st.session_state.setdefault(_IMPORTS, 0)
    file = st.file_uploader("CSV file of patients", type="csv", key=f"patients_import_{attempt}")
    if file is None:
        return
    check = imports.check_file(file.getvalue())
    show_import_check(check)
    if check.problems or not st.button(
        f"Import {count(len(check.rows), 'patient')}", type="primary", key="patients_import_confirmed"
    ):
        return
    with site_session(actor) as site:
        added = imports.import_patients(site=site, actor=actor, check=check)
    st.session_state[_IMPORTS] = attempt + 1
    st.session_state["patients_notice"] = f"{count(added, 'patient')} imported."
    st.rerun()


@acting(Permission.PATIENTS_READ)
def show_page(actor: Actor) -> None:
    """Lay out the list and, for those who may, the import beside it."""
    st.title("Patients", anchor=False)
    notice = st.session_state.pop("patients_notice", None)
    if notice:
        st.toast(notice, icon=":material/check_circle:")
    if is_open(ONE):
        open_patient(st.session_state["patients_chosen"])
    if actor.may(Permission.PATIENTS_IMPORT):
        listing, importing = st.tabs([f"Patients of {actor.institution_name}", "Import a file"])
        with listing:
            show_list()
        with importing:
            show_import()
    else:
        st.markdown(f"Patients of {actor.institution_name}")
        show_list()


show_page()
