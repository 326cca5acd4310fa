"""The Runs that wait to be started, and holding them back."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.browser import browser_zone
from app.components.formats import RUN_KIND_NAMES, count, plain, when
from app.components.guard import acting
from app.databases import central_session
from app.permissions import Permission
from app.services import run_queue, training
from app.services.run_queue import QueueState, WaitingRun
from db.states import RunKind
from fl.settings import STRATEGIES


@acting(Permission.TRAINING_CONTROL)
def pause_or_resume(actor: Actor, pause: bool) -> None:
    """Hold waiting Runs back, or have them started again."""
    change = run_queue.pause_queue if pause else run_queue.resume_queue
    with central_session() as central:
        change(central=central, actor=actor)


@acting(Permission.TRAINING_CONTROL)
def cancel(actor: Actor, run_id: int) -> None:
    """Take a Run out of the queue; one that has begun meanwhile is cancelled too."""
    with central_session() as central:
        training.cancel_run(central=central, actor=actor, run_id=run_id)


@acting(Permission.TRAINING_CONTROL)
def move_to_front(actor: Actor, run_id: int) -> None:
    """Have a Run started before the others."""
    with central_session() as central:
        run_queue.move_to_front(central=central, actor=actor, run_id=run_id)


def show_queue(state: QueueState) -> None:
    """Draw the queue in the order in which Runs are started."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if state.is_paused:
            st.badge("Paused", icon=":material/pause:", color="orange")
        st.markdown(plain(state.sentence), width="content")
        st.button(
            "Resume the queue" if state.is_paused else "Pause the queue",
            icon=":material/resume:" if state.is_paused else ":material/pause:",
            key="trigger_queue_pause",
            on_click=pause_or_resume,
            args=(not state.is_paused,),
            help=None if state.is_paused else "A run that is going on goes on; no other is started.",
        )
    for place, run in enumerate(state.waiting):
        _show_waiting(run, first=place == 0)
    if state.total > len(state.waiting):
        st.caption(f"… and {count(state.total - len(state.waiting))} more.")


def _show_waiting(run: WaitingRun, *, first: bool) -> None:
    words = RUN_KIND_NAMES[run.kind]
    if run.kind == RunKind.FEDERATED:
        strategy = STRATEGIES[run.strategy].label if run.strategy in STRATEGIES else run.strategy
        words += f", {strategy}, {count(run.num_rounds, 'round')}"
    asked = f"asked for by {run.asked_by}, {when(run.requested_at, browser_zone())}"
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**Run {run.id}** {plain(f'{words}; {asked}')}", width="content")
        if not first:
            st.button(
                "Start next",
                icon=":material/vertical_align_top:",
                key=f"trigger_front_{run.id}",
                on_click=move_to_front,
                args=(run.id,),
            )
        st.button(
            "Cancel",
            icon=":material/close:",
            key=f"trigger_cancel_{run.id}",
            on_click=cancel,
            args=(run.id,),
        )
