"""What a page shows when there is nothing to show yet: what is missing, and what to do next."""

from __future__ import annotations

import streamlit as st


def show_empty(title: str, next_step: str, *, icon: str) -> None:
    """Show a calm card with a heading and the next step; `icon` is a Material symbol such as `history`."""
    with st.container(border=True):
        st.markdown(f"#### :material/{icon}: {title}", anchors=False)
        st.markdown(next_step)
