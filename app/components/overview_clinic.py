"""The overview of doctors and nurses: their institution's patients and predictions, and the model in use."""

from __future__ import annotations

import streamlit as st

from app.actor import Actor
from app.components.empty import NextStep, show_empty
from app.components.figure import Figure, show_cards
from app.components.formats import PATIENT_ACTION_NAMES, at_least, count, day, percent, plain, usd, when
from app.components.guard import acting
from app.components.navigation import page
from app.components.patient_list_view import PatientListView
from app.databases import central_session, site_session
from app.permissions import Permission
from app.services import models
from app.services.models import ModelStatus
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
    with central_session() as central:
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
            _model_figure(status),
        ],
        key="overview_figure",
    )
    predictions, changes = st.columns(2, gap="medium")
    with predictions:
        st.subheader("Latest predictions", anchor=False)
        if overview.recent_predictions:
            for prediction in overview.recent_predictions:
                _show_prediction(prediction)
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
        st.subheader("Latest changes", anchor=False)
        if overview.recent_changes:
            for change in overview.recent_changes:
                _show_change(change)
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


def _model_figure(status: ModelStatus) -> Figure:
    if not status.has_model:
        return Figure("Model in use", "None yet", status.message, "model_card", "Open the model card")
    return Figure(
        "Model in use",
        status.version or "",
        f"On average {usd(status.mae)} a year off for patients it was not trained on. "
        f"Trained {day(status.trained_at)}.",
        "model_card",
        "Read the model card",
    )


def _show_prediction(prediction: RecentPrediction) -> None:
    actual = "" if prediction.actual_cost is None else f", actual cost {usd(prediction.actual_cost)}"
    _show_line(
        (str(prediction.patient_id), prediction.patient_name or "") if prediction.patient_id else None,
        f"**{plain(usd(prediction.predicted_cost))}** a year predicted{plain(actual)}",
        f"{when(prediction.created_at)} · {prediction.worker_name}",
    )


def _show_change(change: RecentChange) -> None:
    _show_line(
        (str(change.patient_id), change.patient_name),
        PATIENT_ACTION_NAMES[change.action],
        f"{when(change.occurred_at)} · {change.worker_name}",
    )


def _show_line(patient: tuple[str, str] | None, what: str, about: str) -> None:
    with st.container(border=True, gap="xxsmall"):
        if patient:
            st.page_link(page("patient"), label=plain(patient[1]), query_params={"patient": patient[0]})
        else:
            st.markdown("Nobody on record")
        st.markdown(what)
        st.caption(plain(about))
