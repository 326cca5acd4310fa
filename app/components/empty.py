"""What a page shows when there is nothing to show yet: what is missing, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.components.navigation import page


def show_empty(title: str, next_step: str, *, icon: str, links: Mapping[str, str] | None = None) -> None:
    """Show a calm card with a heading and the next step.

    Parameters
    ----------
    icon
        A Material symbol such as `history`.
    links
        Name of a page -> what the link to it says, for the next step; only pages that the reader may open.
    """
    with st.container(border=True):
        # No heading: it would be of another level on every page that has one.
        st.markdown(f":material/{icon}: **{title}**")
        st.markdown(next_step)
        if links:
            with st.container(horizontal=True):
                for name, label in links.items():
                    st.page_link(
                        page(name), label=label, icon=":material/arrow_forward:", icon_position="right"
                    )
