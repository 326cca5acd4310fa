"""What a patient may ask for: everything held on them as one file, and to be erased for good."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

import streamlit as st

from app.actor import Actor
from app.components.browser import browser_zone
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.downloads import file_content
from app.components.formats import count, plain
from app.components.guard import acting
from app.components.navigation import page
from app.components.patient_view import listed_name
from app.databases import site_session
from app.permissions import Permission
from app.services import erasure, patient_records
from db.site import Patient

ERASE = "patient_erase"  # dialog, with the patient's id
_ERASED = "patients_erased"


def dialog_of(patient: Patient) -> str:
    """Return the name of the dialog that asks whether to erase this patient."""
    return f"{ERASE}_{patient.id}"


def show_rights(actor: Actor, patient: Patient, *, erased: Callable[[], None]) -> None:
    """Draw what can be done at the patient's own request; nothing for whoever may do neither."""
    may_export, may_erase = actor.may(Permission.PATIENTS_EXPORT), actor.may(Permission.PATIENTS_ERASE)
    if not (may_export or may_erase):
        return
    st.header("At the patient's request", anchor=False)
    st.markdown(
        "One file holds the record, its history, every prediction and who looked at them when. Erasing removes all of "
        "that for good."
    )
    with st.container(horizontal=True, key="patient_rights"):
        if may_export:
            st.download_button(
                "Export everything",
                data=lambda: _document(actor, patient),
                file_name=f"patient-{patient.id}-{datetime.now(browser_zone()):%Y-%m-%d}.json",
                mime="application/json",
                icon=":material/download:",
                key="patient_export_everything",
                on_click="ignore",
            )
        if may_erase:
            st.button(
                "Erase for good",
                icon=":material/delete_forever:",
                key="patient_erase",
                on_click=open_dialog,
                args=(dialog_of(patient),),
            )
    ask_to_erase_if_wanted(actor, patient, erased=erased)


def ask_to_erase_if_wanted(actor: Actor, patient: Patient, *, erased: Callable[[], None]) -> None:
    """Draw the dialog if it is open; `erased` is called after it was done."""
    if is_open(dialog_of(patient), possible=actor.may(Permission.PATIENTS_ERASE)):
        st.dialog("Erase this patient for good?", on_dismiss=close_dialog)(_confirm)(patient, erased)


def show_erased() -> None:
    """Say once that somebody was erased."""
    if st.session_state.pop(_ERASED, False):
        st.success("The patient was erased for good.", icon=":material/check_circle:")


def _document(actor: Actor, patient: Patient) -> bytes:
    def made(presses: Actor) -> bytes:
        with site_session(presses) as site:
            document = erasure.export_person(site=site, actor=presses, patient_id=patient.id)
        return json.dumps(document, indent=2, ensure_ascii=False).encode()

    return file_content(actor, Permission.PATIENTS_EXPORT, made)


@acting(Permission.PATIENTS_ERASE)
def _confirm(actor: Actor, patient: Patient, erased: Callable[[], None]) -> None:
    st.markdown(
        f"The record of **{plain(listed_name(patient))}**, its history and every prediction for it are erased. "
        "Nobody can bring them back."
    )
    st.markdown(
        "- The access log keeps the record's number, without a name or a value.\n"
        "- Models trained so far are not changed; the next training does not read this patient.\n"
        "- A prediction that was saved without a patient cannot be told apart from others, and stays.\n"
        "- Backups made before keep the record until they expire. One that is restored is erased from again."
    )
    with site_session(actor) as site:
        same = patient_records.possible_duplicates(
            site=site,
            actor=actor,
            first_name=patient.first_name,
            last_name=patient.last_name,
            age=patient.age,
        )
    others = [other for other in same if other.id != patient.id]
    if others:
        st.warning(
            f"There {'is' if len(others) == 1 else 'are'} {count(len(others), 'other record')} of the same name and "
            "age. If that is the same person, erase it too.",
            icon=":material/group:",
        )
        for other in others:
            st.page_link(
                page("patient"),
                label=listed_name(other),
                icon=":material/person:",
                query_params={"patient": str(other.id)},
            )
    typed = st.text_input(
        "To confirm, write the patient's last name", key="patient_erase_name", autocomplete="off"
    )
    right = typed.strip().casefold() == patient.last_name.strip().casefold()
    with st.container(horizontal=True):
        confirmed = st.button(
            "Erase for good", type="primary", icon=":material/delete_forever:", key="patient_erase_confirmed"
        )
        st.button("Keep", key="patient_erase_kept", on_click=close_dialog)
    if not confirmed:
        return
    if not right:
        st.error("That is not this patient's last name. Nothing was erased.", icon=":material/error:")
        return
    with site_session(actor) as site:
        erasure.erase_patient(site=site, actor=actor, patient_id=patient.id, confirmed_id=patient.id)
    st.session_state[_ERASED] = True
    close_dialog()
    erased()
