"""Next and previous over a keyset list: the cursors of the pages already seen are remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.services.paging import Page


def current_cursor(key: str) -> str | None:
    """Return the cursor of the page to show; None is the first page."""
    seen: list[str | None] = st.session_state.setdefault(f"{key}_cursors", [None])
    return seen[-1]


def first_page(key: str) -> None:
    """Go back to the first page, for example because the search changed."""
    st.session_state[f"{key}_cursors"] = [None]


def show_pager(key: str, *, next_cursor: str | None) -> None:
    """Draw the buttons and where the reader is; nothing if there is only one page."""
    seen: list[str | None] = st.session_state.setdefault(f"{key}_cursors", [None])
    if len(seen) == 1 and next_cursor is None:
        return
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
        st.caption(f"Page {len(seen)}", width="content")
    if back and len(seen) > 1:
        seen.pop()
        st.rerun()
    if forward and next_cursor is not None:
        seen.append(next_cursor)
        st.rerun()


def show_page_turner(
    key: str,
    *,
    page: Page[Any],
    number: int | None,
    page_size: int,
    total: int | None = None,
    turn: Callable[[str | None, int | None], None],
) -> None:
    """Draw "Previous" and "Next" of a list that is read in both directions; nothing if there is only one page.

    Parameters
    ----------
    number
        Which page this is; None if nobody knows, as after following an address.
    total
        Rows of the whole list; None if they were not counted.
    turn
        Called with the cursor and the number of the page to turn to; None, 1 is the first page.
    """
    if page.previous_cursor is None:
        number = 1
    if page.previous_cursor is None and page.next_cursor is None:
        return
    pages = None if total is None else max(-(-total // page_size), number or 1)
    back = None if number is None else max(number - 1, 1)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Previous",
            key=f"{key}_previous",
            icon=":material/chevron_left:",
            disabled=page.previous_cursor is None,
            on_click=turn,
            args=(page.previous_cursor, back),
        )
        st.button(
            "Next",
            key=f"{key}_next",
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=page.next_cursor is None,
            on_click=turn,
            args=(page.next_cursor, None if number is None else number + 1),
        )
        of_pages = "" if pages is None else f"{pages:,} pages" if number is None else f" of {pages:,}"
        st.caption(of_pages if number is None else f"Page {number:,}{of_pages}", width="content")
