"""History: the predictions saved in the own institution, what came of them, and how right the model was."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from app.actor import Actor
from app.components.browser import browser_zone
from app.components.empty import show_empty
from app.components.guard import acting
from app.components.paging import current_cursor, first_page, show_pager
from app.components.prediction_accuracy import show_accuracy
from app.components.prediction_downloads import show_downloads
from app.components.prediction_filters import clear_filters, is_filtered, show_filters
from app.components.prediction_table import (
    export_headings,
    export_rows,
    show_outcome,
    show_outcomes,
)
from app.databases import site_session
from app.permissions import Permission
from app.services import prediction_history
from app.services.prediction_history import PredictionFilter

PREDICTIONS_PER_PAGE = 20
_FILTER = "history_filter"  # of the list that the pager's cursors belong to


@acting(Permission.PREDICT)
def show_all(actor: Actor) -> None:
    """Take the filters away."""
    clear_filters()


def show_nothing_found() -> None:
    """Say that no prediction is saved yet, or that none fits the filters."""
    if is_filtered():
        show_empty(
            "No prediction fits",
            "Nothing in the history fits all the filters above. Take one away, or all of them.",
            icon="filter_alt_off",
        )
        st.button("Show all predictions", key="history_show_all", on_click=show_all)
    else:
        show_empty(
            "No prediction has been saved yet",
            "Make one on the Predict page and press **Save to history**.",
            icon="history",
            links={"predict": "Go to Predict"},
        )


def show_export(actor: Actor, chosen: PredictionFilter) -> None:
    """Offer every prediction of the filter as a file; the export is recorded when it is made."""

    def rows(presses: Actor) -> Iterator[list[object]]:
        with site_session(presses) as site:
            yield from export_rows(
                prediction_history.history_for_export(site=site, actor=presses, filter=chosen)
            )

    show_downloads(
        actor,
        permission=Permission.PATIENTS_EXPORT,
        key="history_export",
        file_name="predictions",
        headings=export_headings(),
        rows=rows,
    )


@st.fragment
@acting(Permission.PREDICT)
def show_list(actor: Actor) -> None:
    """Filter and list saved predictions, a page at a time."""
    with site_session(actor) as site:
        choices = prediction_history.history_choices(site=site, actor=actor)
    if not choices.workers:
        show_nothing_found()
        return
    chosen = show_filters(choices)
    if st.session_state.get(_FILTER) != chosen:
        st.session_state[_FILTER] = chosen
        first_page("history")
    with site_session(actor) as site:
        listed = prediction_history.history(
            site=site,
            actor=actor,
            filter=chosen,
            cursor=current_cursor("history"),
            limit=PREDICTIONS_PER_PAGE,
        )
    if not listed.items:
        show_nothing_found()
        return
    st.caption("Select a row to see the prediction in full.")
    selected = show_outcomes(listed.items, key=f"history_table_{listed.items[0].prediction.id}")
    show_pager("history", next_cursor=listed.next_cursor, page_size=PREDICTIONS_PER_PAGE)
    if selected is not None:
        show_outcome(selected)
    if actor.may(Permission.PATIENTS_EXPORT):
        show_export(actor, chosen)


@acting(Permission.PREDICT)
def show_how_right(actor: Actor) -> None:
    """Show the model's error and the interval's real coverage by month."""
    with site_session(actor) as site:
        months = prediction_history.accuracy_by_month(site=site, actor=actor, zone=str(browser_zone()))
    show_accuracy(months)


@acting(Permission.PREDICT)
def show_page(actor: Actor) -> None:
    """Lay out the list, and beside it how right its predictions were."""
    st.title("History", anchor=False)
    st.markdown("Predictions saved in your hospital, newest first. No other hospital sees them.")
    listing, judging = st.tabs(["Predictions", "How right the model was"])
    with listing:
        show_list()
    with judging:
        show_how_right()


show_page()
