"""The parts of a model card: who trained the version, how good it is by hospital and by group, how sure it is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.components.formats import NOT_KNOWN, count, number, plain, signed_usd, usd
from app.services.model_card import InstitutionPart, ModelCard
from app.services.model_quality import GroupQuality, SmokerInterval
from fl.features import FEATURES

WHAT_IT_IS = (
    "A small neural network that estimates what a person's health insurance costs in one year, in US dollars, "
    "from {count} facts: {facts}. Several hospitals trained it together by federated learning: each trained on its own "
    "patients, and only weights, counts, sums, histograms and metrics left a hospital."
)
MUST_NOT = (
    "to decide whether, when or how a person is treated",
    "to set a premium, or to grant or refuse insurance",
    "to compare people by sex or region",
)
GENERATED = (
    "This is a demonstration. The patients are generated, not real, and the figures say nothing about real people: "
    "on real survey data these facts explain only a small part of the cost."
)
WITHHELD = "withheld (fewer than 10 patients)"
NOT_TOLD = "not told"


def show_what_it_is() -> None:
    """Say what the model is, whichever version it is."""
    facts = ", ".join(_first_lower(feature.label) for feature in FEATURES)
    st.markdown(WHAT_IT_IS.format(count=len(FEATURES), facts=plain(facts)))


def show_must_not() -> None:
    """Say what the model must not be used for, and of whom it has seen hardly any."""
    unusual = "; ".join(
        f"{_first_lower(feature.label)} outside {feature.usual[0]:g}–{feature.usual[1]:g} {feature.unit}".strip()
        for feature in FEATURES
        if feature.usual
    )
    uses = [*MUST_NOT, f"for people of whom the model has seen hardly any: {unusual}"]
    st.markdown("\n".join(f"- {plain(use)}" for use in uses))


def show_institutions(card: ModelCard) -> None:
    """Show which hospitals trained the version on how many rows, and how good it is on their held-out patients."""
    rows = []
    for part in card.institutions:
        row = {
            "Hospital": plain(part.name),
            "Rows trained on": _rows_trained(card, part),
            "Held-out patients": count(part.rows_held_out) if part.rows_held_out is not None else NOT_TOLD,
            **_errors(part.mae, part.rmse, part.r2),
        }
        if card.before:
            row[f"R² of {plain(card.before)}"] = number(part.r2_before)
        rows.append(row)
    _table("institutions", rows, "Rows and errors by hospital")
    if any(part.rows_held_out is None for part in card.institutions):
        st.caption(f"{NOT_TOLD}: a hospital with fewer than 10 held-out patients says nothing of them.")


def show_groups(groups: Sequence[GroupQuality]) -> None:
    """Show how good the version is for each group of patients, one table a feature."""
    if not groups:
        st.markdown(
            "Not known: this version was trained before metrics were told apart by group. The next will have them."
        )
        return
    st.caption(
        "On the held-out patients of all hospitals. A hospital never tells of a group with fewer than 10 of them, nor "
        "of one by which such a group could be computed, so the patients of the groups may add up to fewer than all. "
        "Where costs hardly differ within a group, R² is low even if errors are small; compare the MAE."
    )
    for feature, cells in itertools.groupby(groups, key=lambda group: group.feature):
        listed = list(cells)
        heading = listed[0].feature_label
        rows = [
            {
                plain(heading): plain(_first_upper(cell.label.removeprefix(f"{heading}: "))),
                "Held-out patients": WITHHELD if cell.withheld else count(cell.num_examples),
                **_errors(cell.mae, cell.rmse, cell.r2),
            }
            for cell in listed
        ]
        _table(f"groups_{feature}", rows, f"Errors by {heading.lower()}")


def show_intervals(intervals: Sequence[SmokerInterval]) -> None:
    """Show how wide the 90 % intervals are and say what they promise."""
    if not intervals:
        st.markdown(
            "Not known: this version has no intervals, because it was trained before there were any or too few "
            "patients were held out. Its predictions are single figures."
        )
        return
    st.markdown(
        "Every prediction comes with a 90 % interval. Of ten patients like those the model was tested on, the cost of "
        "about nine lies within theirs. Of the tenth it says nothing: that cost may be far higher. An interval is for "
        "a group of patients, not for one person; nobody's interval is narrower for being an ordinary case."
    )
    rows = [
        {
            "Patients": plain(interval.label),
            "From (USD)": plain(signed_usd(interval.low)),
            "To (USD)": plain(signed_usd(interval.high)),
            "Width (USD)": plain(usd(interval.width)),
            "Follows from held-out patients": count(interval.num_examples),
        }
        for interval in intervals
    ]
    _table("intervals", rows, "90 % intervals around the predicted cost")
    skewed = all(
        interval.low is not None and interval.high is not None and interval.high > -interval.low
        for interval in intervals
    )
    st.caption(
        "USD a year, to be added to the predicted cost; no cost is below zero."
        + (
            " The upper end is further away because some patients cost far more than anybody would expect, "
            "and none far less."
            if skewed
            else ""
        )
    )
    for interval in intervals:
        if interval.all_patients:
            st.caption(
                f"{plain(interval.label)}: too few of these patients could be told of, so this is the interval of all "
                "patients together. It may hold fewer than nine of ten."
            )


def _rows_trained(card: ModelCard, part: InstitutionPart) -> str:
    if part.rows_trained is not None:
        return count(part.rows_trained)
    return "took no part" if card.run_id is not None else NOT_KNOWN


def _errors(mae: float | None, rmse: float | None, r2: float | None) -> dict[str, str]:
    return {"MAE (USD)": plain(usd(mae)), "RMSE (USD)": plain(usd(rmse)), "R²": number(r2)}


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(name: str, rows: list[dict[str, Any]], alt: str) -> None:
    if rows:
        with st.container(key=f"figures_{name}"):
            st.table(pd.DataFrame(rows), border="horizontal", hide_index=True, alt=alt)
