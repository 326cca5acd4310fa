"""Taking part: an institution's administrator decides which Runs the own hospital answers."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.formats import plain
from app.components.guard import acting
from app.components.institution_participation import show_decision, show_history, show_waiting
from app.databases import central_session, site_session
from app.permissions import Permission
from app.services import participation


@acting(Permission.PARTICIPATION)
def show_page(actor: Actor) -> None:
    """Show what is allowed now, what waits for a decision, and what was decided."""
    st.title("Taking part", anchor=False)
    st.markdown(
        f"What {plain(actor.institution_name or '')} does when the consortium trains a model. Your hospital's own "
        "Site obeys what you decide here before it reads a single patient."
    )
    with central_session() as central, site_session(actor) as site:
        view = participation.participation(site=site, central=central, actor=actor)
    show_decision(view.decision)
    show_waiting()
    show_history(view)


show_page()
