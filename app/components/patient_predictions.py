"""The predictions made for one patient, each beside what the patient really cost."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.components.browser import browser_zone
from app.components.formats import COST_NOT_KNOWN, NOT_KNOWN, plain, signed_usd, usd, usd_range, when
from app.services.prediction_history import PredictionOutcome

# Figures stand below each other: from the second to the fifth column.
_STYLE = """<style>
.st-key-patient_predictions :is(th,td):nth-child(n+2):nth-child(-n+5){text-align:right!important}
</style>"""


def show_patient_predictions(outcomes: Sequence[PredictionOutcome]) -> None:
    """Show predictions with their interval, the newest first, and how far off they were once that is known."""
    zone = browser_zone()
    rows = [
        {
            "When": plain(when(outcome.prediction.created_at, zone)),
            "Predicted (USD a year)": plain(usd(outcome.prediction.predicted_cost)),
            "90 % interval": plain(
                usd_range(outcome.prediction.interval_low, outcome.prediction.interval_high)
            ),
            "Actual": plain(COST_NOT_KNOWN if outcome.actual_cost is None else usd(outcome.actual_cost)),
            "Error": plain(_error(outcome)),
            "Model": plain(outcome.prediction.model_version),
            "By": plain(outcome.prediction.worker_name),
        }
        for outcome in outcomes
    ]
    st.html(_STYLE)
    with st.container(key="patient_predictions"):
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    if any(outcome.known_before for outcome in outcomes):
        st.caption(
            "\\* The actual cost was on record before the prediction was made, so this error proves nothing."
        )


def _error(outcome: PredictionOutcome) -> str:
    if outcome.error is None:
        return NOT_KNOWN
    inside = {True: ", inside", False: ", outside", None: ""}[outcome.covered]
    return f"{signed_usd(outcome.error)}{inside}{'*' if outcome.known_before else ''}"
