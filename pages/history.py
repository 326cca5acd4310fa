"""History: the predictions that the own institution has saved, newest first."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.empty import show_empty
from app.components.guard import acting
from app.components.navigation import page
from app.components.paging import current_cursor, show_pager
from app.components.tables import show_predictions
from app.databases import site_session
from app.permissions import Permission
from app.services import predictions

PREDICTIONS_PER_PAGE = 20


@acting(Permission.PREDICT)
def show_page(actor: Actor) -> None:
    """List saved predictions, a page at a time."""
    st.title("History", anchor=False)
    st.markdown("Predictions saved in your hospital, newest first. No other hospital sees them.")
    with site_session(actor) as site:
        listed = predictions.history(
            site=site, actor=actor, cursor=current_cursor("history"), limit=PREDICTIONS_PER_PAGE
        )
    if not listed.items:
        show_empty(
            "No prediction has been saved yet",
            "Make one on the Predict page and press **Save to history**.",
            icon="history",
        )
        st.page_link(page("predict"), label="Go to Predict", icon=":material/calculate:")
        return
    show_predictions(listed.items, key="history_table")
    show_pager("history", next_cursor=listed.next_cursor, page_size=PREDICTIONS_PER_PAGE)


show_page()
