"""Lists of Runs, patients, predictions and model versions as tables; selecting a row returns its id."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from app.components.browser import browser_zone, is_telephone
from app.components.formats import (
    COST_NOT_KNOWN,
    RUN_STATUS_NAMES,
    VERSION_STATUS_NAMES,
    count,
    duration,
    feature_heading,
    feature_value,
    number,
    usd,
    when,
)
from db.central import ModelVersion, TrainingRun
from db.site import Patient, Prediction
from fl.features import FEATURES

ROW_HEIGHT = 36  # pixels

Id = TypeVar("Id")


def show_runs(runs: Sequence[TrainingRun], *, key: str) -> int | None:
    """Show Runs, newest first; return the id of the selected one."""
    zone = browser_zone()
    rows = [
        {
            "Run": run.id,
            "Status": RUN_STATUS_NAMES[run.status],
            "Rounds": f"{run.current_round} of {run.num_rounds}",
            "Requested": when(run.requested_at, zone),
            "By": run.requester.name if run.requester else "a rule",
            "Took": duration((run.finished_at - run.started_at).total_seconds())
            if run.finished_at and run.started_at
            else "–",
        }
        for run in runs
    ]
    return _selected([run.id for run in runs], rows, key=key, alt="Training runs, newest first")


def show_patients(patients: Sequence[Patient], *, key: str) -> uuid.UUID | None:
    """Show patients of the own institution; return the id of the selected one."""
    rows = [
        {
            "Name": f"{patient.last_name}, {patient.first_name}",
            **_features({feature.name: getattr(patient, feature.name) for feature in FEATURES}),
            "Known cost (USD a year)": COST_NOT_KNOWN
            if patient.insurance_cost is None
            else usd(patient.insurance_cost),
        }
        for patient in patients
    ]
    return _selected([patient.id for patient in patients], rows, key=key, alt="Patients by name")


def show_predictions(predictions: Sequence[Prediction], *, key: str) -> None:
    """Show saved predictions, newest first."""
    zone = browser_zone()
    rows = [
        {
            "Saved": when(prediction.created_at, zone),
            "Predicted (USD a year)": usd(prediction.predicted_cost),
            **_features(prediction.inputs),
            "Model": prediction.model_version,
            "By": prediction.worker_name,
        }
        for prediction in predictions
    ]
    st.dataframe(key=key, alt="Saved predictions, newest first", **_table(rows))


def show_versions(versions: Sequence[ModelVersion], *, key: str) -> str | None:
    """Show model versions, newest first; return the name of the selected one."""
    zone = browser_zone()
    rows = [
        {
            "Version": version.version,
            "Status": VERSION_STATUS_NAMES[version.status],
            "R²": number(version.r2),
            "MAE (USD a year)": usd(version.mae),
            "RMSE (USD a year)": usd(version.rmse),
            "Rows trained on": count(version.num_examples),
            "Trained": when(version.trained_at, zone),
            "Run": version.run_id,
        }
        for version in versions
    ]
    names = [version.version for version in versions]
    return _selected(names, rows, key=key, alt="Model versions, newest first")


def _features(values: dict[str, Any]) -> dict[str, str]:
    return {
        feature_heading(feature): feature_value(feature, values.get(feature.name)) for feature in FEATURES
    }


def _selected(ids: Sequence[Id], rows: list[dict[str, Any]], *, key: str, alt: str) -> Id | None:
    if not rows:
        return None
    event = st.dataframe(on_select="rerun", selection_mode="single-row", key=key, alt=alt, **_table(rows))
    picked = event["selection"]["rows"]
    return ids[picked[0]] if picked and picked[0] < len(ids) else None


def _table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    first = next(iter(rows[0]))
    return {
        "data": pd.DataFrame(rows),
        "hide_index": True,
        "row_height": ROW_HEIGHT,
        "height": (len(rows) + 1) * ROW_HEIGHT + 3,  # all rows, so that only the page scrolls
        # A pinned column stays in view on a narrow screen, but Streamlit prints it faint.
        "column_config": {first: st.column_config.Column(pinned=is_telephone())},
    }
