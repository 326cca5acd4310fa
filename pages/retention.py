"""Retention: how long a hospital, or the consortium, keeps what it may delete."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.formats import plain
from app.components.guard import acting
from app.components.retention_view import show_due, show_jobs, show_settings
from app.permissions import Permission
from app.services import retention
from app.services.audit_reading import trail_opened


@acting(Permission.RETENTION)
def show_page(actor: Actor) -> None:
    """Show the settings, what they mean today, and the jobs."""
    st.title("Retention", anchor=False)
    st.markdown(
        f"How long {plain(actor.institution_name or 'the consortium')} keeps what may be deleted. What is old is first "
        "written to a compressed archive file. Without a number of days it is kept for ever. The audit is never "
        "deleted."
    )
    with trail_opened(actor) as trail:
        due = retention.dry_run(trail, actor=actor)
        settings = retention.read_settings(trail.session, trail.kind)
        jobs = retention.list_jobs(trail, actor=actor)
    setting, meaning = st.columns([2, 3], gap="large")
    with setting:
        st.header("Kept for", anchor=False)
        show_settings(settings, due)
    with meaning:
        st.header("Today", anchor=False)
        show_due(due)
    st.header("Deleted before", anchor=False)
    show_jobs(jobs)


show_page()
