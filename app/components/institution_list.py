"""The institutions of the consortium: the state of each, deactivating one and taking it back in."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.empty import show_empty
from app.components.formats import RUN_STATUS_NAMES, count, day, plain, when
from app.components.guard import acting
from app.components.institution_keys import KEYS, keys_dialog
from app.components.institution_words import CONNECTION_NAMES, CONSENT_NAMES
from app.databases import central_session
from app.permissions import Permission
from app.services import institutions
from app.services.institutions import LONGEST_REASON, InstitutionView, RunPart

CHANGE = "institution_change_"  # dialog, and the code of the institution


@st.dialog("Deactivate or take back in", on_dismiss=close_dialog)
@acting(Permission.INSTITUTIONS_MANAGE)
def change_dialog(actor: Actor, code: str, name: str, active: bool) -> None:
    """Ask for the reason before an institution is deactivated or taken back in."""
    st.markdown(
        f"**{plain(name)}** is no longer asked by any run, and its SuperNode is stopped if it runs beside this hub. "
        "Its people go on seeing their patients and using the model."
        if active
        else f"**{plain(name)}** is asked again from the next run on."
    )
    reason = st.text_input("Reason", max_chars=LONGEST_REASON, key="institution_reason")
    word = "Deactivate" if active else "Take back in"
    if st.button(word, type="primary", key="institution_change_confirmed", width="stretch"):
        with central_session() as central:
            institutions.set_active(central=central, actor=actor, code=code, active=not active, reason=reason)
        close_dialog()
        st.rerun()


@st.fragment(run_every=5)
@acting(Permission.INSTITUTIONS_MANAGE)
def show_institutions(actor: Actor) -> None:
    """Show every institution as it stands now."""
    with central_session() as central:
        views = institutions.list_institutions(central=central, actor=actor).items
    if not views:
        show_empty(
            "No institution yet",
            "Press **Add an institution**; a run needs at least two.",
            icon="domain_add",
        )
        return
    active = [view for view in views if view.is_active]
    connected = sum(view.connection == "connected" for view in active)
    st.markdown(f"{connected} of {count(len(active), 'active institution')} connected.")
    for view in views:
        _show_institution(view)


def show_open_dialog(views: list[InstitutionView]) -> None:
    """Draw the dialog that a button of the list has opened."""
    for view in views:
        if is_open(f"{CHANGE}{view.code}"):
            change_dialog(view.code, view.name, view.is_active)
        elif is_open(f"{KEYS}{view.code}"):
            keys_dialog(view.code, view.name)


def _show_institution(view: InstitutionView) -> None:
    words, colour, icon = CONNECTION_NAMES[view.connection]
    key = f"institution_{view.code}"
    with st.container(border=True, gap="xsmall", key=key):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(view.name)}** :small[`{view.code}`]", width="content")
            st.markdown(f":{colour}-badge[{icon} {words}]", width="content")
        st.markdown(plain(_facts(view)))
        for caption in _captions(view):
            st.caption(plain(caption))
        with st.expander("Last runs", key=f"{key}_runs"):
            _show_runs(view.runs)
        with st.container(horizontal=True):
            if st.button("Keys", key=f"{key}_keys", icon=":material/key:"):
                open_dialog(f"{KEYS}{view.code}")
                st.rerun()
            if st.button(
                "Deactivate" if view.is_active else "Take back in",
                key=f"{key}_change",
                icon=":material/block:" if view.is_active else ":material/undo:",
            ):
                open_dialog(f"{CHANGE}{view.code}")
                st.rerun()


def _facts(view: InstitutionView) -> str:
    facts = []
    if view.connection == "connected" and view.online_since:
        facts.append(f"Online since {when(view.online_since)}")
    if view.last_seen_at:
        facts.append(f"last answered {when(view.last_seen_at)}")
    else:
        facts.append("its Site has not answered yet")
    if view.usable_rows is not None:
        facts.append(
            f"at least {count(view.usable_rows)} patients with a known cost"
            if view.usable_rows
            else "fewer than 10 patients with a known cost"
        )
    if view.consent:
        facts.append(CONSENT_NAMES.get(view.consent, view.consent).lower())
    if view.software_version:
        facts.append(f"version {view.software_version}{_same_code(view.same_code)}")
    facts.append(count(view.people, "account"))
    return " · ".join([facts[0][0].upper() + facts[0][1:], *facts[1:]])


def _same_code(same: bool | None) -> str:
    if same is None:
        return ""
    return ", the same code as the hub" if same else ", other code than the hub: its answers may be refused"


def _captions(view: InstitutionView) -> list[str]:
    captions = [
        f"{view.address + '. ' if view.address else ''}Since {day(view.created_at)} in the consortium."
    ]
    if view.status_reason and view.status_at:
        what = "Taken back in" if view.is_active else "Deactivated"
        captions.append(
            f"{what} by {view.status_by or 'somebody'}, {when(view.status_at)}: {view.status_reason}"
        )
    return captions


def _show_runs(runs: list[RunPart]) -> None:
    if not runs:
        st.markdown("No run has asked it yet.")
        return
    rows = [
        {
            "Run": f"{each.run_id}, {RUN_STATUS_NAMES[each.status].lower()}",
            "Asked": plain(when(each.requested_at)),
            "Answers used": f"{count(each.used)} of {count(each.asked)}",
            "Why not": plain(each.reason or "–"),
        }
        for each in runs
    ]
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
