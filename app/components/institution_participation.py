"""Taking part: what an institution's administrator allows, the Runs that wait for approval, and what was decided."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.actor import Actor
from app.components.dialogs import close_dialog, is_open, open_dialog
from app.components.empty import show_empty
from app.components.formats import plain, when
from app.components.guard import acting
from app.components.institution_words import (
    CONSENT_MEANS,
    CONSENT_NAMES,
    DECISION_NAMES,
    asks_to,
    every_setting,
    in_sentences,
)
from app.databases import central_session, site_session
from app.permissions import Permission
from app.services import participation
from app.services.participation import LONGEST_REASON, Approval, Decision, ParticipationView
from db.states import Consent

CHANGE = "participation_change"  # dialog
_PRESSED = "participation_pressed"  # a decision on its way
_COLOURS = {Consent.OPEN: "green", Consent.PAUSED: "red", Consent.APPROVAL: "blue"}


@st.dialog("Change how your hospital takes part", on_dismiss=close_dialog)
@acting(Permission.PARTICIPATION)
def change_dialog(actor: Actor, present: Consent) -> None:
    """Ask for the new state and the reason."""
    consent = st.radio(
        "Your hospital",
        [each.value for each in Consent],
        index=list(Consent).index(present),
        format_func=lambda each: CONSENT_NAMES[each],
        captions=[CONSENT_MEANS[each] for each in Consent],
        key="participation_consent",
    )
    reason = st.text_area(
        "Reason" if consent == Consent.PAUSED else "Reason (optional)",
        max_chars=LONGEST_REASON,
        key="participation_reason",
        help="Stays in your hospital's own database. Do not name a patient.",
    )
    st.caption("It counts from the next request on, also for a run that is going on.")
    if st.button("Save", type="primary", key="participation_save", width="stretch"):
        with central_session() as central, site_session(actor) as site:
            participation.change_participation(
                site=site, central=central, actor=actor, consent=consent, reason=reason
            )
        close_dialog()
        st.rerun()


@acting(Permission.PARTICIPATION)
def decide(actor: Actor, run_id: int, settings_sha256: str, approve: bool) -> bool:
    """Approve or refuse the Run whose settings the person has seen; nothing is returned where that failed."""
    with central_session() as central, site_session(actor) as site:
        participation.decide_run(
            site=site,
            central=central,
            actor=actor,
            run_id=run_id,
            approve=approve,
            settings_sha256=settings_sha256,
        )
    return True


def show_decision(decision: Decision) -> None:
    """Show what is allowed now, since when and why, and the way to change it."""
    with st.container(border=True, key="participation_state"):
        colour = _COLOURS[decision.consent]
        st.markdown(f":{colour}-badge[**{CONSENT_NAMES[decision.consent]}**]")
        st.markdown(CONSENT_MEANS[decision.consent])
        if decision.changed_at is not None:
            st.caption(f"Decided by {plain(decision.changed_by_name or '')}, {when(decision.changed_at)}.")
        else:
            st.caption("Nobody has decided otherwise yet.")
        if decision.reason:
            st.markdown(f"Reason: {plain(decision.reason)}")
        if st.button("Change", icon=":material/edit:", key="participation_open_change"):
            open_dialog(CHANGE)
            st.rerun()
    if is_open(CHANGE):
        change_dialog(decision.consent)


@st.fragment(run_every=5)
@acting(Permission.PARTICIPATION)
def show_waiting(actor: Actor) -> None:
    """Show the Runs that wait, as they come in."""
    if (pressed := st.session_state.pop(_PRESSED, None)) and decide(*pressed):
        st.rerun()  # the lists below change too
    with central_session() as central, site_session(actor) as site:
        view = participation.participation(site=site, central=central, actor=actor)
    st.header("Runs that wait for your approval", anchor=False)
    if not view.waiting:
        if view.decision.consent is Consent.APPROVAL:
            show_empty(
                "No run is waiting",
                "As soon as the consortium starts a run, what it asks for appears here.",
                icon="task_alt",
            )
        else:
            st.markdown("None. Runs ask for approval only if you choose to approve each of them first.")
    for approval in view.waiting:
        _show_approval(approval, view.decision.consent)


def _show_approval(approval: Approval, consent: Consent) -> None:
    key = f"participation_run_{approval.run_id}"
    with st.container(border=True, key=key):
        st.markdown(f"**Run {approval.run_id} asks to {plain(asks_to(approval.settings))}.**")
        st.caption(f"Asked {when(approval.requested_at)}.")
        st.markdown("\n".join(f"- {plain(sentence)}" for sentence in in_sentences(approval.settings)))
        with st.expander("Every setting", key=f"{key}_settings"):
            st.table(pd.DataFrame(every_setting(approval.settings)), border="horizontal", hide_index=True)
        if consent is Consent.PAUSED:
            st.caption("Your hospital is paused: an approved run is answered only once it takes part again.")
        # What is pressed is what was shown, whatever the run asks for by the time the press arrives.
        seen = (approval.run_id, approval.settings_sha256)
        with st.container(horizontal=True):
            st.button(
                "Approve",
                type="primary",
                icon=":material/check:",
                key=f"{key}_approve",
                on_click=_press,
                args=(*seen, True),
            )
            st.button(
                "Refuse", icon=":material/close:", key=f"{key}_refuse", on_click=_press, args=(*seen, False)
            )


def _press(run_id: int, settings_sha256: str, approve: bool) -> None:
    st.session_state[_PRESSED] = (run_id, settings_sha256, approve)


def show_history(view: ParticipationView) -> None:
    """List the Runs that were decided, and how participation was changed."""
    st.header("Earlier runs that asked", anchor=False)
    if view.decided:
        rows = [
            {
                "Run": str(each.run_id),
                "What it asked": plain(asks_to(each.settings)),
                "Decision": DECISION_NAMES[each.decision],
                "By": plain(each.decided_by_name or "–"),
                "When": plain(when(each.decided_at or each.requested_at)),
            }
            for each in view.decided
        ]
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    else:
        st.markdown("No run has asked for approval yet.")
    st.header("Changes", anchor=False)
    if view.changes:
        rows = [
            {
                "When": plain(when(each.occurred_at)),
                "Your hospital": CONSENT_NAMES[each.consent],
                "Reason": plain(each.reason or "–"),
                "By": plain(each.by_name),
            }
            for each in view.changes
        ]
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    else:
        st.markdown("Your hospital has taken part from the beginning; nothing was changed.")
