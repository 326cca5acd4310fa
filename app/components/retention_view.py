"""How long data are kept, as people set it: a form, what it means today, and what was deleted before."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.actor import Actor
from app.components.browser import browser_zone
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.formats import NOT_KNOWN, count, day, plain, when
from app.components.guard import acting
from app.permissions import Permission
from app.services import retention
from app.services.audit_reading import trail_opened
from app.services.retention import MOST_DAYS, DueRows, RetentionJob, RetentionSettings
from app.services.retention_kinds import KIND_BY_NAME

RUN = "retention_run"  # dialog
_DONE = "retention_done"
_STATES = {"running": "Going on", "completed": "Done", "failed": "Failed"}


def show_settings(settings: RetentionSettings, due: Sequence[DueRows]) -> None:
    """Draw the form: a number of days for each kind, empty for ever."""
    with st.form("retention_form"):
        for one in due:
            st.number_input(
                f"{one.kind.label} (days)",
                min_value=one.kind.least,
                max_value=MOST_DAYS,
                value=settings.days[one.kind.name],
                step=1,
                placeholder="For ever",
                key=f"retention_{one.kind.name}",
                help=f"{one.kind.what[0].upper()}{one.kind.what[1:]}. At least {one.kind.least} days.",
                width=320,
            )
        st.toggle("Delete what is old every day", value=settings.daily, key="retention_daily")
        saved = st.form_submit_button("Save", type="primary", key="retention_save")
    if saved:
        _save([one.kind.name for one in due])
    if settings.changed_by is not None:
        st.caption(f"Set by {plain(settings.changed_by)}, {plain(when(settings.changed_at))}.")


def show_due(due: Sequence[DueRows]) -> None:
    """Say what would go now, and offer to delete it."""
    rows = [
        {
            "Kind": one.kind.label,
            "Kept": "for ever" if one.days is None else count(one.days, "day"),
            "Would be deleted": NOT_KNOWN if one.days is None else count(one.rows, "row"),
            "Oldest": day(one.oldest, browser_zone()),
        }
        for one in due
    ]
    with st.container(key="figures_retention_due"):
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    total = sum(one.rows for one in due)
    done = st.session_state.pop(_DONE, None)
    if done is not None:
        st.success(done, icon=":material/check_circle:")
    st.button(
        "Archive and delete now",
        icon=":material/auto_delete:",
        key="retention_run",
        disabled=total == 0,
        on_click=open_dialog,
        args=(RUN,),
    )
    if is_open(RUN, possible=total > 0):
        st.dialog("Delete what is old?", on_dismiss=close_dialog)(_confirm)(total)


def show_jobs(jobs: Sequence[RetentionJob]) -> None:
    """List what was deleted before."""
    if not jobs:
        st.markdown("Nothing was deleted yet.")
        return
    zone = browser_zone()
    rows = [
        {
            "When": plain(when(job.started_at, zone)),
            "By": plain(job.requested_by_name or "every day"),
            "Outcome": _STATES[job.status] + (f": {plain(job.error)}" if job.error else ""),
            "Deleted": _deleted(job),
            "Archive": plain(job.archive or NOT_KNOWN),
        }
        for job in jobs
    ]
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)


@acting(Permission.RETENTION)
def _save(actor: Actor, names: Sequence[str]) -> None:
    days = {name: st.session_state[f"retention_{name}"] for name in names}
    with trail_opened(actor) as trail:
        retention.change_settings(trail, actor=actor, days=days, daily=st.session_state["retention_daily"])
    st.rerun()


@acting(Permission.RETENTION)
def _confirm(actor: Actor, total: int) -> None:
    st.markdown(
        f"{count(total, 'row')} will be written to a compressed archive file on the server, and then deleted. The "
        "product does not read archives back."
    )
    with st.container(horizontal=True):
        confirmed = st.button(
            "Archive and delete", type="primary", icon=":material/auto_delete:", key="retention_run_confirmed"
        )
        st.button("Keep", key="retention_run_kept", on_click=close_dialog)
    if not confirmed:
        return
    close_dialog()
    with st.spinner("Archiving and deleting"), trail_opened(actor) as trail:
        job = retention.run_now(trail, actor=actor)
    st.session_state[_DONE] = f"{count(sum(job.deleted.values()), 'row')} archived and deleted."
    st.rerun()


def _deleted(job: RetentionJob) -> str:
    parts = [
        f"{KIND_BY_NAME[name].label}: {rows:,}" for name, rows in job.deleted.items() if name in KIND_BY_NAME
    ]
    return plain("; ".join(parts)) or NOT_KNOWN
