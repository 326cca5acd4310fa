"""Training: start a Run, watch it live, cancel or resume it, and look back at earlier ones."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.empty import show_empty
from app.components.guard import acting
from app.components.navigation import page
from app.components.paging import current_cursor, first_page, show_pager
from app.components.run_start import show_start
from app.components.run_table import KIND_SHORT, show_runs
from app.components.run_view import is_active, show_run
from app.databases import central_read_session, central_session
from app.permissions import Permission
from app.services import monitoring, run_list, training
from app.services.paging import Page
from app.services.run_list import RunLine

RUNS_PER_PAGE = 20
LIST = "training_runs"  # of the pager
CANCEL = "training_cancel"  # dialog
KIND_LISTED = "training_kind_listed"  # which kind of Runs the list shows; None is all
KNOWN = "training_known"  # what was read of the Run that is drawn


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
def draw_run(actor: Actor, run_id: int, was_active: bool, newest_id: int, names: dict[str, str]) -> None:
    """Draw one Run as it stands now; when it ends, the whole page is drawn anew and the timer stops."""
    known = st.session_state.get(KNOWN)
    with central_read_session() as central:
        progress = monitoring.run_progress(
            central=central,
            actor=actor,
            run_id=run_id,
            known=known if isinstance(known, monitoring.RunProgress) else None,
        )
        st.session_state[KNOWN] = progress
        if was_active and not is_active(progress.run.status):
            st.rerun(scope="app")
        show_run(central, actor, progress, names, newest_id=newest_id)


@st.fragment(run_every=4)
@acting(Permission.TRAINING_READ)
def watch_for_news(actor: Actor, newest_id: int | None) -> None:
    """Draw the page anew when somebody else has started a Run."""
    with central_read_session() as central:
        newest = training.list_runs(central=central, actor=actor, limit=1).items
    if newest and newest[0].id != newest_id:
        st.rerun(scope="app")


def chosen_run(default: int) -> int:
    """Return the id of the Run that the address names, or the default."""
    asked = st.query_params.get("run", "")
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else default


@acting(Permission.TRAINING_READ)
def choose_run(actor: Actor, run_id: int | None) -> None:
    """Write the Run to show into the address, which can be kept and sent to others; None is the newest."""
    if run_id is None:
        st.query_params.pop("run", None)
    else:
        st.query_params["run"] = str(run_id)


def show_chosen(run_id: int, *, default: int, can_cancel: bool, compared: list[int]) -> None:
    """Show which Run is drawn below, with the ways to the newest one and to the comparison, and cancel."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f"Run {run_id}", anchor=False, width="content")
        st.space("stretch")
        if len(compared) > 1:
            st.page_link(
                page("compare"),
                label="Compare with others",
                icon=":material/compare_arrows:",
                query_params={"runs": ",".join(map(str, compared))},
            )
        if run_id != default:
            st.button("Show the newest run", key="training_newest", on_click=choose_run, args=(None,))
        if can_cancel and st.button("Cancel run", icon=":material/stop:", key="training_cancel"):
            open_dialog(CANCEL)
    if is_open(CANCEL, possible=can_cancel):
        cancel_dialog(run_id)


def show_list(runs: Page[RunLine], *, cursor: str | None) -> None:
    """List the Runs to choose from."""
    st.header("All runs", anchor=False)
    st.pills(
        "Kind of run",
        list(KIND_SHORT),
        format_func=KIND_SHORT.__getitem__,
        key=KIND_LISTED,
        label_visibility="collapsed",
        on_change=first_page,
        args=(LIST,),
    )
    if not runs.items:
        st.markdown("There is no run of this kind yet.")
    else:
        st.caption("Open a run to see its charts above.")
        opened = show_runs(runs.items, key="training_runs_table", page=cursor or "")
        if opened is not None:
            choose_run(opened)
            st.rerun()
    show_pager(LIST, next_cursor=runs.next_cursor)


@acting(Permission.TRAINING_READ)
def show_page(actor: Actor) -> None:
    """Lay out the page from the newest Run down to the list."""
    st.title("Training", anchor=False)
    st.markdown(
        "The hospitals train one model together. Each hospital's patients stay in its own database; only model "
        "weights, counts, sums and metrics leave it."
    )
    cursor, kind = current_cursor(LIST), st.session_state.get(KIND_LISTED)
    with central_read_session() as central:
        federation = monitoring.federation(central=central)
        newest = run_list.run_lines(central=central, actor=actor, limit=2).items
        running = run_list.running_run(central=central, actor=actor)
        listed = run_list.run_lines(
            central=central, actor=actor, kind=kind, cursor=cursor, limit=RUNS_PER_PAGE
        )
    in_control = actor.may(Permission.TRAINING_CONTROL)
    show_start(possible=in_control)
    if not newest:
        show_empty(
            "No model exists yet",
            "Press **Start round** to train the first one. It takes about a minute."
            if in_control
            else "An administrator starts the first training. Its charts appear here as soon as it runs.",
            icon="model_training",
        )
        watch_for_news(None)
        return

    default = running or newest[0].id
    run_id = chosen_run(default)
    active = any(run.id == run_id and is_active(run.status) for run in [*newest, *listed.items])
    active = active or run_id == running
    compared = list(dict.fromkeys([run_id, *(run.id for run in newest)]))[:2]
    show_chosen(run_id, default=default, can_cancel=in_control and active, compared=compared)
    names = {site.code: site.name for site in federation.sites}
    st.fragment(draw_run, run_every=1 if active else None)(run_id, active, newest[0].id, names)
    if not active:
        watch_for_news(newest[0].id)
    show_list(listed, cursor=cursor)


show_page()
