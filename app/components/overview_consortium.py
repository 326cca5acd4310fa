"""The overview of data scientists and administrators: Runs, model, hospitals, people; never a patient."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.actor import Actor
from app.components import charts
from app.components.empty import show_empty
from app.components.figure import Figure, show_cards
from app.components.formats import (
    ROLE_NAMES,
    RUN_STATUS_NAMES,
    count,
    day,
    duration,
    number,
    plain,
    usd,
    when,
)
from app.components.guard import acting
from app.components.model_view import show_hospitals
from app.components.navigation import PAGES, page
from app.components.run_start import show_start
from app.components.run_view import chart_in_words, evaluated_rounds, is_active
from app.databases import central_read_session
from app.permissions import Permission
from app.services.consortium import (
    ConsortiumOverview,
    Refusals,
    StaffGroup,
    consortium_overview,
    refusals,
    staff,
)
from app.services.models import ModelStatus
from app.services.monitoring import FederationView, RunProgress
from db.states import Role

_FEDERATION = {"up": "Up", "starting": "Starting", "down": "Down"}


@acting(Permission.TRAINING_READ)
def show_consortium(actor: Actor) -> None:
    """Show how training and the model stand and, to those who manage the consortium, its people and refusals."""
    with central_read_session() as central:
        overview = consortium_overview(central=central, actor=actor)
        refused = refusals(central=central, actor=actor) if actor.may(Permission.AUDIT_READ) else None
        people = staff(central=central, actor=actor) if actor.may(Permission.WORKERS_MANAGE) else None
    in_control = actor.may(Permission.TRAINING_CONTROL)
    run = overview.last_run
    show_start(possible=in_control and not (run and is_active(run.run.status)))
    if run is None:
        show_empty(
            "No training yet",
            "Press **Start round** to train the first model. It takes about a minute."
            if in_control
            else "An administrator starts the first training. What it makes appears here.",
            icon="model_training",
        )
    show_cards(
        [
            _run_figure(run),
            _model_figure(overview.status),
            _federation_figure(overview.federation),
            *([_waiting_figure(overview)] if in_control or overview.waiting else []),
            *([_refusals_figure(refused)] if refused is not None else []),
        ],
        key="overview_figure",
    )
    if run is not None and evaluated_rounds(run):
        _show_rounds(run)
    if overview.metrics:
        st.header("The model in use at each hospital", anchor=False)
        st.caption("On held-out patients of that hospital, which the model was never trained on.")
        show_hospitals(overview.metrics, {site.code: site.name for site in overview.federation.sites})
    if people:
        _show_people(people)
    if refused:
        _show_refusals(refused)


def _run_figure(progress: RunProgress | None) -> Figure:
    if progress is None:
        return Figure("Last run", "None yet", "No training was asked for.", "training", "Open training")
    run = progress.run
    who = f"Started by {run.requested_by_name or 'a rule'}, {when(run.requested_at)}."
    if is_active(run.status):
        return Figure("Run at work", progress.stage, who, "training", "Watch it live")
    took = (
        f" It took {duration((run.finished_at - run.started_at).total_seconds())}."
        if run.finished_at and run.started_at
        else ""
    )
    return Figure(
        f"Last run: {run.id}",
        RUN_STATUS_NAMES[run.status],
        f"{run.error or ''} {who}{took}".strip(),
        "training",
        "See its rounds",
        {"run": str(run.id)},
    )


def _model_figure(status: ModelStatus) -> Figure:
    if not status.version:
        return Figure(
            "Model in use",
            "None yet",
            "The first training that completes makes one.",
            "model_card",
            "Open the model card",
        )
    return Figure(
        "Model in use",
        status.version,
        f"On average {usd(status.mae)} a year off on held-out patients, R² {number(status.r2)}. "
        f"Trained {day(status.trained_at)}.",
        "models",
        "See the version",
        {"version": status.version},
    )


def _federation_figure(federation: FederationView) -> Figure:
    connected = [site for site in federation.sites if site.state == "connected"]
    missing = [site.name for site in federation.sites if site.state != "connected"]
    note = f"{len(connected)} of {count(len(federation.sites), 'hospital')} connected."
    if not federation.sites:
        note = "No hospital has been heard of yet."
    elif missing:
        note += f" Not connected: {', '.join(missing)}."
    if federation.state == "down":
        note += " A training that is started waits until it is up again."
    return Figure("Federation", _FEDERATION[federation.state], note, "training", "Open training")


def _waiting_figure(overview: ConsortiumOverview) -> Figure:
    waiting = overview.waiting
    return Figure(
        "Versions waiting for a decision",
        count(len(waiting)),
        f"{waiting[0].version}: {waiting[0].reason or 'a person has to decide.'}"
        if waiting
        else "Every version that training made has been decided on.",
        "models",
        "Look at it" if waiting else "Open models",
        {"version": waiting[0].version} if waiting else {},
    )


def _refusals_figure(kinds: list[Refusals]) -> Figure:
    total = sum(kind.count for kind in kinds)
    return Figure(
        "Refused attempts in the last 7 days",
        count(total),
        f"Most often: {_attempt(kinds[0].action)}. They are listed below."
        if kinds
        else "Nobody asked for what they may not have.",
    )


def _attempt(action: str) -> str:
    """Say what was refused, from what the audit holds: `sign_in`, a page's file and function, or a request."""
    if action == "sign_in":
        return "Signing in"
    name = action.removeprefix("pages/").partition(".py")[0]
    titles = {entry.name: entry.title for entry in PAGES}
    return f"Page {titles[name]}" if name in titles else f"API request {action}"


def _show_rounds(progress: RunProgress) -> None:
    rounds = evaluated_rounds(progress)
    st.header(f"Rounds of run {progress.run.id}", anchor=False)
    st.caption(f"From round 1 to {rounds[-1].round_number}, on held-out patients of all hospitals.")
    last = {"loss": number(rounds[-1].loss), "mae": usd(rounds[-1].mae), "r2": number(rounds[-1].r2)}
    for metric, column in zip(charts.METRICS, st.columns(len(charts.METRICS)), strict=True):
        with (
            column,
            st.container(border=True, height="stretch", gap="xsmall", key=f"overview_rounds_{metric.field}"),
        ):
            st.metric(metric.heading, plain(last[metric.field]))
            st.markdown(f":small[{metric.axis}. {metric.note}.]")
            st.space("stretch")
            st.plotly_chart(
                charts.sparkline(metric, rounds),
                key=f"overview_spark_{metric.field}",
                config={"displayModeBar": False},
                alt=chart_in_words(metric, progress),
            )


def _show_people(groups: list[StaffGroup]) -> None:
    st.header("People who can sign in", anchor=False)
    rows = [
        {
            "Institution": plain(group.institution or "Whole consortium"),
            "Role": ROLE_NAMES[Role(group.role)],
            "People": count(group.active),
            "Switched off": count(group.switched_off),
            "Last signed in": plain(when(group.last_seen_at)) if group.last_seen_at else "never",
        }
        for group in groups
    ]
    table = pd.DataFrame(rows)
    if not any(group.switched_off for group in groups):
        table = table.drop(columns="Switched off")
    st.table(table, border="horizontal", hide_index=True)
    st.page_link(
        page("workers"), label="Look after them", icon=":material/arrow_forward:", icon_position="right"
    )


def _show_refusals(kinds: list[Refusals]) -> None:
    st.header("Refused attempts in the last 7 days", anchor=False)
    rows = [
        {
            "What": plain(_attempt(kind.action)),
            "By": ROLE_NAMES[Role(kind.role)] if kind.role else "unknown",
            "Times": count(kind.count),
            "Last": plain(when(kind.last_at)),
        }
        for kind in kinds
    ]
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
