"""The list of patients as a table: a row opens its patient, a heading orders the list."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from app.components.browser import browser_zone
from app.components.formats import COST_NOT_KNOWN, day, feature_value, usd
from app.components.patient_view import listed_name, short_label
from app.components.row_table import Column, Row, show_row_table
from app.services.patient_query import PatientSort
from db.site import Patient
from fl.features import FEATURES

_COLUMNS = [
    Column("Name", sort=PatientSort.NAME.value),
    *(
        Column(
            short_label(feature),
            feature.unit,
            figure=feature.kind != "category",
            sort=feature.name if feature.name in set(PatientSort) else None,
        )
        for feature in FEATURES
    ),
    Column("Known cost", "USD a year", figure=True, sort=PatientSort.COST.value),
    Column("Last change", sort=PatientSort.CHANGED.value),
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
    """Show a page of patients; returns the one whom the reader just opened. See `show_row_table`."""
    zone = browser_zone()
    opened = show_row_table(
        _COLUMNS,
        [
            Row(
                id=str(patient.id),
                href=f"patient?patient={patient.id}",
                cells=[
                    listed_name(patient),
                    *(feature_value(feature, getattr(patient, feature.name)) for feature in FEATURES),
                    COST_NOT_KNOWN if patient.insurance_cost is None else usd(patient.insurance_cost),
                    day(patient.updated_at, zone),
                ],
                unknown=[_COST_COLUMN] if patient.insurance_cost is None else [],
            )
            for patient in patients
        ],
        key=key,
        caption="Patients; a name opens the record",
        sort=sort.value,
        descending=descending,
        order_by=lambda chosen: order_by(PatientSort(chosen)),
        page=page,
    )
    return None if opened is None else uuid.UUID(opened)
