"""The overview of doctors and nurses: their institution's patients and predictions, and the model in use."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import streamlit as st

from app.actor import Actor
from app.components.empty import NextStep, show_empty
from app.components.figure import Figure, show_cards
from app.components.formats import PATIENT_ACTION_NAMES, at_least, count, percent, plain, usd, when
from app.components.guard import acting
from app.components.model_figure import model_figure
from app.components.navigation import page
from app.components.patient_list_view import PatientListView
from app.components.patient_view import field_label
from app.databases import central_read_session, site_session
from app.permissions import Permission
from app.services import models
from app.services.overview import (
    ClinicOverview,
    Counted,
    Outcomes,
    RecentChange,
    RecentPrediction,
    clinic_overview,
)
from app.services.patient_query import PatientFilter, PatientSort

COSTS_UNKNOWN = PatientListView(filter=PatientFilter(cost_unknown=True))
LATEST_CHANGES = PatientListView(sort=PatientSort.CHANGED, descending=True)


@acting(Permission.PATIENTS_READ)
def show_clinic(actor: Actor) -> None:
    """Show the figures of the own institution, then what was predicted and changed last."""
    with central_read_session() as central:
        status = models.model_status(central=central, actor=actor)
    with site_session(actor) as site:
        overview = clinic_overview(site=site, actor=actor)
    if not overview.patients.number:
        _show_no_patients(actor)
    show_cards(
        [
            *_patient_figures(overview),
            _predictions_figure(overview),
            _outcomes_figure(overview.outcomes),
            model_figure(status),
        ],
        key="overview_figure",
    )
    predictions, changes = st.columns(2, gap="medium")
    with predictions:
        st.header("Latest predictions", anchor=False)
        if overview.recent_predictions:
            _show_predictions(overview.recent_predictions)
        else:
            show_empty(
                "No prediction saved yet",
                "Enter six facts about a patient; the model answers at once."
                if status.has_model
                else "Predictions are possible once an administrator has trained the first model.",
                icon="calculate",
                links=[NextStep("predict", "Predict a cost")] if status.has_model else [],
            )
    with changes:
        st.header("Latest changes", anchor=False)
        if overview.recent_changes:
            _show_changes(overview.recent_changes)
        else:
            st.markdown("Nobody has added or edited a patient yet.")


def _show_no_patients(actor: Actor) -> None:
    may_import = actor.may(Permission.PATIENTS_IMPORT)
    show_empty(
        "No patients yet",
        "Bring a CSV or Excel file of your patients, or add the first one by hand."
        if may_import
        else "Add the first one by hand, or ask a doctor to import a file.",
        icon="group_add",
        links=[
            *([NextStep("patient_import", "Import a file")] if may_import else []),
            NextStep("patient", "Add a patient", {"new": "yes"}),
        ],
    )


def _patient_figures(overview: ClinicOverview) -> list[Figure]:
    changed = ", ".join(
        f"{at_least(number.number, more=number.more)} {PATIENT_ACTION_NAMES[action].lower()}"
        for action, number in overview.changes.items()
    )
    total = Counted(
        sum(each.number for each in overview.changes.values()),
        more=any(each.more for each in overview.changes.values()),
    )
    patients, unknown = overview.patients, overview.costs_unknown
    return [
        Figure(
            "Patients",
            f"about {count(round(patients.number, -3))}" if patients.more else count(patients.number),
            "On record at your hospital. Nobody outside it can see them.",
            "patients",
            "Open the list",
        ),
        Figure(
            "Costs not known yet",
            at_least(unknown.number, more=unknown.more),
            "Once an actual cost is entered, earlier predictions can be judged by it."
            if unknown.number
            else "Every patient's yearly cost is on record.",
            "patients",
            "See who they are" if unknown.number else "Open the list",
            COSTS_UNKNOWN.address() if unknown.number else {},
        ),
        Figure(
            "Changes in the last 7 days",
            at_least(total.number, more=total.more),
            changed.capitalize() if changed else "No patient was added, edited or deleted.",
            "patients",
            "See the latest",
            LATEST_CHANGES.address(),
        ),
    ]


def _predictions_figure(overview: ClinicOverview) -> Figure:
    made = overview.predictions
    return Figure(
        "Predictions in the last 7 days",
        at_least(made.number, more=made.more),
        "Saved by you and your colleagues." if made.number else "None was saved in these days.",
        "history",
        "Open the history",
    )


def _outcomes_figure(outcomes: Outcomes) -> Figure:
    if outcomes.mean_absolute_error is None:
        return Figure(
            "How predictions turned out",
            "Too early to say",
            "Shown as soon as a patient's actual cost is entered after a prediction.",
            "history",
            "Open the history",
        )
    inside = (
        "" if outcomes.coverage is None else f" {percent(outcomes.coverage)} lay within their 90 % interval."
    )
    return Figure(
        "How predictions turned out",
        f"{usd(outcomes.mean_absolute_error)} off",
        f"A year, on average over {count(outcomes.count, 'prediction')} whose actual cost came later.{inside}",
        "history",
        "Compare them",
        {"known": "yes"},
    )


def _show_predictions(predictions: Sequence[RecentPrediction]) -> None:
    with st.container(border=True, gap="small", key="overview_predictions"):
        for each in predictions:
            actual = "" if each.actual_cost is None else f", actual cost {usd(each.actual_cost)}"
            with st.container(gap="xxsmall"):
                if each.patient_id:
                    _link_to(each.patient_id, each.patient_name or "")
                else:
                    st.markdown("Nobody on record")
                st.markdown(f"**{plain(usd(each.predicted_cost))}** a year predicted{plain(actual)}")
                st.caption(plain(f"{when(each.created_at)} · {each.worker_name}"))


def _show_changes(changes: Sequence[RecentChange]) -> None:
    with st.container(border=True, gap="small", key="overview_changes"):
        for each in changes:
            fields = ", ".join(field_label(field).lower() for field in each.fields)
            with st.container(gap="xxsmall"):
                _link_to(each.patient_id, each.patient_name)
                st.markdown(PATIENT_ACTION_NAMES[each.action] + (f": {plain(fields)}" if fields else ""))
                st.caption(plain(f"{when(each.occurred_at)} · {each.worker_name}"))


def _link_to(patient_id: uuid.UUID, name: str) -> None:
    st.page_link(
        page("patient"),
        label=plain(name),
        icon=":material/person:",
        query_params={"patient": str(patient_id)},
    )
