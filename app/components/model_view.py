"""A model version as people see it: how good it is, at which hospitals, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from app.components.formats import count, number, plain, usd

MEANINGS = {
    "R²": "Share of the variation in cost that the model explains; 1 is perfect, 0 is no better than the mean.",
    "MAE (USD a year)": "Mean absolute error: by how much a prediction is off on average.",
    "RMSE (USD a year)": "Root mean squared error: like the MAE, but large errors weigh more.",
}


def show_figures(
    *, r2: float | None, mae: float | None, rmse: float | None, num_examples: int | None
) -> None:
    """Show the metrics of a version on all held-out patients; `mae` and `rmse` in USD."""
    with st.container(horizontal=True, gap="medium"):
        st.metric("R²", number(r2), help=MEANINGS["R²"], width=150)
        st.metric("MAE (USD a year)", plain(usd(mae)), help=MEANINGS["MAE (USD a year)"], width=150)
        st.metric("RMSE (USD a year)", plain(usd(rmse)), help=MEANINGS["RMSE (USD a year)"], width=150)
        st.metric(
            "Rows trained on",
            count(num_examples),
            help="In the last round, all hospitals together.",
            width=150,
        )
    st.caption("On held-out patients of all hospitals, which the model was never trained on.")


def show_hospitals(metrics: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Show how good a version is at every hospital, beside the model that was in use before it.

    Parameters
    ----------
    metrics
        As training stored them with the version.
    names
        Institution code -> name.
    """
    hospitals: Mapping[str, Mapping[str, Any]] = metrics.get("institutions") or {}
    if not hospitals:
        return
    before: Mapping[str, Any] = metrics.get("champion") or {}
    before_at: Mapping[str, Mapping[str, Any]] = before.get("institutions") or {}
    rows = []
    for code in sorted(hospitals):
        here = hospitals[code]
        row = {
            "Hospital": plain(names.get(code, code.title())),
            "R²": number(here.get("r2")),
            "MAE (USD)": plain(usd(here.get("mae"))),
            "RMSE (USD)": plain(usd(here.get("rmse"))),
            "Held-out patients": count(here.get("num_examples")),
        }
        if before_at:
            row[f"R² of {before.get('version')}"] = number(before_at.get(code, {}).get("r2"))
        rows.append(row)
    with st.container(key="figures_by_hospital"):
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
