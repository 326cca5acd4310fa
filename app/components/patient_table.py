"""The list of patients as a table, on a telephone as cards: a row opens its patient, a heading orders the list."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from app.components.browser import browser_zone
from app.components.formats import COST_NOT_KNOWN, day, feature_value, usd
from app.components.patient_view import listed_name, short_label
from app.services.patient_query import PatientSort
from app.settings import PROJECT_ROOT
from db.site import Patient
from fl.features import FEATURES

_ASSETS = PROJECT_ROOT / "app" / "components" / "assets"
# A table of our own: Streamlit's is drawn on a canvas, where a row is opened by a small box before it, a telephone
# shows two columns, and a click on a heading orders only the page that is shown.
_TABLE = st.components.v2.component(
    "fedcost_patient_table",
    html='<div class="patients"></div>',
    css=(_ASSETS / "patient_table.css").read_text(),
    js=(_ASSETS / "patient_table.js").read_text(),
)
_COLUMNS: list[dict[str, Any]] = [
    {"label": "Name", "unit": "", "figure": False, "sort": PatientSort.NAME.value},
    *(
        {
            "label": short_label(feature),
            "unit": feature.unit,
            "figure": feature.kind != "category",
            "sort": feature.name if feature.name in set(PatientSort) else None,
        }
        for feature in FEATURES
    ),
    {"label": "Known cost", "unit": "USD a year", "figure": True, "sort": PatientSort.COST.value},
    {"label": "Last change", "unit": "", "figure": False, "sort": PatientSort.CHANGED.value},
]
_COST_COLUMN = len(FEATURES) + 1


def show_patient_table(
    patients: Sequence[Patient],
    *,
    key: str,
    page: str,
    sort: PatientSort,
    descending: bool,
    order_by: Callable[[PatientSort], None],
) -> uuid.UUID | None:
    """Show a page of patients.

    Parameters
    ----------
    page
        Which page this is; when another one comes its beginning is brought into view.
    order_by
        Called before the page is drawn anew when the reader chose a heading.

    Returns
    -------
    UUID or None
        The patient whom the reader just opened.
    """

    def ordered() -> None:
        wanted = st.session_state[key].sort
        if wanted in set(PatientSort):
            order_by(PatientSort(wanted))

    zone = browser_zone()
    chosen = _TABLE(
        key=key,
        data={
            "caption": "Patients; a name opens the record",
            "columns": _COLUMNS,
            "sorted": {"key": sort.value, "descending": descending},
            "link": "patient?patient=",
            "page": page,
            "rows": [
                {
                    "id": str(patient.id),
                    "cells": [
                        listed_name(patient),
                        *(feature_value(feature, getattr(patient, feature.name)) for feature in FEATURES),
                        COST_NOT_KNOWN if patient.insurance_cost is None else usd(patient.insurance_cost),
                        day(patient.updated_at, zone),
                    ],
                    "unknown": [_COST_COLUMN] if patient.insurance_cost is None else [],
                }
                for patient in patients
            ],
        },
        on_open_change=lambda: None,
        on_sort_change=ordered,
    )
    shown = {str(patient.id): patient.id for patient in patients}
    return shown.get(str(chosen.open))
