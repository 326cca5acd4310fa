"""The one large number of a page."""

from __future__ import annotations

from html import escape

import streamlit as st


def show_amount(amount: str) -> None:
    """Show an amount larger than every heading."""
    st.html(
        f'<p data-testid="amount" style="font-size:2.75rem;font-weight:650;line-height:1.1;margin:0">'
        f"{escape(amount)}</p>"
    )
