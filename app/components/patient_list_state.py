"""The list of patients between address and fields: both show the same view, whichever of them changed last.

The address is the truth: a copied one, or the browser's back button, sets the fields; a changed field sets the address
and so makes an entry in the browser's history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from app.components.patient_list_view import (
    CATEGORIES,
    COST,
    RANGES,
    SEARCH,
    PatientListView,
    range_problem,
    read_view,
)
from app.services.patient_query import PatientSort
from fl.features import FieldProblem

PREFIX = "patients"
ORDER_FIELD, SEARCH_FIELD, COST_FIELD = f"{PREFIX}_order", f"{PREFIX}_search", f"{PREFIX}_cost_unknown"
_ADDRESS = "patients_address"  # the query that the fields agree with
_VIEW = "patients_view"
_PROBLEMS = "patients_address_problems"
_TOTAL = "patients_total"  # how many a filter was last counted to hold
_SAME_LIST = "patients_same_list"  # the reader only turned or ordered it


def current_view() -> tuple[PatientListView, Sequence[FieldProblem]]:
    """Return what to show, after setting the fields if the address was changed from outside; call before drawing them.

    Returns
    -------
    tuple
        The view, and a sentence on each part of the address or field that was left out.
    """
    asked = st.query_params.to_dict()
    if asked != st.session_state.get(_ADDRESS) or SEARCH_FIELD not in st.session_state:
        view, problems = read_view(asked)
        _fill(view)
        st.session_state.update({_ADDRESS: asked, _VIEW: view, _PROBLEMS: problems})
    return st.session_state[_VIEW], st.session_state[_PROBLEMS]


def last_address() -> dict[str, str]:
    """Return the query under which the list was last seen, for the way back to it."""
    seen: dict[str, str] = st.session_state.get(_ADDRESS) or {}
    return dict(seen)


def show_view(view: PatientListView) -> None:
    """Go to another view: set fields and address. Only in a callback, or before the fields are drawn."""
    _fill(view)
    _go(view, [])


def turn_to(cursor: str | None, number: int | None) -> None:
    """Go to another page of the view; `cursor` None is the first."""
    st.session_state[_SAME_LIST] = True
    view: PatientListView = st.session_state[_VIEW]
    if cursor is None:
        _go(view.first_page(), [])
    else:
        changed = view.first_page()
        _go(PatientListView(changed.filter, changed.sort, changed.descending, cursor, number), [])


def order_by(sort: PatientSort) -> None:
    """Order by what the reader chose in the heading; a second time turns the order round."""
    st.session_state[_SAME_LIST] = True
    view: PatientListView = st.session_state[_VIEW]
    newest_first = sort is PatientSort.CHANGED
    descending = not view.descending if sort == view.sort else newest_first
    show_view(view.first_page(sort=sort, descending=descending))


def total_of_list(count: Callable[[], int]) -> int:
    """Return how many patients the view holds; a list that was only turned or ordered is not counted again."""
    listed = st.session_state[_VIEW].filter
    known, total = st.session_state.get(_TOTAL, (None, 0))
    if not st.session_state.pop(_SAME_LIST, False) or known != listed:
        total = count()
        st.session_state[_TOTAL] = (listed, total)
    return int(total)


def field_changed() -> None:
    """Follow the fields: what each search, filter and order field calls when it changes."""
    typed, problems = _typed()
    view, misread = read_view(typed)
    order = st.session_state.get(ORDER_FIELD) or (PatientSort.NAME, False)
    _go(view.first_page(sort=order[0], descending=order[1]), [*problems, *misread])


def range_fields(name: str) -> tuple[str, str]:
    """Return the keys of the two fields of a range."""
    return f"{PREFIX}_{name}_from", f"{PREFIX}_{name}_to"


def _typed() -> tuple[dict[str, str], list[FieldProblem]]:
    """Return the fields in the words of an address, and what is wrong with the ranges, which are then left out."""
    state = st.session_state
    typed = {SEARCH: str(state.get(SEARCH_FIELD) or "")}
    problems: list[FieldProblem] = []
    for feature in CATEGORIES:
        typed[feature.name] = state.get(f"{PREFIX}_{feature.name}") or ""
    for feature in RANGES:
        low, high = (str(state.get(key) or "").strip() for key in range_fields(feature.name))
        problem = range_problem(feature, low, high)
        if problem:
            problems.append(FieldProblem(feature.name, problem))
        elif low or high:
            typed[feature.name] = f"{low}-{high}"
    if state.get(COST_FIELD):
        typed[COST] = "unknown"
    return typed, problems


def _fill(view: PatientListView) -> None:
    fields: dict[str, Any] = {
        SEARCH_FIELD: view.filter.search or "",
        COST_FIELD: view.filter.cost_unknown,
        ORDER_FIELD: (view.sort, view.descending),
    }
    for feature in CATEGORIES:
        fields[f"{PREFIX}_{feature.name}"] = getattr(view.filter, feature.name)
    for feature in RANGES:
        ends = (getattr(view.filter, f"{feature.name}_{end}") for end in ("from", "to"))
        for key, end in zip(range_fields(feature.name), ends, strict=True):
            fields[key] = "" if end is None else f"{end:.10g}"
    st.session_state.update(fields)


def _go(view: PatientListView, problems: list[FieldProblem]) -> None:
    said = view.address()
    st.session_state.update({_ADDRESS: said, _VIEW: view, _PROBLEMS: problems})
    if st.query_params.to_dict() != said:
        st.query_params.from_dict(said)
