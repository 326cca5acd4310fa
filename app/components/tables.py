"""Lists of predictions and model versions as tables; a callback is told which row was chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from app.components.browser import browser_zone, is_telephone
from app.components.formats import (
    VERSION_STATUS_NAMES,
    count,
    feature_heading,
    feature_value,
    number,
    usd,
    when,
)
from db.central import ModelVersion
from db.site import Prediction
from db.states import VersionOrigin
from fl.features import FEATURES

ROW_HEIGHT = 36  # pixels
# Written as text, but read as figures: their digits stand below each other.
FIGURES = {
    "Predicted (USD a year)",
    "R²",
    "MAE (USD a year)",
    "RMSE (USD a year)",
    "Rows trained on",
    *(feature_heading(feature) for feature in FEATURES if feature.kind != "category"),
}

Id = TypeVar("Id")


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


def show_versions(versions: Sequence[ModelVersion], *, key: str, choose: Callable[[str], object]) -> None:
    """Show model versions, newest first; `choose` gets the name of the selected one."""
    zone = browser_zone()
    rows = [
        {
            "Version": version.version,
            "Status": VERSION_STATUS_NAMES[version.status] + (" · shadow" if version.is_shadow else ""),
            "From": "a run" if version.origin == VersionOrigin.RUN else "a file",
            "R²": number(version.r2),
            "MAE (USD a year)": usd(version.mae),
            "RMSE (USD a year)": usd(version.rmse),
            "Rows trained on": count(version.num_examples or None),
            "Made": when(version.trained_at, zone),
            "Run": "–" if version.run_id is None else str(version.run_id),
        }
        for version in versions
    ]
    names = [version.version for version in versions]
    _choosable(names, rows, key=key, choose=choose, alt="Model versions, newest first")


def _features(values: dict[str, Any]) -> dict[str, str]:
    return {
        feature_heading(feature): feature_value(feature, values.get(feature.name)) for feature in FEATURES
    }


def _choosable(
    ids: Sequence[Id], rows: list[dict[str, Any]], *, key: str, choose: Callable[[Id], object], alt: str
) -> None:
    if not rows:
        return

    def selected() -> None:
        picked = st.session_state[key]["selection"]["rows"]
        if picked and picked[0] < len(ids):
            choose(ids[picked[0]])

    st.dataframe(on_select=selected, selection_mode="single-row", key=key, alt=alt, **_table(rows))


def _table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    first = next(iter(rows[0]))
    return {
        "data": pd.DataFrame(rows),
        "hide_index": True,
        "row_height": ROW_HEIGHT,
        "height": (len(rows) + 1) * ROW_HEIGHT + 3,  # all rows, so that only the page scrolls
        "column_config": {
            **{name: st.column_config.Column(alignment="right") for name in FIGURES & rows[0].keys()},
            # A pinned column stays in view on a narrow screen, but Streamlit prints it faint.
            first: st.column_config.Column(pinned=is_telephone()),
        },
    }
