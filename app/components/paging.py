"""Next and previous over a keyset list: the cursors of the pages already seen are remembered."""

from __future__ import annotations

import streamlit as st


def current_cursor(key: str) -> str | None:
    """Return the cursor of the page to show; None is the first page."""
    seen: list[str | None] = st.session_state.setdefault(f"{key}_cursors", [None])
    return seen[-1]


def first_page(key: str) -> None:
    """Go back to the first page, for example because the search changed."""
    st.session_state[f"{key}_cursors"] = [None]


def show_pager(key: str, *, next_cursor: str | None, page_size: int, total: int | None = None) -> None:
    """Draw the buttons and where the reader is; nothing if there is only one page."""
    seen: list[str | None] = st.session_state.setdefault(f"{key}_cursors", [None])
    if len(seen) == 1 and next_cursor is None:
        return
    position = f"Page {len(seen)}"
    if total is not None:
        position += f" of {max(-(-total // page_size), len(seen))}"
    with st.container(horizontal=True, vertical_alignment="center"):
        back = st.button(
            "Previous", key=f"{key}_previous", icon=":material/chevron_left:", disabled=len(seen) == 1
        )
        forward = st.button(
            "Next",
            key=f"{key}_next",
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=next_cursor is None,
        )
        st.caption(position, width="content")
    if back and len(seen) > 1:
        seen.pop()
        st.rerun()
    if forward and next_cursor is not None:
        seen.append(next_cursor)
        st.rerun()
