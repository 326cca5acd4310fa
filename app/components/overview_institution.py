"""The overview of an institution's administrator: whether the hospital takes part, and what came of it."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.figure import Figure, show_cards
from app.components.formats import ROLE_NAMES, RUN_STATUS_NAMES, count, day, when
from app.components.guard import acting
from app.components.institution_words import CONSENT_MEANS, CONSENT_NAMES, asks_to
from app.components.model_figure import model_figure
from app.databases import central_read_session, site_session
from app.permissions import Permission
from app.services import consortium, models, participation
from app.services.consortium import StaffGroup
from app.services.participation import Approval, Contribution, Decision, OwnPart
from db.states import Role


@acting(Permission.PARTICIPATION)
def show_institution(actor: Actor) -> None:
    """Show where the own hospital stands in the consortium."""
    with central_read_session() as central, site_session(actor) as site:
        status = models.model_status(central=central, actor=actor)
        view = participation.participation(site=site, central=central, actor=actor)
        own = participation.own_part(central=central, actor=actor)
        people = consortium.staff(central=central, actor=actor)
    if not own.is_active:
        st.warning(
            "The consortium has deactivated your hospital: no run asks it. Its people go on seeing their patients. "
            "Ask the consortium's administrators for the reason.",
            icon=":material/block:",
        )
    show_cards(
        [
            _decision_figure(view.decision, own),
            _waiting_figure(view.waiting),
            _contribution_figure(own.contribution),
            model_figure(status),
            _people_figure(people),
        ],
        key="overview_figure",
        columns=2,
    )


def _decision_figure(decision: Decision, own: OwnPart) -> Figure:
    seen = f" Its Site last answered {when(own.last_seen_at)}." if own.last_seen_at else ""
    return Figure(
        "Your hospital",
        CONSENT_NAMES[decision.consent],
        CONSENT_MEANS[decision.consent] + seen,
        "participation",
        "Change it",
    )


def _waiting_figure(waiting: list[Approval]) -> Figure:
    return Figure(
        "Runs waiting for your approval",
        count(len(waiting)),
        f"Run {waiting[0].run_id} asks to {asks_to(waiting[0].settings)}."
        if waiting
        else "No run needs your decision.",
        "participation",
        "Decide" if waiting else "See earlier ones",
    )


def _people_figure(groups: list[StaffGroup]) -> Figure:
    parts = [
        f"{count(group.active)} {ROLE_NAMES[Role(group.role)].lower()}" for group in groups if group.active
    ]
    off = sum(group.switched_off for group in groups)
    note = f"{', '.join(parts)}." + (f" {count(off)} deactivated." if off else "")
    people = count(sum(group.active for group in groups))
    return Figure("People who can sign in", people, note, "workers", "Look after them")


def _contribution_figure(contribution: Contribution | None) -> Figure:
    if contribution is None:
        return Figure("Last run", "None yet", "Shown as soon as the consortium has asked your hospital.")
    status = RUN_STATUS_NAMES[contribution.status].lower()
    about = f"Run {contribution.run_id} of {day(contribution.requested_at)} ({status})."
    rows = (
        f" Your hospital trained on {count(contribution.training_rows, 'patient')}."
        if contribution.training_rows
        else ""
    )
    reason = f" Where it did not take part: {contribution.reason}" if contribution.reason else ""
    used, asked = contribution.rounds_used, contribution.rounds_asked
    return Figure(
        "Your part in the last run",
        f"{count(used)} of {count(asked, 'round')}" if asked else "No round",
        f"{about}{rows}{reason}",
    )
