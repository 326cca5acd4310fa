"""The present view of the list as a file: made, and recorded in the access log, only when a doctor asks for it."""

from __future__ import annotations

import functools
import logging
import secrets
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime

import streamlit as st

from app.actor import Actor
from app.auth.sessions import actor_for_session
from app.components.browser import browser_zone
from app.components.formats import count
from app.components.patient_list_view import PatientListView
from app.databases import central_session, site_session
from app.errors import FedcostError, PermissionRefused
from app.permissions import Permission
from app.services import audit, patients
from app.services.tabular import write_csv, write_excel
from db.site import Patient
from fl.features import FEATURES, TARGET_NAME

logger = logging.getLogger(__name__)

# The names that an import understands, so that what was exported can be imported again.
HEADINGS = ("last_name", "first_name", *(feature.name for feature in FEATURES), TARGET_NAME)
MOST_IN_EXCEL = 100_000  # patients; a larger workbook takes minutes to make, and as long to open


def show_export(actor: Actor, view: PatientListView, total: int) -> None:
    """Offer the present view as CSV and as Excel; drawing the buttons neither reads nor records anything."""
    with st.popover("Export", icon=":material/download:", key="patients_export"):
        st.markdown(
            f"{count(total, 'patient')} of this view, in its order. Each export is recorded in your hospital's "
            "access log. The file leaves the protection of this application: keep it safe."
        )
        today = datetime.now(browser_zone()).date().isoformat()
        with st.container(horizontal=True):
            st.download_button(
                "CSV",
                data=functools.partial(export_file, actor.session_id, actor.address, view, as_csv),
                file_name=f"patients_{today}.csv",
                mime="text/csv",
                icon=":material/csv:",
                key="patients_export_csv",
                on_click="ignore",
            )
            st.download_button(
                "Excel",
                data=functools.partial(export_file, actor.session_id, actor.address, view, as_excel),
                file_name=f"patients_{today}.xlsx",
                mime="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                icon=":material/table_view:",
                key="patients_export_excel",
                on_click="ignore",
                disabled=total > MOST_IN_EXCEL,
            )
        if total > MOST_IN_EXCEL:
            st.caption(
                f"Excel files hold up to {count(MOST_IN_EXCEL, 'patient')}: filter first, or take CSV."
            )


def export_file(
    session_id: uuid.UUID,
    address: str | None,
    view: PatientListView,
    write: Callable[[Iterable[Patient]], bytes],
) -> bytes:
    """Make the file for whoever the session belongs to at this moment.

    Streamlit calls this in a thread of its own, outside every page, after the button was pressed; so the person is
    read from the database again.

    Raises
    ------
    FedcostError
        If they may not export any more, or a database does not answer. What went wrong otherwise is not passed on,
        because it is logged as it is and may quote a row.
    """
    reference = secrets.token_hex(4)
    try:
        return _export(session_id, address, view, write)
    except FedcostError as error:
        sentence = str(error)
    except Exception as error:
        logger.error("export failed, reference %s: %s", reference, type(error).__name__)
        sentence = f"The file could not be made. Your administrator finds it as {reference}."
    raise FedcostError(sentence)


def as_csv(listed: Iterable[Patient]) -> bytes:
    """Write patients as CSV."""
    return write_csv(HEADINGS, map(_row, listed))


def as_excel(listed: Iterable[Patient]) -> bytes:
    """Write patients as an Excel workbook."""
    return write_excel(HEADINGS, map(_row, listed), sheet="Patients")


def _export(
    session_id: uuid.UUID,
    address: str | None,
    view: PatientListView,
    write: Callable[[Iterable[Patient]], bytes],
) -> bytes:
    with central_session() as central:
        actor = actor_for_session(central, session_id=session_id, address=address)
    try:
        actor.require(Permission.PATIENTS_EXPORT)
    except PermissionRefused:
        audit.record_refusal(actor=actor, action="pages/patients.py export")
        raise
    with site_session(actor) as site:
        return write(
            patients.patients_for_export(
                site=site, actor=actor, filter=view.filter, sort=view.sort, descending=view.descending
            )
        )


def _row(patient: Patient) -> list[object]:
    values = [getattr(patient, name) for name in HEADINGS]
    # A decimal has as many digits as its column, 27.500, which some spreadsheets read as thousands.
    return [
        float(value) if name != TARGET_NAME and not isinstance(value, str | int) else value
        for name, value in zip(HEADINGS, values, strict=True)
    ]
