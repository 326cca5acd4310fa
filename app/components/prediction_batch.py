"""The predictions of many patients: figures of them all, the first rows as a table, and a file of every one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
import streamlit as st

from app.actor import Actor
from app.components.downloads import show_downloads
from app.components.formats import NOT_KNOWN, count, feature_heading, feature_value, plain, usd
from app.components.navigation import page
from app.components.tables import ROW_HEIGHT
from app.databases import site_session
from app.permissions import Permission
from app.services.access import record_access
from app.services.batch import BatchResult
from fl.features import FEATURES

ROWS_SHOWN = 100
_PREDICTED, _INTERVAL = "Predicted (USD a year)", "Nine in ten (USD a year)"


def show_result(actor: Actor, result: BatchResult) -> None:
    """Show what was predicted and offer it as a file."""
    of_patients = bool(result.patient_ids)
    st.success(
        plain(f"{count(len(result), 'patient')} predicted with model version {result.model_version}."),
        icon=":material/check_circle:",
    )
    if of_patients:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("Each of these predictions was saved to the history.", width="content")
            st.page_link(page("history"), label="Open History", icon=":material/history:")
    _show_figures(result)
    careful = any(result.cautions)
    rows = [_row(result, index, careful=careful) for index in range(min(len(result), ROWS_SHOWN))]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        row_height=ROW_HEIGHT,
        height=min(len(rows) + 1, 13) * ROW_HEIGHT + 3,
        key="batch_result_table",
        column_config={name: st.column_config.Column(alignment="right") for name in _right_aligned()},
        alt="Predicted costs, first rows",
    )
    if len(result) > ROWS_SHOWN:
        st.caption(f"The first {ROWS_SHOWN:,} of {len(result):,} patients. A download has them all.")
    if math.isnan(float(result.low[0])):
        st.caption(plain(f"Model version {result.model_version} came without a measured interval."))
    _offer_file(actor, result)


def _show_figures(result: BatchResult) -> None:
    careful = sum(bool(caution) for caution in result.cautions)
    figures = {
        "Patients": f"{len(result):,}",
        "Average (USD a year)": usd(float(result.cost.mean())),
        "Lowest (USD a year)": usd(float(result.cost.min())),
        "Highest (USD a year)": usd(float(result.cost.max())),
        "With a caution": f"{careful:,}",
    }
    for (label, value), column in zip(figures.items(), st.columns(len(figures)), strict=True):
        column.metric(label, plain(value))


def _offer_file(actor: Actor, result: BatchResult) -> None:
    def rows(presses: Actor) -> Iterator[tuple[object, ...]]:
        if result.patient_ids:
            with site_session(presses) as site:
                record_access(site, presses, "batch_exported", details={"count": len(result)})
        return ((*record, result.model_version) for record in result.records())

    show_downloads(
        actor,
        permission=Permission.PATIENTS_EXPORT if result.patient_ids else Permission.PREDICT_BATCH,
        key="batch_export",
        file_name="predictions",
        headings=[*result.headings(), "Model version"],
        rows=rows,
    )


def _row(result: BatchResult, index: int, *, careful: bool) -> dict[str, Any]:
    low, high = float(result.low[index]), float(result.high[index])
    who = (
        {"Patient": result.patient_names[index]} if result.patient_names else {"Row": int(result.rows[index])}
    )
    return {
        **who,
        _PREDICTED: usd(float(result.cost[index])),
        _INTERVAL: NOT_KNOWN if math.isnan(low) else f"{usd(low)} – {usd(high)}",
        **{
            feature_heading(feature): feature_value(feature, result.columns[feature.name][index])
            for feature in FEATURES
        },
        **({"Caution": result.cautions[index]} if careful else {}),
    }


def _right_aligned() -> list[str]:
    numbers = [feature_heading(feature) for feature in FEATURES if feature.kind != "category"]
    return [_PREDICTED, _INTERVAL, *numbers]
