"""Your account: who you are here, your password, and where you are signed in."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.account_sessions import show_sessions
from app.components.formats import ROLE_NAMES, plain, verbatim
from app.components.guard import acting
from app.components.own_password_form import show_password
from app.permissions import Permission


@acting(Permission.OWN_ACCOUNT)
def show_page(actor: Actor) -> None:
    """Lay out the person, the password and the sessions."""
    st.title("Your account", anchor=False)
    with st.container(border=True, gap="xsmall", key="account_person"):
        st.markdown(f"**{plain(actor.name)}**")
        belongs = plain(actor.institution_name) if actor.institution_name else "the whole consortium"
        st.markdown(f"{ROLE_NAMES[actor.role]} · {belongs}")
        st.markdown(f"Signs in as {verbatim(actor.email)}")
        st.caption("An administrator changes name, role and hospital.")
    show_password()
    show_sessions()


show_page()
