"""Fields that answer while one types: one a feature, as text, with what is wrong beneath each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components.formats import feature_heading, plain
from fl.features import FEATURE_BY_NAME, FEATURES, Feature, FieldProblem

_FEW_CATEGORIES = 3


def live_inputs(prefix: str, *, columns: int = 2) -> tuple[dict[str, Any], dict[str, DeltaGenerator]]:
    """Draw one field a feature; each tells its value after a short pause in typing, without Enter or a button.

    Numbers are text fields, because Streamlit's number field waits for Enter, and would change silently what was
    typed outside its limits. Every field starts empty: a default would be somebody else's value.

    Parameters
    ----------
    prefix
        Of the widget keys; `fill_live_inputs` with the same prefix sets the values.
    columns
        Fields beside each other on a wide screen.

    Returns
    -------
    tuple
        What was entered by feature name (None where nothing was), and by feature name the place under the
        field where `show_live_problems` writes.
    """
    raw: dict[str, Any] = {}
    places: dict[str, DeltaGenerator] = {}
    for start in range(0, len(FEATURES), columns):
        for feature, column in zip(FEATURES[start : start + columns], st.columns(columns), strict=False):
            with column:
                raw[feature.name] = _live_input(feature, f"{prefix}_{feature.name}")
                places[feature.name] = st.empty()
    _ask_for_the_number_pad(prefix)
    return raw, places


def fill_live_inputs(prefix: str, values: Mapping[str, Any]) -> None:
    """Set the fields of `live_inputs` before they are drawn; a feature without a value becomes empty."""
    for feature in FEATURES:
        value = values.get(feature.name)
        if feature.kind != "category":
            value = "" if value is None else f"{float(value):.10g}"
        st.session_state[f"{prefix}_{feature.name}"] = value


def show_live_problems(
    places: Mapping[str, DeltaGenerator], problems: Sequence[FieldProblem], raw: Mapping[str, Any]
) -> list[str]:
    """Write each problem beneath its field and return the headings of the fields that are merely empty.

    Nobody is scolded for a field that they have not come to yet.
    """
    empty: list[str] = []
    for problem in problems:
        if raw.get(problem.field) is None:
            empty.append(feature_heading(FEATURE_BY_NAME[problem.field]))
        else:
            places[problem.field].markdown(f":small[:red[:material/error: {plain(problem.message)}]]")
    return empty


def _live_input(feature: Feature, key: str) -> Any:
    label = feature_heading(feature)
    explanation = _explanation(feature)
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
    typed = st.text_input(
        label,
        key=key,
        live=True,
        help=explanation,
        placeholder=f"{feature.minimum:g} to {feature.maximum:g}",
        autocomplete="off",
    )
    return (typed or "").strip() or None


def _explanation(feature: Feature) -> str | None:
    """Say what a short label leaves out: `Body mass index (BMI). Weight in kilograms …`."""
    in_full = "" if feature_heading(feature).startswith(feature.label) else f"{feature.label}. "
    return f"{in_full}{feature.help}" or None


def _ask_for_the_number_pad(prefix: str) -> None:
    """Let a telephone offer digits for a field of a number, which is a text field to the browser."""
    pads = {"integer": "numeric", "number": "decimal"}
    fields = {
        f".st-key-{prefix}_{feature.name} input": pads[feature.kind]
        for feature in FEATURES
        if feature.kind in pads
    }
    # The fields may be drawn a moment after the script.
    st.html(
        f"<script>const pads = {json.dumps(fields)};"
        "const ask = tries => Object.entries(pads).map(([field, pad]) => {"
        "  const input = document.querySelector(field); input?.setAttribute('inputmode', pad); return input;"
        "}).every(Boolean) || tries && setTimeout(ask, 100, tries - 1); ask(50);</script>",
        unsafe_allow_javascript=True,
    )
