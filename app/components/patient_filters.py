"""Search, order and filters above the list of patients, made from the feature table; what is active can be let go."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.components.formats import feature_heading, plain
from app.components.patient_list_state import (
    COST_FIELD,
    ORDER_FIELD,
    PREFIX,
    SEARCH_FIELD,
    field_changed,
    range_fields,
    show_view,
)
from app.components.patient_list_view import CATEGORIES, RANGES, PatientListView, describe_filter
from app.services.patient_query import PatientFilter, PatientSort
from fl.features import Feature, FieldProblem

ORDERS: dict[tuple[PatientSort, bool], str] = {
    (PatientSort.NAME, False): "Name, A to Z",
    (PatientSort.NAME, True): "Name, Z to A",
    (PatientSort.AGE, False): "Age, youngest first",
    (PatientSort.AGE, True): "Age, oldest first",
    (PatientSort.COST, False): "Cost, lowest first",
    (PatientSort.COST, True): "Cost, highest first",
    (PatientSort.CHANGED, True): "Last change, newest first",
    (PatientSort.CHANGED, False): "Last change, oldest first",
}
_FEW_CATEGORIES = 3


def show_filters(view: PatientListView, problems: Sequence[FieldProblem], *, with_order: bool = True) -> None:
    """Draw the fields of a view, which `current_view` has set, and what of the address or of them was left out.

    Parameters
    ----------
    with_order
        Whether the patients are listed, and so have an order.
    """
    st.text_input(
        "Search by name",
        key=SEARCH_FIELD,
        type="search",
        live=True,
        icon=":material/search:",
        placeholder="First or last name, or a part of it",
        width=330,
        on_change=field_changed,
    )
    if with_order:
        st.selectbox(
            "Order",
            list(ORDERS),
            key=ORDER_FIELD,
            format_func=ORDERS.__getitem__,
            width=230,
            on_change=field_changed,
        )
    active = len(view.filters)
    with st.popover(
        f"Filters: {active}" if active else "Filters", icon=":material/filter_list:", key=f"{PREFIX}_filters"
    ):
        for feature in CATEGORIES:
            _show_category(feature)
        for feature in RANGES:
            _show_range(feature, [problem for problem in problems if problem.field == feature.name])
        st.toggle("Only patients whose cost is not known", key=COST_FIELD, on_change=field_changed)


def show_active(view: PatientListView, problems: Sequence[FieldProblem]) -> None:
    """Say which filters are active, each with a way to let it go, and what was left out."""
    if problems:
        sentences = " ".join(plain(problem.message) for problem in problems)
        st.warning(f"Left out of this view. {sentences}", icon=":material/filter_alt_off:")
    active = view.filters
    if not active:
        return  # the search has a way to clear it in its own field
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"{PREFIX}_active"):
        st.markdown(f"Filters active: **{len(active)}**", width="content")
        for name in active:
            st.button(
                plain(describe_filter(name, view.filter)),
                key=f"{PREFIX}_without_{name}",
                icon=":material/close:",
                icon_position="right",
                help="Let this filter go",
                on_click=show_view,
                args=(view.without(name),),
            )
        st.button(
            "Clear all",
            key=f"{PREFIX}_clear",
            type="tertiary",
            on_click=show_view,
            args=(view.first_page(filter=PatientFilter()),),
        )


def _show_category(feature: Feature) -> None:
    names = dict(feature.categories)
    key = f"{PREFIX}_{feature.name}"
    if len(names) <= _FEW_CATEGORIES:
        st.segmented_control(
            feature.label,
            list(names),
            format_func=names.__getitem__,
            key=key,
            on_change=field_changed,
            width="stretch",
        )
    else:
        st.selectbox(
            feature.label,
            list(names),
            index=None,
            format_func=names.__getitem__,
            key=key,
            placeholder="Any",
            on_change=field_changed,
        )


def _show_range(feature: Feature, problems: Sequence[FieldProblem]) -> None:
    keys = range_fields(feature.name)
    limits = (f"from {feature.minimum:g}", f"to {feature.maximum:g}")
    columns = st.columns(2, vertical_alignment="bottom")
    for column, key, end, limit in zip(columns, keys, ("from", "to"), limits, strict=True):
        column.text_input(
            f"{feature_heading(feature)}, {end}",
            key=key,
            live="500ms",
            placeholder=limit,
            autocomplete="off",
            on_change=field_changed,
        )
    for problem in problems:
        st.markdown(f":red[:material/error: {plain(problem.message)}]")
