"""What a page shows when there is nothing to show yet: what is missing, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import streamlit as st

from app.components.navigation import page


@dataclass(frozen=True)
class NextStep:
    """A link to the page called `name`, opened with `query`; only for those who may open it."""

    name: str
    label: str
    query: Mapping[str, str] = field(default_factory=dict)


def show_empty(title: str, next_step: str, *, icon: str, links: Sequence[NextStep] = ()) -> None:
    """Show a calm card that says what is missing and what to do next; `icon` is a Material symbol such as `history`."""
    with st.container(border=True):
        # No heading: it would be of another level on every page that has one.
        st.markdown(f":material/{icon}: **{title}**")
        st.markdown(next_step)
        if links:
            with st.container(horizontal=True):
                for link in links:
                    st.page_link(
                        page(link.name),
                        label=link.label,
                        icon=":material/arrow_forward:",
                        icon_position="right",
                        query_params=dict(link.query),
                    )
