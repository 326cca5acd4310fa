"""Adding and editing a patient: the form with its buttons, possible duplicates, and the choice after a conflict."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import streamlit as st

from app.actor import Actor
from app.components.formats import describe_inputs, plain
from app.components.guard import acting
from app.components.navigation import page
from app.components.patient_conflict import Conflict, show_conflict
from app.components.patient_draft import Draft, discard, merged, warn_before_leaving
from app.components.patient_form import entry_of, show_fields
from app.components.patient_list_state import last_address
from app.components.patient_view import listed_name
from app.databases import site_session
from app.errors import PatientChanged
from app.permissions import Permission
from app.services import patient_records
from db.site import Patient
from fl.features import FEATURE_NAMES

_NOTICE = "patient_notice"


def back_to_list() -> None:
    """Link to the list as it was left."""
    st.page_link(
        page("patients"), label="All patients", icon=":material/arrow_back:", query_params=last_address()
    )


def taken_notice() -> str | None:
    """Return once what was just done to the record."""
    notice: str | None = st.session_state.pop(_NOTICE, None)
    return notice


@st.fragment
@acting(Permission.PATIENTS_WRITE)
def show_form(actor: Actor, draft: Draft) -> None:
    """Take a record and save it; typing reruns only this, so that problems appear as one types."""
    problems = show_fields(draft)
    beneath = st.container()
    with st.container(horizontal=True):
        save = st.button(
            "Save" if draft.patient_id else "Add patient",
            type="primary",
            icon=":material/save:",
            key="patient_save",
            on_click=_show_all_problems,
            args=(draft,),
        )
        leave = st.button("Discard changes" if draft.changed else "Cancel", key="patient_cancel")
    warn_before_leaving()
    if leave:
        discard(draft.target)
        _leave(draft.patient_id)
    with beneath:
        if problems:
            if draft.all_shown:
                st.error("Please correct the fields marked above.", icon=":material/error:")
        elif draft.patient_id is not None:
            if save:
                save_draft(draft, draft.row_version)
        elif save or draft.duplicates_shown:
            alike = _alike(actor, draft)
            draft.duplicates_shown = bool(alike)
            accepted = bool(alike) and _show_duplicates(alike)
            if accepted or (save and not alike):
                save_draft(draft, None)


@acting(Permission.PATIENTS_WRITE)
def show_choice(actor: Actor, draft: Draft) -> None:
    """Let the reader choose between the record as somebody else saved it and what was typed here."""
    conflict = draft.conflict
    assert conflict is not None
    decision = show_conflict(conflict, draft.original, key=f"patient_conflict_{conflict.row_version}")
    warn_before_leaving()
    if decision is None:
        return
    draft.conflict = None
    if decision.kept is None:
        st.rerun()
    theirs = {
        difference.field: difference.theirs
        for difference in conflict.differences
        if decision.kept[difference.field] == "theirs"
    }
    if len(theirs) == len(conflict.differences):
        discard(draft.target)
        _leave(draft.patient_id, "Nothing was changed: the record stays as it was saved before you.")
    draft.values = merged(draft.values, theirs)
    save_draft(draft, conflict.row_version)


@acting(Permission.PATIENTS_WRITE)
def save_draft(actor: Actor, draft: Draft, row_version: int | None) -> None:
    """Save what was typed and go on to the record; another person's change is kept for the reader to decide."""
    first_name, last_name, inputs, cost = entry_of(draft.values)
    entry: dict[str, Any] = {
        "first_name": first_name,
        "last_name": last_name,
        "inputs": inputs,
        "insurance_cost": cost,
    }
    saved: Patient | None = None
    with site_session(actor) as site:
        if draft.patient_id is None or row_version is None:
            saved = patient_records.add_patient(site=site, actor=actor, **entry)
        else:
            try:
                saved = patient_records.edit_patient(
                    site=site, actor=actor, patient_id=draft.patient_id, row_version=row_version, **entry
                )
            except PatientChanged as changed:
                history = patient_records.changes_of(
                    site=site, actor=actor, patient_id=draft.patient_id, limit=1
                ).items
                draft.conflict = Conflict(
                    row_version=changed.current.row_version,
                    differences=changed.differences,
                    who=history[0].worker_name if history else None,
                    at=history[0].occurred_at if history else None,
                )
    if saved is None:
        st.rerun(scope="app")
    discard(draft.target)
    done = "was added" if draft.patient_id is None else "is saved"
    _leave(saved.id, f"{listed_name(saved)} {done}.")


def _alike(actor: Actor, draft: Draft) -> list[Patient]:
    first_name, last_name, inputs, _ = entry_of(draft.values)
    with site_session(actor) as site:
        return patient_records.possible_duplicates(
            site=site, actor=actor, first_name=first_name, last_name=last_name, age=inputs["age"]
        )


def _show_duplicates(alike: Sequence[Patient]) -> bool:
    """Point out patients of the same name and age; True once the reader says that this is somebody else."""
    with st.container(border=True, key="patient_duplicates"):
        words = "A patient" if len(alike) == 1 else f"{len(alike)} patients"
        verb = "is" if len(alike) == 1 else "are"
        st.markdown(
            f":material/group: **{words} of this name and age {verb} on record already.** Is it the same?"
        )
        for patient in alike:
            inputs = {name: getattr(patient, name) for name in FEATURE_NAMES}
            st.page_link(
                page("patient"),
                label=f"{plain(listed_name(patient))} · {plain(describe_inputs(inputs))}",
                icon=":material/person:",
                query_params={"patient": str(patient.id)},
            )
        st.caption("What you typed stays here while you look.")
        return st.button("Add anyway", key="patient_add_anyway")


def _show_all_problems(draft: Draft) -> None:
    draft.all_shown = True


def _leave(patient_id: uuid.UUID | None, notice: str | None = None) -> None:
    if patient_id is None:
        st.switch_page(page("patients"), query_params=last_address())
    st.session_state[_NOTICE] = notice
    st.switch_page(page("patient"), query_params={"patient": str(patient_id)})
