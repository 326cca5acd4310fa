"""What the feature table accepts, by table and by property; forms, API and import all ask it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.features import FEATURE_BY_NAME, FEATURES, Feature, parse_value, validate

GOOD: dict[str, Any] = {
    "age": 40,
    "sex": "male",
    "bmi": 27.5,
    "children": 2,
    "smoker": "no",
    "region": "northeast",
}


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("age", 0, 0),
        ("age", 120, 120),
        ("age", " 64 ", 64),
        ("age", "40.0", 40),
        ("bmi", 10, 10.0),
        ("bmi", "100", 100.0),
        ("bmi", "2.5e1", 25.0),
        ("children", "0", 0),
        ("sex", "F", "female"),
        ("sex", " Male ", "male"),
        ("smoker", "YES", "yes"),
        ("smoker", "0", "no"),
        ("smoker", False, "no"),
        ("region", "SW", "southwest"),
    ],
)
def test_accepted_values(name: str, raw: object, value: object) -> None:
    assert parse_value(FEATURE_BY_NAME[name], raw) == value


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("age", -1),
        ("age", 121),
        ("age", 40.5),
        ("age", "forty"),
        ("age", True),
        ("age", float("nan")),
        ("age", float("inf")),
        ("age", "1e400"),
        ("bmi", 9.999),
        ("bmi", 100.001),
        ("bmi", "27,5"),
        ("bmi", []),
        ("children", -1),
        ("children", 31),
        ("smoker", "maybe"),
        ("region", "midwest"),
        ("sex", "x" * 1000),
        *[(feature.name, empty) for feature in FEATURES for empty in (None, "", "   ")],
    ],
)
def test_refused_values_have_a_sentence_that_says_what_is_expected(name: str, raw: object) -> None:
    feature = FEATURE_BY_NAME[name]
    with pytest.raises(ValueError, match="expected") as refused:
        parse_value(feature, raw)
    sentence = str(refused.value)
    assert sentence.startswith(feature.label)
    assert feature.expectation in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 250


def test_an_empty_form_names_every_feature() -> None:
    values, problems = validate({})
    assert values == {}
    assert [problem.field for problem in problems] == [feature.name for feature in FEATURES]


def test_one_bad_value_does_not_hide_another() -> None:
    _, problems = validate({**GOOD, "age": 200, "region": "moon"})
    assert [problem.field for problem in problems] == ["age", "region"]


def _valid(feature: Feature) -> st.SearchStrategy[Any]:
    if feature.kind == "category":
        return st.sampled_from(feature.values)
    assert feature.minimum is not None
    assert feature.maximum is not None
    if feature.kind == "integer":
        return st.integers(int(feature.minimum), int(feature.maximum))
    return st.floats(feature.minimum, feature.maximum)


VALID_FORMS = st.fixed_dictionaries({feature.name: _valid(feature) for feature in FEATURES})
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers())
)


@given(VALID_FORMS)
def test_what_is_valid_stays_as_it_is_typed_or_parsed(form: dict[str, Any]) -> None:
    values, problems = validate(form)
    assert (values, problems) == (form, [])
    typed = {name: f" {value} " for name, value in form.items()}
    assert validate(typed) == (form, [])
    assert validate(values) == (values, [])


@given(st.dictionaries(st.sampled_from([*GOOD, "other"]), ANYTHING))
def test_anything_at_all_is_either_valid_or_named(form: dict[str, Any]) -> None:
    values, problems = validate(form)
    assert set(values) | {problem.field for problem in problems} == set(GOOD)
    assert not set(values) & {problem.field for problem in problems}
    for name, value in values.items():
        feature = FEATURE_BY_NAME[name]
        if feature.kind == "category":
            assert value in feature.values
        else:
            assert isinstance(value, int | float)
            assert math.isfinite(value)
            assert feature.minimum is not None
            assert feature.maximum is not None
            assert feature.minimum <= value <= feature.maximum
