"""Changing one's own password; afterwards only this browser is signed in."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.auth.login_form import stay_signed_in
from app.auth.own_password import change_own_password
from app.auth.password_rules import RULES
from app.components.choose_password import require_same
from app.components.guard import acting
from app.databases import central_session
from app.permissions import Permission

_CHANGED = "account_password_changed"


@acting(Permission.OWN_ACCOUNT)
def show_password(actor: Actor) -> None:
    """Ask for the present password and twice for the new one."""
    st.header("Password", anchor=False)
    if st.session_state.pop(_CHANGED, False):
        st.success(
            "Your password is changed. You are signed in only here; sign in anew everywhere else.",
            icon=":material/check_circle:",
        )
    with st.form("account_password_form", width=440):
        present = st.text_input(
            "Present password", type="password", key="account_present", autocomplete="current-password"
        )
        first = st.text_input("New password", type="password", key="account_new", autocomplete="new-password")
        st.caption(RULES)
        second = st.text_input(
            "The new password again", type="password", key="account_again", autocomplete="new-password"
        )
        sent = st.form_submit_button("Change password", type="primary", key="account_change")
    if not sent:
        return
    require_same(first, second)
    with central_session() as central:
        worker = change_own_password(central, actor=actor, present=present, new=first)
        stay_signed_in(central, worker)
    for key in ("account_present", "account_new", "account_again"):
        st.session_state.pop(key, None)
    st.session_state[_CHANGED] = True
    st.rerun()
