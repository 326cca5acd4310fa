"""Overview: the first page of every role; its figures lead to where they come from."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.formats import plain
from app.components.guard import acting
from app.components.overview_clinic import show_clinic
from app.components.overview_consortium import show_consortium
from app.components.overview_institution import show_institution
from app.permissions import Permission


@acting(Permission.MODEL_CARD)
def show_page(actor: Actor) -> None:
    """Show clinicians and an institution's administrator their institution, the others the consortium."""
    st.title("Overview", anchor=False)
    st.markdown(plain(actor.institution_name or "All hospitals of the consortium"))
    if actor.may(Permission.PATIENTS_READ):
        show_clinic()
    if actor.may(Permission.TRAINING_READ):
        show_consortium()
    if actor.may(Permission.PARTICIPATION):
        show_institution()


show_page()
