"""Saved predictions beside what the patients really cost: a table, one of them in full, and a file of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Any

import pandas as pd
import streamlit as st

from app.components.browser import browser_zone, is_telephone
from app.components.formats import (
    NOT_KNOWN,
    describe_inputs,
    feature_heading,
    plain,
    signed_usd,
    usd,
    when,
)
from app.components.navigation import page
from app.components.tables import ROW_HEIGHT
from app.services.prediction_history import PredictionOutcome
from fl.features import FEATURES

NOBODY = "no patient"  # a prediction that was saved for nobody on record
_RIGHT = ("Predicted (USD a year)", "Nine in ten (USD a year)", "Actual (USD a year)", "Error (USD a year)")


def show_outcomes(outcomes: Sequence[PredictionOutcome], *, key: str) -> PredictionOutcome | None:
    """Show predictions, newest first; returns the one whose row the reader chose."""
    zone = browser_zone()
    rows = [_row(outcome, zone) for outcome in outcomes]
    state: Any = st.dataframe(
        pd.DataFrame(rows),
        key=key,
        alt="Saved predictions, newest first",
        on_select="rerun",
        selection_mode="single-cell",
        hide_index=True,
        row_height=ROW_HEIGHT,
        height=(len(rows) + 1) * ROW_HEIGHT + 3,
        column_config={
            **{name: st.column_config.Column(alignment="right") for name in _RIGHT},
            "Patient": st.column_config.Column(pinned=is_telephone()),
        },
    )
    cells: list[tuple[int, str]] = state["selection"]["cells"]
    if not cells or cells[0][0] >= len(outcomes):
        return None
    return outcomes[cells[0][0]]


def show_outcome(outcome: PredictionOutcome) -> None:
    """Show one prediction in full, with the way to its patient."""
    prediction = outcome.prediction
    with st.container(border=True, key="history_one"):
        st.markdown(f"#### {plain(outcome.patient_name or 'Saved for no patient on record')}", anchors=False)
        st.markdown(plain(_outcome_in_words(outcome)))
        st.caption(
            plain(
                f"{describe_inputs(prediction.inputs)} · model version {prediction.model_version} · saved "
                f"{when(prediction.created_at)} by {prediction.worker_name}"
            )
        )
        if prediction.patient_id is not None and outcome.patient_name is not None:
            st.page_link(
                page("patient"),
                label="Open patient",
                icon=":material/person:",
                query_params={"id": str(prediction.patient_id)},
            )


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


def _row(outcome: PredictionOutcome, zone: tzinfo) -> dict[str, str]:
    prediction = outcome.prediction
    interval = NOT_KNOWN
    if prediction.interval_low is not None:
        interval = f"{usd(prediction.interval_low)} – {usd(prediction.interval_high)}"
    return {
        "Patient": outcome.patient_name or NOBODY,
        "Predicted (USD a year)": usd(prediction.predicted_cost),
        "Nine in ten (USD a year)": interval,
        "Actual (USD a year)": usd(outcome.actual_cost),
        "Error (USD a year)": signed_usd(outcome.error),
        "Model": prediction.model_version,
        "By": prediction.worker_name,
        "Saved": when(prediction.created_at, zone),
    }


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
