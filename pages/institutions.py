"""Institutions: who belongs to the consortium, whether each is connected, and adding or deactivating one."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.guard import acting
from app.components.institution_add import show_add
from app.components.institution_list import show_institutions, show_open_dialog
from app.databases import central_session
from app.permissions import Permission
from app.services import institutions


@acting(Permission.INSTITUTIONS_MANAGE)
def show_page(actor: Actor) -> None:
    """Show the institutions from the button that adds one down to the list."""
    st.title("Institutions", anchor=False)
    st.markdown(
        "The hospitals of the consortium. Each keeps its patients in a database of its own; what is shown here is "
        "what their Sites say of themselves, in numbers rounded down to tens."
    )
    with central_session() as central:
        views = institutions.list_institutions(central=central, actor=actor).items
    show_add()
    show_open_dialog(views)
    show_institutions()


show_page()
