"""One patient: shown in full, or taken in by a form made from the feature table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components.formats import COST_NOT_KNOWN, feature_value, plain, when
from app.components.forms import feature_inputs
from db.site import Patient
from fl.features import FEATURES


@dataclass(frozen=True)
class PatientEntry:
    """What was typed into the form, unchecked; the cost is in USD a year, None if left empty."""

    first_name: str
    last_name: str
    inputs: dict[str, Any]
    insurance_cost: float | None


def show_patient(patient: Patient) -> None:
    """Show every value of one patient but the name, which stands above."""
    rows = []
    for feature in FEATURES:
        unit = f" {feature.unit}" if feature.unit else ""
        rows.append((feature.label, f"{feature_value(feature, getattr(patient, feature.name))}{unit}"))
    cost = patient.insurance_cost
    rows.append(("Known cost, USD a year", COST_NOT_KNOWN if cost is None else f"${cost:,.2f}"))
    rows.append(("On record since", when(patient.created_at)))
    st.table(
        pd.DataFrame([(plain(label), plain(value)) for label, value in rows], columns=["", "Value"]),
        border="horizontal",
        hide_index=True,
        hide_header=True,
    )


def patient_inputs(prefix: str) -> tuple[PatientEntry, dict[str, DeltaGenerator]]:
    """Draw the fields of a new patient inside the current form.

    Returns
    -------
    tuple
        What was entered, and by field name the place under the field for its problem.
    """
    places: dict[str, DeltaGenerator] = {}
    names: dict[str, str] = {}
    for (name, label), column in zip(
        (("first_name", "First name"), ("last_name", "Last name")), st.columns(2), strict=True
    ):
        with column:
            names[name] = st.text_input(label, key=f"{prefix}_{name}", autocomplete="off") or ""
            places[name] = st.empty()
    inputs, feature_places = feature_inputs(prefix)
    cost = st.number_input(
        "Known insurance cost (USD a year)",
        value=None,
        step=100.0,
        format="%.2f",
        key=f"{prefix}_insurance_cost",
        placeholder="Leave empty if it is not known yet",
    )
    places["insurance_cost"] = st.empty()
    return PatientEntry(inputs=inputs, insurance_cost=cost, **names), {**places, **feature_places}
