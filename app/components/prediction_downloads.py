"""Files made when their button is pressed, and only then: CSV and Excel of rows that a service yields."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import date

import streamlit as st

from app.actor import Actor
from app.auth.sessions import actor_for_session
from app.databases import central_session
from app.errors import FedcostError, PermissionRefused
from app.permissions import Permission
from app.services import audit
from app.services.tabular import write_csv, write_excel

logger = logging.getLogger(__name__)

Rows = Callable[[Actor], Iterable[Sequence[object]]]
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
) -> None:
    """Draw a button each for CSV and Excel.

    The file is made in a thread of its own, long after the page was drawn: who presses is read from the database
    again, and must still have `permission`.

    Parameters
    ----------
    file_name
        Without its ending; the day is added.
    rows
        Gets who presses, and yields the rows in the order of `headings`.
    """

    def content(write: Callable[[Sequence[str], Iterable[Sequence[object]]], bytes]) -> Callable[[], bytes]:
        return lambda: file_content(actor, permission, lambda presses: write(headings, rows(presses)))

    named = f"{file_name}-{date.today():%Y-%m-%d}"
    with st.container(horizontal=True):
        st.download_button(
            "Download CSV",
            data=content(write_csv),
            file_name=f"{named}.csv",
            mime="text/csv",
            icon=":material/download:",
            key=f"{key}_csv",
            on_click="ignore",
        )
        st.download_button(
            "Download Excel",
            data=content(lambda headings, rows: write_excel(headings, rows, sheet=file_name.capitalize())),
            file_name=f"{named}.xlsx",
            mime=_EXCEL,
            icon=":material/download:",
            key=f"{key}_excel",
            on_click="ignore",
        )


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
        # The message of a database error quotes the row.
        stack = "".join(traceback.format_tb(error.__traceback__))
        logger.error("a download failed: %s\n%s", type(error).__name__, stack)
        raise DownloadFailed(type(error).__name__) from None
