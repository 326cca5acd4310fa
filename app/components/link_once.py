"""A one-time link as it is shown, once, to the administrator who made it."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st

from app.components.formats import plain, verbatim, when
from app.services.one_time_links import NewLink
from app.settings import get_settings


def show_link_once(link: NewLink, *, key: str) -> None:
    """Show a link with a button that copies it, whom it is for and until when it works."""
    with st.container(gap="xsmall", key=key):
        st.markdown(f"For {verbatim(link.email)}, until {plain(when(link.expires_at))}:")
        st.code(address_of(link), language=None, wrap_lines=True)


def address_of(link: NewLink) -> str:
    """Return the whole link, with the address at which this page was opened if the settings name none."""
    base = get_settings().public_url
    if not base:
        opened = urlsplit(str(st.context.url or ""))
        base = f"{opened.scheme}://{opened.netloc}" if opened.netloc else ""
    return base.rstrip("/") + link.path
