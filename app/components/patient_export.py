"""The present view of the list as a file: made, and recorded in the access log, only when a doctor asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from app.actor import Actor
from app.components.downloads import show_downloads
from app.components.formats import count
from app.components.patient_list_view import PatientListView
from app.databases import site_session
from app.permissions import Permission
from app.services import patients
from db.site import Patient
from fl.features import FEATURES, TARGET_NAME

# The names that an import understands, so that what was exported can be imported again.
HEADINGS = ("last_name", "first_name", *(feature.name for feature in FEATURES), TARGET_NAME)


def show_export(actor: Actor, view: PatientListView, total: int) -> None:
    """Offer the present view as CSV and as Excel; drawing the buttons neither reads nor records anything."""
    with st.popover("Export", icon=":material/download:", key="patients_export"):
        st.markdown(
            f"{count(total, 'patient')} of this view, in its order. Each export is recorded in your hospital's "
            "access log. The file leaves the protection of this application: keep it safe."
        )
        show_downloads(
            actor,
            permission=Permission.PATIENTS_EXPORT,
            key="patients_export",
            file_name="patients",
            headings=HEADINGS,
            rows=lambda presses: export_rows(presses, view),
            total=total,
        )


def export_rows(actor: Actor, view: PatientListView) -> Iterator[list[object]]:
    """Yield every patient of a view as a row of the file."""
    with site_session(actor) as site:
        listed = patients.patients_for_export(
            site=site, actor=actor, filter=view.filter, sort=view.sort, descending=view.descending
        )
        yield from map(_row, listed)


def _row(patient: Patient) -> list[object]:
    values = [getattr(patient, name) for name in HEADINGS]
    # A decimal has as many digits as its column, 27.500, which some spreadsheets read as thousands.
    return [
        float(value) if name != TARGET_NAME and not isinstance(value, str | int) else value
        for name, value in zip(HEADINGS, values, strict=True)
    ]
