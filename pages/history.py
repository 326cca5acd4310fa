"""History: the predictions saved in the own institution, what came of them, and how right the model was."""

from __future__ import annotations

from collections.abc import Iterator

import streamlit as st

from app.actor import Actor
from app.components.browser import browser_zone
from app.components.downloads import show_downloads
from app.components.empty import NextStep, show_empty
from app.components.formats import plain
from app.components.guard import acting, show_error
from app.components.paging import show_page_turner
from app.components.prediction_accuracy import show_accuracy
from app.components.prediction_filters import clear_filters, is_filtered, show_filters, shown_place, turn_to
from app.components.prediction_table import (
    export_headings,
    export_rows,
    name_of,
    show_outcome,
    show_outcomes,
)
from app.databases import site_session
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import prediction_history
from app.services.prediction_history import PredictionFilter

PREDICTIONS_PER_PAGE = 20


@acting(Permission.PREDICT)
def show_all(actor: Actor) -> None:
    """Take the filters away."""
    clear_filters()


@acting(Permission.PREDICT)
def page_turned(actor: Actor, cursor: str | None, number: int | None) -> None:
    """Show another page of the list."""
    turn_to(cursor, number)


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
            links=[NextStep("predict", "Go to Predict")],
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
    cursor, number = shown_place()
    try:
        with site_session(actor) as site:
            listed = prediction_history.history(
                site=site, actor=actor, filter=chosen, cursor=cursor, limit=PREDICTIONS_PER_PAGE
            )
    except InvalidInput as error:
        show_error(error)
        st.button("Show all predictions", key="history_show_all", on_click=show_all)
        return
    if not listed.items:
        show_nothing_found()
        return
    opened = show_outcomes(listed.items, key="history_table")
    show_page_turner("history", page=listed, number=number, page_size=PREDICTIONS_PER_PAGE, turn=page_turned)
    if actor.may(Permission.PATIENTS_EXPORT):
        show_export(actor, chosen)
    if opened is not None:
        st.dialog(plain(name_of(opened)))(show_outcome)(opened)


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
