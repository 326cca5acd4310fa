"""The triggers one below the other: when each fires next, what it did last, and what can be done with it."""

from __future__ import annotations

import uuid

import streamlit as st

from app.actor import Actor
from app.components.browser import browser_zone
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.formats import plain, when
from app.components.guard import acting
from app.components.navigation import page
from app.components.trigger_form import open_form
from app.components.trigger_words import (
    KIND_NAMES,
    OUTCOME_COLOURS,
    OUTCOME_NAMES,
    asks_for,
    coming_times,
    fires_when,
)
from app.databases import central_session
from app.permissions import Permission
from app.services import triggers
from app.services.triggers import EventView, TriggerView

DELETE = "trigger_delete"  # dialog
_DELETED, _SAID = "trigger_to_delete", "trigger_said"


@acting(Permission.TRAINING_CONTROL)
def run_now(actor: Actor, trigger_id: int, press: str) -> None:
    """Fire a trigger; the page then says whether it did, and why not."""
    with central_session() as central:
        event = triggers.run_trigger(
            central=central, actor=actor, trigger_id=trigger_id, idempotency_key=press
        )
    st.session_state[_SAID] = event


@acting(Permission.TRAINING_CONTROL)
def set_active(actor: Actor, trigger_id: int, active: bool) -> None:
    """Pause a trigger or let it go on."""
    with central_session() as central:
        triggers.set_active(central=central, actor=actor, trigger_id=trigger_id, active=active)


@acting(Permission.TRAINING_CONTROL)
def ask_to_delete(actor: Actor, trigger: TriggerView) -> None:
    """Open the question whether a trigger is to be deleted."""
    st.session_state[_DELETED] = trigger
    open_dialog(DELETE)


@st.dialog("Delete this trigger?", on_dismiss=close_dialog)
@acting(Permission.TRAINING_CONTROL)
def delete_dialog(actor: Actor) -> None:
    """Ask once more before a trigger is deleted."""
    trigger: TriggerView = st.session_state[_DELETED]
    st.markdown(
        f"**{plain(trigger.name)}** asks for no run any more. The runs that it asked for, and its history, stay on "
        "record."
    )
    with st.container(horizontal=True):
        confirmed = st.button("Delete the trigger", type="primary", key="trigger_delete_confirmed")
        kept = st.button("Keep it", key="trigger_delete_kept")
    if confirmed:
        with central_session() as central:
            triggers.delete_trigger(central=central, actor=actor, trigger_id=trigger.id)
    if confirmed or kept:
        close_dialog()
        st.rerun()


def show_triggers(listed: list[TriggerView]) -> None:
    """Draw every trigger with its buttons."""
    said: EventView | None = st.session_state.pop(_SAID, None)
    if said is not None:
        _show_said(said)
    for trigger in listed:
        with st.container(border=True):
            _show_trigger(trigger)
    if is_open(DELETE, possible=_DELETED in st.session_state):
        delete_dialog()


def _show_trigger(trigger: TriggerView) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(trigger.name)}**", width="content")
        st.badge(KIND_NAMES[trigger.kind], color="blue")
        if trigger.is_active and trigger.kind != "manual":
            st.badge("Active", icon=":material/check:", color="green")
        elif not trigger.is_active:
            st.badge("Paused", icon=":material/pause:", color="orange")
    st.markdown(f"{fires_when(trigger)} {asks_for(trigger)}")
    if trigger.next_firings:
        st.markdown(f"**Next:** {coming_times(trigger.next_firings)}")
    if trigger.last_event is None:
        st.caption("It has not fired yet.")
    else:
        show_event(trigger.last_event)
    _show_buttons(trigger)


def show_event(event: EventView, *, named: bool = False) -> None:
    """Write one line of a trigger's history, with its name if wanted and the way to its Run."""
    name = f"**{plain(event.trigger_name)}**, " if named else ""
    moment = plain(when(event.occurred_at, browser_zone()))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(OUTCOME_NAMES[event.outcome], color=OUTCOME_COLOURS[event.outcome])
        st.caption(f"{name}{moment}: {plain(event.reason)}", width="content")
        if event.run_id is not None:
            label = f"Run {event.run_id}"
            st.page_link(page("training"), label=label, query_params={"run": str(event.run_id)})


def _show_buttons(trigger: TriggerView) -> None:
    number = trigger.id
    with st.container(horizontal=True):
        # The history's length in the key: a second click on the same drawing is the same press.
        newest = trigger.last_event.id if trigger.last_event else 0
        st.button(
            "Run now",
            icon=":material/play_arrow:",
            key=f"trigger_run_{number}",
            on_click=run_now,
            args=(number, f"{_press()}-{newest}"),
        )
        if trigger.kind != "manual" or not trigger.is_active:  # a saved start does nothing by itself
            st.button(
                "Pause" if trigger.is_active else "Resume",
                icon=":material/pause:" if trigger.is_active else ":material/resume:",
                key=f"trigger_active_{number}",
                on_click=set_active,
                args=(number, not trigger.is_active),
            )
        st.button(
            "Edit",
            icon=":material/edit:",
            key=f"trigger_edit_{number}",
            on_click=open_form,
            args=(trigger,),
        )
        st.button(
            "Delete",
            icon=":material/delete:",
            key=f"trigger_delete_{number}",
            on_click=ask_to_delete,
            args=(trigger,),
        )


def _press() -> str:
    name: str = st.session_state.setdefault("trigger_press", uuid.uuid4().hex)
    return name


def _show_said(event: EventView) -> None:
    if event.outcome == "fired":
        st.success(plain(f"{event.trigger_name}: run {event.run_id} was asked for."), icon=":material/check:")
    else:
        st.warning(plain(f"{event.trigger_name} did not fire. {event.reason}"), icon=":material/info:")
