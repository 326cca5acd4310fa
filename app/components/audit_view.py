"""The audit trail as people read it: its chain, its events, and one event in full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pandas as pd
import streamlit as st

from app.actor import Actor
from app.components.browser import browser_zone
from app.components.downloads import show_downloads
from app.components.formats import NOT_KNOWN, ROLE_NAMES, count, plain, when
from app.components.guard import acting, show_error
from app.components.row_table import Column, Row, show_row_table
from app.errors import FedcostError
from app.permissions import Permission
from app.services import audit_reading
from app.services.audit_chain import ChainBroken, ChainState
from app.services.audit_reading import AuditFilter, EventView
from app.services.audit_words import OUTCOME_WORDS, action_words
from db.states import Role

_VERIFIED = "audit_verified"
HEADINGS = (
    *("Number", "When", "Who", "Role", "Institution", "What", "Action", "Done to", "Outcome", "Address"),
    *("Request", "Details"),
)


def show_chain(actor: Actor, state: ChainState) -> None:
    """Say how far the trail is sealed and verified, and offer to verify it now."""
    with st.container(border=True, key="audit_chain"):
        if state.problem is not None:
            st.error(
                f"Verified {plain(when(state.verified_at))}: {plain(state.problem)}",
                icon=":material/gpp_bad:",
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(_sealed(state), width="stretch")
            st.button(
                "Verify now",
                icon=":material/verified_user:",
                key="audit_verify",
                help="Computes the hash of every event again; a million take about a minute.",
                on_click=_verify,
            )
        verified = st.session_state.pop(_VERIFIED, None)
        if verified is not None:
            st.success(
                f"Every event up to position {verified:,} is as it was recorded.", icon=":material/verified:"
            )
        if state.head.position:
            with st.expander("Head of the chain", icon=":material/link:"):
                st.markdown(
                    "Write it down where nobody who administers this database can change it. A chain that was "
                    "made anew from its beginning has another one."
                )
                st.code(str(state.head), language=None, wrap_lines=True)


def show_events(events: Sequence[EventView], *, with_institution: bool, page: str) -> EventView | None:
    """Show one page of events; returns the one that the reader opened."""
    zone = browser_zone()
    columns = [
        Column("When"),
        Column("Who"),
        Column("What"),
        Column("Done to"),
        Column("Outcome"),
        Column("Address"),
    ]
    if with_institution:
        columns.insert(2, Column("Institution"))
    rows = []
    for event in events:
        cells = [
            when(event.occurred_at, zone),
            _who(event),
            action_words(event.action),
            event.target or NOT_KNOWN,
            OUTCOME_WORDS.get(event.outcome, event.outcome),
            event.address or NOT_KNOWN,
        ]
        if with_institution:
            cells.insert(2, event.institution or NOT_KNOWN)
        unknown = [place for place, cell in enumerate(cells) if cell == NOT_KNOWN]
        rows.append(Row(str(event.id), "", cells, unknown))
    opened = show_row_table(columns, rows, key="audit_events", caption="Events, the newest first", page=page)
    return next((event for event in events if str(event.id) == opened), None)


def show_event(event: EventView) -> None:
    """Show everything that is kept of one event."""
    facts = [
        ("When", when(event.occurred_at)),
        ("Who", _who(event)),
        ("Role", _role(event)),
        ("Institution", event.institution or NOT_KNOWN),
        ("Done to", event.target or NOT_KNOWN),
        ("Outcome", OUTCOME_WORDS.get(event.outcome, event.outcome)),
        ("Address", event.address or NOT_KNOWN),
        ("Request", event.request_id or NOT_KNOWN),
        ("Event", f"{event.id} ({event.action})"),
        ("Sealed", "in a moment" if event.sealed is None else f"at position {event.sealed:,}"),
    ]
    st.table(
        pd.DataFrame([(plain(label), plain(value)) for label, value in facts], columns=["", "Value"]),
        border="horizontal",
        hide_index=True,
        hide_header=True,
    )
    if event.details:
        st.json(event.details, expanded=2)


def show_export(actor: Actor, chosen: AuditFilter) -> None:
    """Offer every event of the filter as a file; the export is an event itself."""

    def rows(presses: Actor) -> Iterator[list[object]]:
        with audit_reading.trail_opened(presses) as trail:
            for event in audit_reading.events_for_export(trail, actor=presses, filter=chosen):
                yield _exported(event)

    show_downloads(
        actor,
        permission=Permission.AUDIT_READ,
        key="audit_export",
        file_name="audit",
        headings=HEADINGS,
        rows=rows,
    )


@acting(Permission.AUDIT_READ)
def _verify(actor: Actor) -> None:
    try:
        st.session_state[_VERIFIED] = audit_reading.verify_trail(actor).position
    except ChainBroken:
        pass  # the page shows what the verification recorded
    except FedcostError as error:
        show_error(error)


def _sealed(state: ChainState) -> str:
    if not state.head.position:
        return "No event is sealed yet."
    sealed = f"Sealed up to **position {state.head.position:,}**, {plain(when(state.head.sealed_at))}"
    waits = f"; {count(state.waiting, 'event')} waiting" if state.waiting else ""
    if state.verified_at is None:
        return f"{sealed}{waits}. Not verified yet."
    return f"{sealed}{waits}. Verified up to position {state.verified_position:,}, {plain(when(state.verified_at))}."


def _who(event: EventView) -> str:
    if event.who is not None:
        return event.who
    return "Nobody" if event.worker_id is None else f"Person {event.worker_id}"


def _role(event: EventView) -> str:
    return ROLE_NAMES.get(Role(event.role), event.role) if event.role in set(Role) else NOT_KNOWN


def _exported(event: EventView) -> list[object]:
    return [
        event.id,
        when(event.occurred_at),
        _who(event),
        _role(event),
        event.institution or "",
        action_words(event.action),
        event.action,
        event.target or "",
        OUTCOME_WORDS.get(event.outcome, event.outcome),
        event.address or "",
        event.request_id or "",
        json.dumps(event.details, sort_keys=True) if event.details else "",
    ]
