"""Triggers: rules that ask for Runs without a person, what they did, and the Runs that wait."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.empty import show_empty
from app.components.guard import acting
from app.components.paging import current_cursor, show_pager
from app.components.trigger_form import open_form, show_form
from app.components.trigger_list import show_event, show_triggers
from app.components.trigger_queue import show_queue
from app.databases import central_session
from app.permissions import Permission
from app.services import triggers
from app.services.run_queue import QueueState
from app.services.triggers import EventView

EVENTS_PER_PAGE = 20


@st.fragment(run_every=4)
@acting(Permission.TRAINING_CONTROL)
def watch_for_news(actor: Actor, drawn: object) -> None:
    """Draw the page anew when a trigger has fired, or the queue has changed."""
    with central_session() as central:
        newest = triggers.list_events(central=central, actor=actor, limit=1).items
        now = _standing(triggers.queue_state(central), newest)
    if now != drawn:
        st.rerun(scope="app")


def _standing(queue: QueueState, newest: list[EventView]) -> object:
    """Return what a change of the page would change."""
    return queue.paused_at, tuple(run.id for run in queue.waiting), [event.id for event in newest]


@acting(Permission.TRAINING_CONTROL)
def show_page(actor: Actor) -> None:
    """Lay out the page: triggers, the queue, the history."""
    st.title("Triggers", anchor=False)
    st.markdown(
        "A trigger asks for a run without a person: at fixed times, or once the hospitals have enough new patients "
        "with a known cost. A saved start waits for its button."
    )
    cursor = current_cursor("trigger_events")
    with central_session() as central:
        listed = triggers.list_triggers(central=central, actor=actor).items
        queue = triggers.queue_state(central)
        events = triggers.list_events(central=central, actor=actor, cursor=cursor, limit=EVENTS_PER_PAGE)
        newest = triggers.list_events(central=central, actor=actor, limit=1).items
    st.button(
        "Add a trigger",
        type="primary",
        icon=":material/add_alarm:",
        key="trigger_add",
        on_click=open_form,
        args=(None,),
    )
    if listed:
        show_triggers(listed)
    else:
        show_empty(
            "No trigger yet",
            "Press **Add a trigger** to have training start by itself, for example every Monday at 03:00 if there "
            "are new patients.",
            icon="alarm_off",
        )
    show_form()
    st.header("Runs that wait", anchor=False)
    show_queue(queue)
    if events.items:
        st.header("History", anchor=False)
        for event in events.items:
            with st.container(key=f"trigger_event_{event.id}"):
                show_event(event, named=True)
        show_pager("trigger_events", next_cursor=events.next_cursor)
    watch_for_news(_standing(queue, newest))


show_page()
