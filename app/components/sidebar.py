"""The sidebar below the menu: who is signed in, whether the hospitals are connected, and the way out."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.auth.login_form import sign_out
from app.components.demonstration import show_demo_note
from app.components.formats import ROLE_NAMES, plain
from app.components.guard import acting, errors_shown
from app.components.navigation import page
from app.databases import central_session
from app.permissions import Permission
from app.services import monitoring

_FEDERATION: dict[str, tuple[str, str, str]] = {
    "up": ("Federation is up", "green", ":material/check_circle:"),
    "starting": ("Federation is starting", "yellow", ":material/hourglass_top:"),
    "down": ("Federation is down", "red", ":material/error:"),
}
_SITE: dict[str, tuple[str, str]] = {
    "connected": (":green[:material/check_circle:]", ""),
    "starting": (":yellow[:material/hourglass_top:]", ": starting"),
    "down": (":red[:material/error:]", ": not connected"),
}


def show_sidebar(actor: Actor) -> None:
    """Draw everything below the menu; a click on "Sign out" ends the session."""
    with st.sidebar:
        with st.container(gap="xxsmall", key="sidebar_person"):
            st.markdown(f"**{plain(actor.name)}**")
            st.caption(ROLE_NAMES[actor.role])
            if actor.institution_name:
                st.caption(plain(actor.institution_name))
            st.page_link(page("account"), label="Your account", icon=":material/manage_accounts:")
        if st.button("Sign out", icon=":material/logout:", key="sidebar_sign_out", width="stretch"):
            with errors_shown():
                sign_out()
            st.rerun()
        if actor.may(Permission.TRAINING_READ):
            _show_federation()
        show_demo_note()


@st.fragment(run_every=5)
@acting(Permission.TRAINING_READ)
def _show_federation(actor: Actor) -> None:
    with central_session() as central:
        federation = monitoring.federation(central=central)
    words, colour, icon = _FEDERATION[federation.state]
    with st.container(border=True, gap="xxsmall", key="sidebar_federation"):
        st.markdown(f":{colour}[{icon} **{words}**]")
        if federation.state == "down":
            st.caption("A training that you start waits until it is up again.")
        for site in federation.sites:
            waiting = federation.state == "starting" and site.state != "connected"
            mark, state = _SITE.get("starting" if waiting else site.state, _SITE["down"])
            st.caption(f"{mark} {plain(site.name)}{state}")
