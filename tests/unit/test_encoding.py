"""Encoding loses nothing, treats every row by itself, and is the same for one row as for many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.features import (
    FEATURE_BY_NAME,
    FEATURES,
    INPUT_NAMES,
    OBESE_ABOVE_BMI,
    Feature,
    Preprocessing,
    encode,
)


def _values(feature: Feature) -> st.SearchStrategy[Any]:
    if feature.kind == "category":
        return st.sampled_from(feature.values)
    low, high = feature.minimum, feature.maximum
    assert low is not None and high is not None
    return st.integers(int(low), int(high)) if feature.kind == "integer" else st.floats(low, high)


PATIENTS = st.lists(
    st.fixed_dictionaries({feature.name: _values(feature) for feature in FEATURES}), min_size=1, max_size=20
)


def _encoded(patients: Sequence[dict[str, Any]]) -> np.ndarray:
    return encode({feature.name: [patient[feature.name] for patient in patients] for feature in FEATURES})


@given(PATIENTS)
def test_every_value_can_be_read_back_from_the_inputs(patients: list[dict[str, Any]]) -> None:
    encoded = _encoded(patients)
    assert encoded.shape == (len(patients), len(INPUT_NAMES))
    for row, patient in zip(encoded, patients, strict=True):
        named = dict(zip(INPUT_NAMES, row, strict=True))
        for feature in FEATURES:
            if feature.kind == "category":
                marks = {value: named[f"{feature.name}_{value}"] for value in feature.values}
                assert [value for value, mark in marks.items() if mark == 1.0] == [patient[feature.name]]
                assert sum(marks.values()) == 1.0
            else:
                assert named[feature.name] == patient[feature.name]
        obese = patient["bmi"] > OBESE_ABOVE_BMI
        assert named["obese"] == float(obese)
        assert named["obese_smoker"] == float(obese and patient["smoker"] == "yes")


@given(PATIENTS)
def test_a_row_is_encoded_the_same_alone_and_among_others(patients: list[dict[str, Any]]) -> None:
    alone = np.vstack([_encoded([patient]) for patient in patients])
    np.testing.assert_array_equal(_encoded(patients), alone)


@given(PATIENTS, st.floats(-50_000, 50_000), st.floats(1, 50_000))
def test_scaling_can_be_undone(patients: list[dict[str, Any]], mean: float, scale: float) -> None:
    size = len(INPUT_NAMES)
    preprocessing = Preprocessing(INPUT_NAMES, (0.5,) * size, (2.0,) * size, mean, scale)
    inputs = _encoded(patients)
    scaled = preprocessing.scale_inputs(inputs)
    np.testing.assert_allclose(scaled * 2.0 + 0.5, inputs, rtol=1e-5, atol=1e-5)
    cost = np.linspace(0.0, 60_000.0, len(patients))
    np.testing.assert_allclose(preprocessing.cost_of(preprocessing.scale_target(cost)), cost, atol=0.1)


@pytest.mark.parametrize("bmi", [OBESE_ABOVE_BMI, np.nextafter(OBESE_ABOVE_BMI, 100)])
def test_obese_begins_above_the_limit(bmi: float) -> None:
    patient = {"age": 40, "sex": "male", "bmi": bmi, "children": 0, "smoker": "yes", "region": "northeast"}
    named = dict(zip(INPUT_NAMES, _encoded([patient])[0], strict=True))
    assert named["obese"] == named["obese_smoker"] == float(bmi > OBESE_ABOVE_BMI)
    assert FEATURE_BY_NAME["bmi"].kind == "number"
