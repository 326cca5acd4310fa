"""Forms made from the feature table: one field a feature, and each problem beneath its field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components.formats import feature_label, plain
from fl.features import FEATURES, Feature, FieldProblem

_FEW_CATEGORIES = 3


def feature_inputs(prefix: str, *, columns: int = 2) -> tuple[dict[str, Any], dict[str, DeltaGenerator]]:
    """Draw one field a feature inside the current form.

    Every field starts empty: a default would be somebody else's value. Limits are checked by the service, not
    by the widget, which would silently change what was typed.

    Parameters
    ----------
    prefix
        Of the widget keys; `fill_inputs` with the same prefix sets the values.
    columns
        Fields beside each other on a wide screen.

    Returns
    -------
    tuple
        What was entered by feature name (None where nothing was), and by feature name the place under the
        field where `show_problems` writes.
    """
    raw: dict[str, Any] = {}
    places: dict[str, DeltaGenerator] = {}
    for start in range(0, len(FEATURES), columns):
        for feature, column in zip(FEATURES[start : start + columns], st.columns(columns), strict=False):
            with column:
                raw[feature.name] = _feature_input(feature, f"{prefix}_{feature.name}")
                places[feature.name] = st.empty()
    return raw, places


def fill_inputs(prefix: str, values: Mapping[str, Any]) -> None:
    """Set the fields of `feature_inputs` before they are drawn."""
    for feature in FEATURES:
        value = values.get(feature.name)
        if value is not None and feature.kind != "category":
            value = int(value) if feature.kind == "integer" else float(value)
        st.session_state[f"{prefix}_{feature.name}"] = value


def show_problems(
    places: Mapping[str, DeltaGenerator], problems: Iterable[FieldProblem]
) -> list[FieldProblem]:
    """Write each problem beneath its field and return those that belong to no field."""
    elsewhere: list[FieldProblem] = []
    for problem in problems:
        place = places.get(problem.field)
        if place is None:
            elsewhere.append(problem)
        else:
            place.markdown(f":red[:material/error: {plain(problem.message)}]")
    return elsewhere


def _feature_input(feature: Feature, key: str) -> Any:
    label = feature_label(feature)
    explanation = feature.help or None
    if feature.kind == "category":
        names = dict(feature.categories)
        if len(names) <= _FEW_CATEGORIES:
            return st.segmented_control(
                label, list(names), format_func=names.__getitem__, key=key, help=explanation, width="stretch"
            )
        return st.selectbox(
            label,
            list(names),
            index=None,
            format_func=names.__getitem__,
            key=key,
            help=explanation,
            placeholder="Choose one",
        )
    hint = f"{feature.minimum:g} to {feature.maximum:g}"
    if feature.kind == "integer":
        return st.number_input(label, value=None, step=1, key=key, help=explanation, placeholder=hint)
    return st.number_input(
        label, value=None, step=0.1, format="%.1f", key=key, help=explanation, placeholder=hint
    )
