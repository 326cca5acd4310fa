"""What only a demonstration shows: that nobody is a real patient, and who can sign in."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.components.formats import ROLE_NAMES
from app.demo import demo_accounts
from app.settings import DEMO_PASSWORD, get_settings
from db.states import Role


def show_demo_note() -> None:
    """Say plainly that nobody here is a real patient, where that is so."""
    if get_settings().demo_mode:
        st.caption(":material/science: Demonstration data, not real patients")


def show_demo_accounts() -> None:
    """List the published accounts; a demonstration serves its own machine only."""
    if not get_settings().demo_mode:
        return
    with st.expander("Accounts of this demonstration"):
        st.markdown(f"Everybody's password is `{DEMO_PASSWORD}`.")
        rows = [
            {"Sign in as": f"`{email}`", "Role": ROLE_NAMES[Role(role)]} for email, _, role in demo_accounts()
        ]
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
