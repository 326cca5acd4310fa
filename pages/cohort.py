"""Cohort: what the hospitals' patients are like, counted where they are, before a training."""

from __future__ import annotations

import uuid

import streamlit as st

from app.actor import Actor
from app.components.cohort_view import show_cohort
from app.components.empty import NextStep, show_empty
from app.components.formats import plain
from app.components.guard import acting
from app.components.navigation import page
from app.databases import central_read_session, central_session
from app.permissions import Permission
from app.services import cohort, training
from db.states import RunKind

_REQUEST = "cohort_request"


@acting(Permission.TRAINING_CONTROL)
def count_patients(actor: Actor) -> None:
    """Ask for a count; a double press asks for one, not two."""
    with central_session() as central:
        training.start_run(
            central=central,
            actor=actor,
            kind=RunKind.COHORT,
            idempotency_key=st.session_state[_REQUEST],
        )


@acting(Permission.COHORT_READ)
def watch(actor: Actor, run_id: int) -> None:
    """Say that a count is going on; when it ends, the page is drawn anew."""
    with central_read_session() as central:
        state = cohort.cohort_state(central=central, actor=actor)
    if state.counting != run_id:
        st.rerun(scope="app")
    st.progress(0.0, text=f"Run {run_id} counts the patients where they are; this takes a few seconds.")
    st.page_link(
        page("training"),
        label="See the run",
        icon=":material/arrow_forward:",
        query_params={"run": str(run_id)},
    )


def show_button(*, again: bool) -> None:
    """Offer to count."""
    st.session_state[_REQUEST] = uuid.uuid4().hex
    st.button(
        "Count again" if again else "Count patients",
        type="secondary" if again else "primary",
        icon=":material/refresh:" if again else ":material/bar_chart:",
        key="cohort_count",
        on_click=count_patients,
    )


@acting(Permission.COHORT_READ)
def show_page(actor: Actor) -> None:
    """Lay out the page from what to look at down to the table."""
    st.title("Cohort", anchor=False)
    st.markdown(
        "What the patients of the hospitals are like, before a training. Each hospital counts its own; counts of "
        "fewer than ten, and every patient, stay there."
    )
    with central_read_session() as central:
        state = cohort.cohort_state(central=central, actor=actor)
    in_control = actor.may(Permission.TRAINING_CONTROL)
    if state.counting is not None:
        st.fragment(watch, run_every=1)(state.counting)
    elif in_control:
        show_button(again=state.picture is not None)
    if state.failure:
        st.error(f"The last count found nothing. {plain(state.failure)}", icon=":material/error:")
    if state.picture is not None:
        show_cohort(state.picture)
    elif state.counting is None:
        show_empty(
            "Nobody has counted yet",
            "Press **Count patients**: it takes a few seconds and changes nothing."
            if in_control
            else "An administrator counts the patients here. What was found then stands on this page.",
            icon="bar_chart",
            links=[NextStep("training", "Go to the training")],
        )


show_page()
