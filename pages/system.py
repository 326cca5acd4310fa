"""System: how the product is, what is wrong with it and what to do; for administrators of the consortium."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from app.actor import Actor
from app.components.guard import acting
from app.components.system_cards import show_findings, show_state
from app.components.system_charts import show_history, show_participation, show_versions
from app.databases import central_read_session, central_session
from app.permissions import Permission
from app.services import system


@st.fragment(run_every=5)
@acting(Permission.SYSTEM_READ)
def show_now(actor: Actor) -> None:
    """Show how everything is at this moment."""
    with central_session() as central:
        view = system.system_view(central=central, actor=actor)
    show_findings(view.state, view.findings)
    show_state(view.state)


@st.fragment(run_every=30)
@acting(Permission.SYSTEM_READ)
def show_lately(actor: Actor) -> None:
    """Show what was answered lately."""
    with central_read_session() as central:
        history = system.system_history(central=central, actor=actor)
    show_history(history, datetime.now(UTC))


@acting(Permission.SYSTEM_READ)
def show_page(actor: Actor) -> None:
    """Lay out the page from what is wrong down to the versions."""
    st.title("System", anchor=False)
    st.markdown(
        "How the installation is, what is wrong with it and what to do. It shows no patient and no person."
    )
    show_now()
    show_lately()
    with central_session() as central:
        state = system.system_view(central=central, actor=actor).state
    show_participation(state.participation, state.sites)
    show_versions(state.versions)


show_page()
