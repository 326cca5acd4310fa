"""Starting a Run: the button, and the dialog that asks for the number of rounds."""

from __future__ import annotations

import uuid

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.guard import acting
from app.components.navigation import page
from app.components.paging import first_page
from app.databases import central_session
from app.permissions import Permission
from app.services import training
from fl.settings import DEFAULT_ROUNDS, MAX_ROUNDS

START = "training_start"  # dialog
_REQUEST = "training_request"


@st.dialog("Start a training run", on_dismiss=close_dialog)
@acting(Permission.TRAINING_CONTROL)
def start_dialog(actor: Actor) -> None:
    """Ask for the number of rounds and start; a double click starts one Run, not two."""
    st.markdown(
        "In every round each hospital trains the model on its own patients, and the results are averaged. "
        "No patient leaves a hospital. If the new model turns out better than the one in use, it replaces it."
    )
    rounds = st.number_input(
        "Number of rounds",
        min_value=1,
        max_value=MAX_ROUNDS,
        value=DEFAULT_ROUNDS,
        step=1,
        key="training_num_rounds",
        help="Ten rounds are usually enough; more rounds take longer.",
    )
    if st.button("Start training", type="primary", key="training_start_confirmed", width="stretch"):
        with central_session() as central:
            training.start_run(
                central=central,
                actor=actor,
                num_rounds=rounds,
                idempotency_key=f"{st.session_state[_REQUEST]}-{rounds}",
            )
        close_dialog()
        first_page("training_runs")
        st.switch_page(page("training"))


@acting(Permission.TRAINING_CONTROL)
def ask_for_rounds(actor: Actor) -> None:
    """Open the dialog for a new request, over the newest Run."""
    st.session_state[_REQUEST] = uuid.uuid4().hex
    st.query_params.pop("run", None)
    open_dialog(START)


def show_start(*, possible: bool) -> None:
    """Offer to start a Run; while one is at work there is nothing to start."""
    if possible:
        st.button(
            "Start round",
            type="primary",
            icon=":material/play_arrow:",
            key="training_start",
            on_click=ask_for_rounds,
        )
    if is_open(START, possible=possible):
        start_dialog()
