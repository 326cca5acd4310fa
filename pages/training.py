"""Training: start a Run, watch it live, cancel it, and look back at earlier ones."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.empty import show_empty
from app.components.guard import acting
from app.components.paging import current_cursor, show_pager
from app.components.run_start import show_start
from app.components.run_view import is_active, show_run
from app.components.tables import show_runs
from app.databases import central_session
from app.permissions import Permission
from app.services import monitoring, training
from app.services.paging import Page
from db.central import TrainingRun

RUNS_PER_PAGE = 20
CANCEL = "training_cancel"  # dialog


@st.dialog("Cancel this run?", on_dismiss=close_dialog)
@acting(Permission.TRAINING_CONTROL)
def cancel_dialog(actor: Actor, run_id: int) -> None:
    """Ask once more before a Run is cancelled."""
    st.markdown(
        f"Run {run_id} stops as soon as the hospitals have been told. Its rounds stay on record, no new model "
        "is made, and the model in use stays in use."
    )
    with st.container(horizontal=True):
        confirmed = st.button("Cancel the run", type="primary", key="training_cancel_confirmed")
        kept = st.button("Keep training", key="training_cancel_kept")
    if confirmed:
        with central_session() as central:
            training.cancel_run(central=central, actor=actor, run_id=run_id)
    if confirmed or kept:
        close_dialog()
        st.rerun()


@acting(Permission.TRAINING_READ)
def draw_run(actor: Actor, run_id: int, was_active: bool, names: dict[str, str]) -> None:
    """Draw one Run as it stands now; when it ends, the whole page is drawn anew and the timer stops."""
    with central_session() as central:
        progress = monitoring.run_progress(central=central, actor=actor, run_id=run_id)
    if was_active and not is_active(progress.run.status):
        st.rerun(scope="app")
    show_run(progress, names)


@st.fragment(run_every=4)
@acting(Permission.TRAINING_READ)
def watch_for_news(actor: Actor, newest_id: int | None) -> None:
    """Draw the page anew when somebody else has started a Run."""
    with central_session() as central:
        newest = training.list_runs(central=central, actor=actor, limit=1).items
    if newest and newest[0].id != newest_id:
        st.rerun(scope="app")


def chosen_run(runs: list[TrainingRun]) -> int:
    """Return the id of the Run that the address names, or of the newest."""
    asked = st.query_params.get("run", "")
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else runs[0].id


@acting(Permission.TRAINING_READ)
def choose_run(actor: Actor, run_id: int | None) -> None:
    """Write the Run to show into the address, which can be kept and sent to others; None is the newest."""
    if run_id is None:
        st.query_params.pop("run", None)
    else:
        st.query_params["run"] = str(run_id)


def show_chosen(run_id: int, *, newest_id: int, can_cancel: bool) -> None:
    """Show which Run is drawn below, with the way back to the newest one and the cancel button."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f"Run {run_id}", anchor=False, width="content")
        st.space("stretch")
        if run_id != newest_id:
            st.button("Show the newest run", key="training_newest", on_click=choose_run, args=(None,))
        if can_cancel and st.button("Cancel run", icon=":material/stop:", key="training_cancel"):
            open_dialog(CANCEL)
    if is_open(CANCEL, possible=can_cancel):
        cancel_dialog(run_id)


def show_others(runs: Page[TrainingRun], run_id: int, *, newest_id: int, active: bool) -> None:
    """List the Runs to choose from."""
    # The Run that is drawn live above would stand here with a status of some seconds ago.
    others = [run for run in runs.items if not (active and run.id == run_id)]
    if not others:
        return
    st.header("Earlier runs" if active else "All runs", anchor=False)
    st.caption("Select a run to see its charts above.")
    show_runs(others, key=f"training_runs_{newest_id}_{run_id}", choose=choose_run)
    show_pager("training_runs", next_cursor=runs.next_cursor)


@acting(Permission.TRAINING_READ)
def show_page(actor: Actor) -> None:
    """Lay out the page from the newest Run down to the earlier ones."""
    st.title("Training", anchor=False)
    st.markdown(
        "The hospitals train one model together. Each hospital's patients stay in its own database; only model "
        "weights, counts, sums and metrics leave it."
    )
    cursor = current_cursor("training_runs")
    with central_session() as central:
        federation = monitoring.federation(central=central)
        latest = training.list_runs(central=central, actor=actor, limit=1).items
        listed = training.list_runs(central=central, actor=actor, cursor=cursor, limit=RUNS_PER_PAGE)
    in_control = actor.may(Permission.TRAINING_CONTROL)
    show_start(possible=in_control and not (latest and is_active(latest[0].status)))
    if not latest:
        show_empty(
            "No model exists yet",
            "Press **Start round** to train the first one. It takes about a minute."
            if in_control
            else "An administrator starts the first training. Its charts appear here as soon as it runs.",
            icon="model_training",
        )
        watch_for_news(None)
        return

    newest = latest[0]
    run_id = chosen_run(latest)
    active = any(run.id == run_id and is_active(run.status) for run in [newest, *listed.items])
    show_chosen(run_id, newest_id=newest.id, can_cancel=in_control and active)
    names = {site.code: site.name for site in federation.sites}
    st.fragment(draw_run, run_every=1 if active else None)(run_id, active, names)
    if not active:
        watch_for_news(newest.id)
    show_others(listed, run_id, newest_id=newest.id, active=active)


show_page()
