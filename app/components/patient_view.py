"""One patient's record as people read it: the name, every value with its unit, and what was changed when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.components.browser import browser_zone
from app.components.formats import (
    COST_NOT_KNOWN,
    PATIENT_ACTION_NAMES,
    feature_heading,
    feature_value,
    plain,
    when,
)
from db.site import Patient, PatientAction, PatientChange
from fl.features import FEATURE_BY_NAME, FEATURES, TARGET_NAME, Feature

COST_LABEL = "Known cost"
_NAMES = {"first_name": "First name", "last_name": "Last name"}


def listed_name(patient: Patient) -> str:
    """Return a patient's name as lists print it: `Lee, Ann`."""
    return f"{patient.last_name}, {patient.first_name}"


def short_label(feature: Feature) -> str:
    """Return a feature's label as short as it can be, without its unit: `BMI`."""
    return feature_heading(feature).removesuffix(f" ({feature.unit})")


def field_label(field: str) -> str:
    """Return what people call a field of the record."""
    if field == TARGET_NAME:
        return COST_LABEL
    return _NAMES[field] if field in _NAMES else short_label(FEATURE_BY_NAME[field])


def field_value(field: str, value: Any) -> str:
    """Write a value of the record, in the column's own type or as its history keeps it, with its unit."""
    if field in _NAMES:
        return str(value)
    if field == TARGET_NAME:
        return COST_NOT_KNOWN if value is None else f"${float(value):,.2f}"
    feature = FEATURE_BY_NAME[field]
    return f"{_exact(feature, value)} {feature.unit}".rstrip()


def show_record(patient: Patient) -> None:
    """Show every value of one patient but the name, which stands above."""
    rows = [
        (feature.label, field_value(feature.name, getattr(patient, feature.name))) for feature in FEATURES
    ]
    rows.append((f"{COST_LABEL} (USD a year)", field_value(TARGET_NAME, patient.insurance_cost)))
    rows.append(("On record since", when(patient.created_at)))
    rows.append(("Last change", when(patient.updated_at)))
    st.table(
        pd.DataFrame([(plain(label), plain(value)) for label, value in rows], columns=["", "Value"]),
        border="horizontal",
        hide_index=True,
        hide_header=True,
    )


def show_changes(changes: Sequence[PatientChange]) -> None:
    """Show who changed what, the newest change first."""
    if not changes:
        st.markdown("Unchanged since it was put on record.")
        return
    zone = browser_zone()
    rows = [
        {
            "When": plain(when(change.occurred_at, zone)),
            "Who": plain(change.worker_name),
            "What": _what(change),
        }
        for change in changes
    ]
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)


def _what(change: PatientChange) -> str:
    action = PATIENT_ACTION_NAMES.get(change.action, change.action)
    order = [*_NAMES, *(feature.name for feature in FEATURES), TARGET_NAME]
    fields = sorted(change.changes, key=lambda field: order.index(field) if field in order else len(order))
    parts = []
    for field in fields:
        before, after = change.changes[field]
        # A cost that a second import brought is a change too.
        parts.append(
            f"{plain(field_label(field))}: {plain(field_value(field, before))}\N{NO-BREAK SPACE}→ "
            f"**{plain(field_value(field, after))}**"
        )
    if not parts:
        return action
    listed = "; ".join(parts)
    return listed if change.action == PatientAction.EDITED else f"{action}; {listed}"


def _exact(feature: Feature, value: Any) -> str:
    """Write a number with the digits it has: 27.54 must not look like 27.5 when one was changed to the other."""
    if feature.kind != "number" or value is None:
        return feature_value(feature, value)
    written = f"{float(value):.3f}".rstrip("0")
    return written + "0" if written.endswith(".") else written
