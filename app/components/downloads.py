"""Files made when their button is pressed, and only then: CSV and Excel of rows that a service yields."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import streamlit as st

from app.actor import Actor
from app.auth.sessions import actor_for_session
from app.components.browser import browser_zone
from app.components.formats import count
from app.databases import central_session
from app.errors import FedcostError, PermissionRefused
from app.log_privacy import log_fault
from app.permissions import Permission
from app.services import audit
from app.services.tabular import write_csv, write_excel

logger = logging.getLogger(__name__)

Rows = Callable[[Actor], Iterable[Sequence[object]]]
MOST_IN_EXCEL = 100_000  # rows; a larger workbook takes minutes to make, and as long to open
_EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class DownloadFailed(Exception):
    """The file could not be made; carries no value of a patient, for Streamlit logs it."""


def show_downloads(
    actor: Actor,
    *,
    permission: Permission,
    key: str,
    file_name: str,
    headings: Sequence[str],
    rows: Rows,
    total: int | None = None,
) -> None:
    """Draw a button each for CSV and Excel.

    The file is made in a thread of its own, long after the page was drawn: who presses is read from the database
    again, and must still have `permission`.

    Parameters
    ----------
    file_name
        Without its ending; the reader's day is added.
    rows
        Gets who presses, and yields the rows in the order of `headings`.
    total
        How many rows there are, if that is known before they are read: Excel is not offered for too many.
    """
    named = f"{file_name}-{datetime.now(browser_zone()):%Y-%m-%d}"
    too_many = total is not None and total > MOST_IN_EXCEL
    with st.container(horizontal=True):
        st.download_button(
            "Download CSV",
            data=lambda: file_content(actor, permission, lambda presses: write_csv(headings, rows(presses))),
            file_name=f"{named}.csv",
            mime="text/csv",
            icon=":material/download:",
            key=f"{key}_csv",
            on_click="ignore",
        )
        st.download_button(
            "Download Excel",
            data=lambda: file_content(
                actor,
                permission,
                lambda presses: write_excel(headings, rows(presses), sheet=file_name.capitalize()),
            ),
            file_name=f"{named}.xlsx",
            mime=_EXCEL,
            icon=":material/download:",
            key=f"{key}_excel",
            on_click="ignore",
            disabled=too_many,
        )
    if too_many:
        st.caption(f"Excel files hold up to {count(MOST_IN_EXCEL, 'row')}: filter first, or take CSV.")


def file_content(actor: Actor, permission: Permission, make: Callable[[Actor], bytes]) -> bytes:
    """Make a file for who presses now; raises `DownloadFailed`, with a sentence and never with a value of a patient."""
    try:
        with central_session() as central:
            presses = actor_for_session(central, session_id=actor.session_id, address=actor.address)
        try:
            presses.require(permission)
        except PermissionRefused:
            audit.record_refusal(actor=presses, action=f"download for {permission}")
            raise
        return make(presses)
    except FedcostError as error:
        raise DownloadFailed(str(error)) from None
    except Exception as error:
        reference = log_fault(logger, error, at=f"download for {permission}")
        raise DownloadFailed(
            f"The file could not be made. Your administrator finds it as {reference}."
        ) from None
