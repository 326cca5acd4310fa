"""Which dialog is open. Remembered, so that a redraw of the page behind it does not close it."""

from __future__ import annotations

import streamlit as st

_OPEN = "dialog_open"


def open_dialog(name: str) -> None:
    """Open the dialog called `name` instead of any other."""
    st.session_state[_OPEN] = name


def close_dialog() -> None:
    """Close whichever dialog is open; what `st.dialog` calls when the reader dismisses it."""
    st.session_state.pop(_OPEN, None)


def is_open(name: str, *, possible: bool = True) -> bool:
    """Tell whether a dialog is to be drawn; one that is no longer possible is closed for good."""
    if st.session_state.get(_OPEN) != name:
        return False
    if not possible:
        close_dialog()
    return possible
