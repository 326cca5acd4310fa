"""Saved predictions beside what the patients really cost: a table, one of them in full, and a file of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

import pandas as pd
import streamlit as st

from app.components.browser import browser_zone
from app.components.formats import (
    COST_NOT_KNOWN,
    day,
    feature_heading,
    feature_value,
    plain,
    signed_usd,
    usd,
    usd_range,
    when,
)
from app.components.navigation import page
from app.components.row_table import Column, Row, show_row_table
from app.services.prediction_history import PredictionOutcome
from fl.features import FEATURES

NOBODY = "no patient"  # a prediction that was saved for nobody on record
_COLUMNS = [
    Column(label, unit, figure=bool(unit))
    for label, unit in (
        ("Patient", ""),
        ("Saved", ""),
        ("Predicted", "USD a year"),
        ("Nine in ten", "USD a year"),
        ("Actual", "USD a year"),
        ("Error", "USD a year"),
        ("Model", ""),
        ("By", ""),
    )
]
_ACTUAL_COLUMN = 4


def show_outcomes(outcomes: Sequence[PredictionOutcome], *, key: str) -> PredictionOutcome | None:
    """Show predictions, newest first; returns the one that the reader just opened."""
    zone = browser_zone()
    opened = show_row_table(
        _COLUMNS,
        [_row(outcome, zone) for outcome in outcomes],
        key=key,
        caption="Saved predictions, newest first; a row opens the prediction in full",
    )
    if any(outcome.known_before for outcome in outcomes):
        st.caption(
            "\\* The actual cost was already on record when the prediction was made, so this error proves nothing."
        )
    return next((outcome for outcome in outcomes if str(outcome.prediction.id) == opened), None)


def show_outcome(outcome: PredictionOutcome) -> None:
    """Show one prediction in full, with the way to its patient."""
    prediction = outcome.prediction
    st.markdown(plain(_outcome_in_words(outcome)))
    st.table(
        pd.DataFrame(
            [
                (
                    plain(feature_heading(feature)),
                    plain(feature_value(feature, prediction.inputs.get(feature.name))),
                )
                for feature in FEATURES
            ],
            columns=["Value", "As predicted from"],
        ),
        border="horizontal",
        hide_index=True,
    )
    st.caption(
        plain(
            f"Model version {prediction.model_version} · saved {when(prediction.created_at)} by "
            f"{prediction.worker_name}"
        )
    )
    if prediction.patient_id is not None and outcome.patient_name is not None:
        st.page_link(
            page("patient"),
            label="Open patient",
            icon=":material/person:",
            query_params={"patient": str(prediction.patient_id)},
        )


def name_of(outcome: PredictionOutcome) -> str:
    """Return for whom a prediction was saved, as a heading."""
    return outcome.patient_name or "Saved for no patient on record"


def export_headings() -> list[str]:
    """Return the headings of a file of predictions, with units."""
    return [
        "Saved (UTC)",
        "Patient",
        *(feature_heading(feature) for feature in FEATURES),
        "Predicted (USD a year)",
        "90 % interval from (USD a year)",
        "90 % interval to (USD a year)",
        "Actual (USD a year)",
        "Error, predicted less actual (USD a year)",
        "Actual within interval",
        "Actual known before prediction",
        "Model version",
        "By",
    ]


def export_row(outcome: PredictionOutcome) -> list[object]:
    """Return one prediction as `export_headings` orders it; amounts stay numbers, what is not known stays empty."""
    prediction = outcome.prediction
    within = {None: "", True: "yes", False: "no"}[outcome.covered]
    known_before = "" if outcome.actual_cost is None else "yes" if outcome.known_before else "no"
    return [
        f"{prediction.created_at:%Y-%m-%d %H:%M:%S}",
        outcome.patient_name or "",
        *(prediction.inputs.get(feature.name) for feature in FEATURES),
        prediction.predicted_cost,
        prediction.interval_low,
        prediction.interval_high,
        outcome.actual_cost,
        outcome.error,
        within,
        known_before,
        prediction.model_version,
        prediction.worker_name,
    ]


def export_rows(outcomes: Iterator[PredictionOutcome]) -> Iterator[list[object]]:
    """Return predictions as the rows of a file."""
    return (export_row(outcome) for outcome in outcomes)


def _row(outcome: PredictionOutcome, zone: tzinfo) -> Row:
    prediction = outcome.prediction
    named = outcome.patient_name is not None
    return Row(
        id=str(prediction.id),
        href=f"patient?patient={prediction.patient_id}" if named else "history",
        cells=[
            outcome.patient_name or NOBODY,
            day(prediction.created_at, zone),
            usd(prediction.predicted_cost),
            usd_range(prediction.interval_low, prediction.interval_high),
            COST_NOT_KNOWN if outcome.actual_cost is None else usd(outcome.actual_cost),
            f"{signed_usd(outcome.error)}{'*' if outcome.known_before else ''}",
            prediction.model_version,
            prediction.worker_name,
        ],
        unknown=[_ACTUAL_COLUMN] if outcome.actual_cost is None else [],
    )


def _outcome_in_words(outcome: PredictionOutcome) -> str:
    prediction = outcome.prediction
    words = f"Predicted {usd(prediction.predicted_cost)} a year"
    if prediction.interval_low is not None:
        words += (
            f", nine in ten such patients {usd(prediction.interval_low)} to {usd(prediction.interval_high)}"
        )
    words += ". "
    if outcome.actual_cost is None or outcome.error is None:
        return words + "The actual cost is not known yet; enter it on the patient's page once it is."
    direction = "too high" if outcome.error > 0 else "too low"
    words += f"The actual cost is {usd(outcome.actual_cost)}: the prediction was {usd(abs(outcome.error))} {direction}"
    if outcome.covered is not None:
        words += f" and the actual cost lies {'inside' if outcome.covered else 'outside'} the interval"
    words += "."
    if outcome.known_before:
        words += (
            " This cost was already on record when the prediction was made, so it is not counted when the model "
            "is judged."
        )
    return words
