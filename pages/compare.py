"""Compare runs: up to eight Runs in one chart, where their settings differ, and what came out."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.empty import show_empty
from app.components.guard import acting, errors_shown
from app.components.navigation import page
from app.components.run_compare import run_in_words, show_comparison
from app.databases import central_read_session
from app.permissions import Permission
from app.services.run_compare import MAX_COMPARED, compare_runs
from app.services.run_list import run_lines
from db.states import RunKind

OFFERED = 100  # of the newest Runs
CHOSEN = "compare_runs"


def runs_of_address() -> list[int]:
    """Return the Runs that the address names: `runs=12,9`; what is no number is left out."""
    asked = st.query_params.get("runs", "").split(",")
    numbers = [int(each) for each in asked if each.isascii() and each.isdigit() and len(each) < 10]
    return list(dict.fromkeys(numbers))


@acting(Permission.TRAINING_READ)
def remember(actor: Actor) -> None:
    """Write the choice into the address, which can be kept and sent to others."""
    st.query_params["runs"] = ",".join(str(run_id) for run_id in st.session_state[CHOSEN])


@acting(Permission.TRAINING_READ)
def show_page(actor: Actor) -> None:
    """Offer the Runs, then show those that were chosen beside each other."""
    st.title("Compare runs", anchor=False)
    st.page_link(page("training"), label="Back to training", icon=":material/arrow_back:")
    wanted = runs_of_address()
    with central_read_session() as central:
        offered = run_lines(central=central, actor=actor, kind=RunKind.FEDERATED, limit=OFFERED).items
        comparison = None
        with errors_shown():
            comparison = compare_runs(central=central, actor=actor, run_ids=wanted) if wanted else None
    if not offered:
        show_empty(
            "No training to compare",
            "Once two runs have trained, they stand here beside each other.",
            icon="compare_arrows",
        )
        return
    lines = {run.id: run for run in offered}
    if comparison is not None:
        lines.update({run.line.id: run.line for run in comparison.runs})
    possible = [run_id for run_id in wanted if run_id in lines][:MAX_COMPARED]
    if st.session_state.get(CHOSEN) != possible:
        st.session_state[CHOSEN] = possible
    st.multiselect(
        f"Runs (up to {MAX_COMPARED})",
        list(lines),
        format_func=lambda run_id: run_in_words(lines[run_id]),
        key=CHOSEN,
        max_selections=MAX_COMPARED,
        on_change=remember,
        placeholder="Choose runs",
    )
    if not wanted:
        st.markdown("Choose two runs or more to see them beside each other.")
    elif comparison is not None:
        show_comparison(comparison)


show_page()
