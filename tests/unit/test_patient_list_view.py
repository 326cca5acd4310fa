"""The address of the list of patients: what is written is read back, and nothing that anybody types breaks it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.components.patient_list_view import (
    CATEGORIES,
    RANGES,
    PatientListView,
    describe_filter,
    filter_address,
    read_view,
)
from app.services.patient_query import PatientFilter, PatientSort
from fl.features import Feature

PARAMETERS = ("q", "sort", "cost", "cursor", "page", "deleted", *(f.name for f in (*CATEGORIES, *RANGES)))


def _ends(feature: Feature) -> st.SearchStrategy[tuple[float | None, float | None]]:
    assert feature.minimum is not None and feature.maximum is not None
    low, high = feature.minimum, feature.maximum
    number = (
        st.integers(int(low), int(high))
        if feature.kind == "integer"
        else st.integers(int(low * 10), int(high * 10)).map(lambda tenths: tenths / 10)
    )
    return st.tuples(st.none() | number, st.none() | number).filter(
        lambda ends: ends[0] is None or ends[1] is None or ends[0] <= ends[1]
    )


@st.composite
def views(draw: st.DrawFn) -> PatientListView:
    values: dict[str, object] = {
        feature.name: draw(st.none() | st.sampled_from(feature.values)) for feature in CATEGORIES
    }
    for feature in RANGES:
        values[f"{feature.name}_from"], values[f"{feature.name}_to"] = draw(_ends(feature))
    words = st.lists(st.text("aåbc'é-& =?%", min_size=1, max_size=8).map(str.strip).filter(bool), max_size=3)
    cursor = draw(st.none() | st.uuids().map(str) | st.uuids().map("before-{}".format))
    return PatientListView(
        filter=PatientFilter(
            search=" ".join(" ".join(draw(words)).split()) or None,
            cost_unknown=draw(st.booleans()),
            **values,  # type: ignore[arg-type]
        ),
        sort=draw(st.sampled_from(PatientSort)),
        descending=draw(st.booleans()),
        cursor=cursor,
        number=draw(st.none() | st.integers(2, 40_000)) if cursor else 1,
        deleted=draw(st.booleans()),
    )


@given(views())
def test_an_address_shows_the_view_that_wrote_it(view: PatientListView) -> None:
    assert read_view(view.address()) == (view, [])


@given(st.dictionaries(st.sampled_from(PARAMETERS), st.text(max_size=150)))
def test_whatever_stands_in_the_address_is_read_or_told_and_never_fails(params: dict[str, str]) -> None:
    view, problems = read_view(params)
    view.filter.check()
    assert all(problem.message.endswith(".") for problem in problems)
    again, none = read_view(view.address())
    assert (again, none) == (view, [])


@given(views())
def test_letting_every_filter_go_leaves_the_search_and_the_order(view: PatientListView) -> None:
    left = view
    for name in view.filters:
        assert describe_filter(name, view.filter)
        left = left.without(name)
    assert left.filters == []
    assert (left.filter.search, left.sort, left.descending) == (
        view.filter.search,
        view.sort,
        view.descending,
    )
    assert view.filters == [] or (left.cursor, left.number) == (None, 1)


@pytest.mark.parametrize(
    ("params", "field", "sentence"),
    [
        ({"age": "abc"}, "age", "Age: “abc” is not a range such as 30-45."),
        ({"age": "-"}, "age", "Age: “-” is not a range such as 30-45."),
        ({"age": "45-30"}, "age", "Age from 45 to 30: the first must not be the larger one."),
        ({"age": "30-300"}, "age", "Age is '300'; expected a whole number from 0 to 120 (years)."),
        (
            {"bmi": "1..2-3"},
            "bmi",
            "Body mass index (BMI) is '1..2'; expected a number from 10 to 100 (kg/m²).",
        ),
        ({"smoker": "perhaps"}, "smoker", "Smoker: “perhaps” is not one of no, yes."),
        ({"sort": "height"}, "sort", "Order: “height” is not one of name, age, cost, changed."),
        ({"cost": "high"}, "cost", "Cost: “high” is not unknown."),
        ({"cursor": "x", "page": "0"}, "page", "Page: “0” is not a page number."),
        ({"q": "x" * 101}, "q", "A search has at most 100 characters."),
    ],
)
def test_a_part_that_cannot_be_understood_is_named_and_left_out(
    params: dict[str, str], field: str, sentence: str
) -> None:
    view, problems = read_view({"region": "northeast", **params})
    assert [(problem.field, problem.message) for problem in problems] == [(field, sentence)]
    assert view.filter == PatientFilter(region="northeast")


def test_one_number_is_a_range_of_its_own_and_an_open_end_stays_open() -> None:
    assert read_view({"age": "40"})[0].filter == PatientFilter(age_from=40, age_to=40)
    assert read_view({"age": "40-"})[0].filter == PatientFilter(age_from=40)
    assert read_view({"bmi": "-24.9"})[0].filter == PatientFilter(bmi_to=24.9)


def test_filters_are_described_in_words() -> None:
    chosen = PatientFilter(smoker="yes", age_from=30, age_to=45, bmi_to=24.9, cost_unknown=True)
    assert [describe_filter(name, chosen) for name in filter_address(chosen)] == [
        "Smoker: Yes",
        "Age: 30 to 45 years",
        "BMI: up to 24.9 kg/m²",
        "Cost unknown",
    ]


def test_every_filter_of_the_service_can_stand_in_an_address() -> None:
    full = PatientFilter(
        search="lee",
        cost_unknown=True,
        **{feature.name: feature.values[0] for feature in CATEGORIES},
        **{f"{feature.name}_from": feature.minimum for feature in RANGES},  # type: ignore[arg-type]
        **{f"{feature.name}_to": feature.maximum for feature in RANGES},  # type: ignore[arg-type]
    )
    assert None not in [getattr(full, known.name) for known in dataclasses.fields(full)]
    assert read_view(filter_address(full)) == (PatientListView(filter=full), [])
