"""The form of a patient's record: checked while one types, each problem beneath its field, nothing sent before Save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components.formats import plain
from app.components.patient_draft import FIELDS, Draft
from app.components.prediction_fields import live_inputs
from app.services.patient_entry import check_entry
from app.services.written_numbers import written_plainly
from fl.features import FEATURE_BY_NAME, FEATURE_NAMES, TARGET_NAME, FieldProblem

COST_FIELD_LABEL = "Known insurance cost (USD a year)"


def show_fields(draft: Draft) -> list[FieldProblem]:
    """Draw the fields of a draft, keep what is typed in it, and write each problem beneath its field.

    Returns
    -------
    list
        Every problem of the entry, also those that are not shown yet because nobody came to the field.
    """
    prefix = draft.prefix
    if f"{prefix}_{FIELDS[0]}" not in st.session_state:
        # The page was left in between, and Streamlit drops the fields of a page that is left.
        for field in FIELDS:
            feature = FEATURE_BY_NAME.get(field)
            empty = None if feature and feature.kind == "category" else ""
            st.session_state[f"{prefix}_{field}"] = draft.values.get(field) or empty
    places: dict[str, DeltaGenerator] = {}
    typed: dict[str, Any] = {}
    labels = (("first_name", "First name"), ("last_name", "Last name"))
    for (name, label), column in zip(labels, st.columns(2), strict=True):
        with column:
            typed[name] = st.text_input(label, key=f"{prefix}_{name}", live=True, autocomplete="off")
            places[name] = st.empty()
    inputs, feature_places = live_inputs(prefix)
    left, _ = st.columns(2)
    with left:
        typed[TARGET_NAME] = st.text_input(
            COST_FIELD_LABEL,
            key=f"{prefix}_{TARGET_NAME}",
            live=True,
            placeholder="Leave empty if it is not known yet",
            autocomplete="off",
        )
        places[TARGET_NAME] = st.empty()
    draft.values = {**typed, **inputs}
    problems = check_entry(*entry_of(draft.values))
    _show_problems({**places, **feature_places}, problems, draft)
    return problems


def entry_of(values: Mapping[str, Any]) -> tuple[str, str, dict[str, Any], str]:
    """Return what was typed as the services take it: first name, last name, inputs, cost."""
    cost = written_plainly(str(values.get(TARGET_NAME) or ""), decimal_comma=False, decimal_point=True)
    return (
        str(values.get("first_name") or ""),
        str(values.get("last_name") or ""),
        {name: values.get(name) for name in FEATURE_NAMES},
        cost,
    )


def _show_problems(
    places: Mapping[str, DeltaGenerator], problems: Sequence[FieldProblem], draft: Draft
) -> None:
    """Nobody is scolded for a field that they have not come to yet; one that was emptied counts as come to."""
    for problem in problems:
        come_to = draft.values.get(problem.field) or draft.before.get(problem.field)
        if draft.all_shown or come_to:
            places[problem.field].markdown(f":small[:red[:material/error: {plain(problem.message)}]]")
