"""Deleting a patient: asked once, undone with one press for a while, and for a month from a list of its own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, open_dialog
from app.components.empty import show_empty
from app.components.formats import describe_inputs, plain, when
from app.components.guard import acting
from app.components.patient_erasure import ask_to_erase_if_wanted, dialog_of, show_erased
from app.components.patient_view import listed_name
from app.databases import site_session
from app.permissions import Permission
from app.services import patient_records
from app.services.patient_records import UNDO_PERIOD
from db.site import Patient
from fl.features import FEATURE_NAMES

UNDO_SHOWN = (
    15 * 60.0
)  # seconds that the notice with "Undo" stays; after that the list of deleted patients has it
_DELETED = "patients_deleted"
_RESTORED = "patients_restored"


@dataclass(frozen=True)
class Deleted:
    """A patient deleted a moment ago, for the notice."""

    patient_id: uuid.UUID
    name: str
    at: float  # on the monotonic clock


@acting(Permission.PATIENTS_DELETE)
def ask_to_delete(actor: Actor, patient: Patient, *, deleted: Callable[[], None]) -> None:
    """Ask in a dialog whether to delete; `deleted` is called after it was done."""
    dialog = st.dialog("Delete this patient?", on_dismiss=close_dialog)
    dialog(_confirm)(patient, deleted)


@acting(Permission.PATIENTS_DELETE)
def _confirm(actor: Actor, patient: Patient, deleted: Callable[[], None]) -> None:
    st.markdown(
        f"**{plain(listed_name(patient))}** disappears from lists, counts and exports, and is not trained on. "
        f"The record and its history are kept; a doctor can restore it for {UNDO_PERIOD.days} days."
    )
    with st.container(horizontal=True):
        confirmed = st.button(
            "Delete", type="primary", icon=":material/delete:", key="patient_delete_confirmed"
        )
        st.button("Keep", key="patient_delete_kept", on_click=close_dialog)
    if not confirmed:
        return
    with site_session(actor) as site:
        patient_records.delete_patient(site=site, actor=actor, patient_id=patient.id)
    st.session_state[_DELETED] = Deleted(patient.id, listed_name(patient), time.monotonic())
    close_dialog()
    deleted()


@acting(Permission.PATIENTS_DELETE)
def restore(actor: Actor, patient_id: uuid.UUID, name: str) -> None:
    """Bring a deleted patient back; a callback."""
    last: Deleted | None = st.session_state.get(_DELETED)
    if last is not None and last.patient_id == patient_id:
        del st.session_state[_DELETED]
    with site_session(actor) as site:
        patient_records.restore_patient(site=site, actor=actor, patient_id=patient_id)
    st.session_state[_RESTORED] = name


def show_deletion_notice() -> None:
    """Show who was deleted a moment ago, with the way back, or who was just restored."""
    show_restored()
    last: Deleted | None = st.session_state.get(_DELETED)
    if last is None or time.monotonic() - last.at > UNDO_SHOWN:
        return
    with st.container(
        border=True, horizontal=True, vertical_alignment="center", key="patients_deleted_notice"
    ):
        st.markdown(f":material/delete: **{plain(last.name)}** was deleted.", width="stretch")
        st.button(
            "Undo",
            key="patients_undo",
            type="primary",
            icon=":material/undo:",
            on_click=restore,
            args=(last.patient_id, last.name),
        )
        st.button("Dismiss", key="patients_undo_dismiss", type="tertiary", on_click=_dismiss)


def show_restored() -> None:
    """Say once who was just restored, or that somebody was erased."""
    show_erased()
    restored = st.session_state.pop(_RESTORED, None)
    if restored:
        st.success(f"{plain(restored)} is restored.", icon=":material/check_circle:")


def show_recently_deleted(actor: Actor, deleted: Sequence[Patient]) -> None:
    """List the patients that can still be restored, the last deleted first."""
    st.markdown(
        f"Deleted patients can be restored, with their history and predictions, for {UNDO_PERIOD.days} days."
    )
    if not deleted:
        show_empty("Nobody was deleted lately", "There is nothing to restore.", icon="delete_sweep")
        return
    for patient in deleted:
        with (
            st.container(border=True, key=f"patients_deleted_{patient.id}"),
            st.container(horizontal=True, vertical_alignment="center"),
        ):
            inputs = {name: getattr(patient, name) for name in FEATURE_NAMES}
            st.markdown(
                f"**{plain(listed_name(patient))}**  \n{plain(describe_inputs(inputs))}  \n"
                f":small[Deleted {plain(when(patient.deleted_at))}]",
                width="stretch",
            )
            st.button(
                "Restore",
                key=f"patients_restore_{patient.id}",
                icon=":material/restore_from_trash:",
                on_click=restore,
                args=(patient.id, listed_name(patient)),
            )
            if actor.may(Permission.PATIENTS_ERASE):
                st.button(
                    "Erase",
                    key=f"patients_erase_{patient.id}",
                    icon=":material/delete_forever:",
                    on_click=open_dialog,
                    args=(dialog_of(patient),),
                )
        ask_to_erase_if_wanted(actor, patient, erased=st.rerun)


def _dismiss() -> None:
    st.session_state.pop(_DELETED, None)
