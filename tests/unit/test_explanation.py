"""Shapley values: the axioms hold, and they are what the definition says, computed the long way."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from db.cohort import generate
from fl.explanation import invented_background, shapley_values
from fl.features import FEATURE_NAMES, FEATURES, INPUT_NAMES, FeatureValue, Preprocessing, encode
from fl.model import CostModel, flatten, initial_weights, unflatten
from fl.statistics import moments_of, pooled_preprocessing

Values = dict[str, FeatureValue]
PATIENT: Values = {
    "age": 52,
    "sex": "male",
    "bmi": 33.1,
    "children": 4,
    "smoker": "yes",
    "region": "southwest",
}


def people(size: int, seed: int) -> list[Values]:
    cohort = generate(size, seed=seed)
    return [{name: getattr(cohort, name)[number].item() for name in FEATURE_NAMES} for number in range(size)]


def encoded(rows: list[Values]) -> NDArray[np.float64]:
    return encode({name: [row[name] for row in rows] for name in FEATURE_NAMES})


def model_of(seed: int) -> CostModel:
    inputs, cost = encoded(people(300, seed=3)), generate(300, seed=3).insurance_cost
    return CostModel(pooled_preprocessing([moments_of(inputs, cost)]), initial_weights(seed))


def by_definition(model: CostModel, patient: Values, background: list[Values]) -> dict[str, float]:
    """Average what each feature adds over all 720 orders in which the features can be told."""

    def worth(told: frozenset[str]) -> float:
        mixed = [
            {name: (patient if name in told else row)[name] for name in FEATURE_NAMES} for row in background
        ]
        return float(model.unclipped_costs(encoded(mixed)).mean())

    worths = {
        frozenset(told): worth(frozenset(told))
        for size in range(len(FEATURE_NAMES) + 1)
        for told in itertools.combinations(FEATURE_NAMES, size)
    }
    totals = dict.fromkeys(FEATURE_NAMES, 0.0)
    for order in itertools.permutations(FEATURE_NAMES):
        for place, name in enumerate(order):
            totals[name] += worths[frozenset(order[: place + 1])] - worths[frozenset(order[:place])]
    return {name: total / math.factorial(len(FEATURE_NAMES)) for name, total in totals.items()}


def value_of(feature: Any) -> st.SearchStrategy[FeatureValue]:
    if feature.kind == "category":
        return st.sampled_from(feature.values)
    if feature.kind == "integer":
        return st.integers(int(feature.minimum), int(feature.maximum))
    return st.floats(feature.minimum, feature.maximum)


any_patient = st.fixed_dictionaries({feature.name: value_of(feature) for feature in FEATURES})


@settings(max_examples=15)
@given(patient=any_patient, seed=st.integers(0, 20))
def test_they_are_what_the_definition_says(patient: Values, seed: int) -> None:
    model, background = model_of(seed), people(7, seed=seed)
    found = shapley_values(model, patient, background=encoded(background))
    expected = by_definition(model, patient, background)
    assert found.contributions == pytest.approx(expected, abs=0.05)
    assert found.base == pytest.approx(model.unclipped_costs(encoded(background)).mean(), abs=0.01)


@settings(max_examples=50)
@given(patient=any_patient, seed=st.integers(0, 20))
def test_base_and_contributions_add_up_to_the_prediction(patient: Values, seed: int) -> None:
    model = model_of(seed)
    found = shapley_values(model, patient)
    prediction = float(model.unclipped_costs(encoded([patient]))[0])
    assert found.base + sum(found.contributions.values()) == pytest.approx(prediction, abs=0.02, rel=1e-6)


@pytest.mark.parametrize("name", ["age", "region"])
def test_a_feature_that_the_model_ignores_contributes_nothing(name: str) -> None:
    model = model_of(4)
    layers = [layer.copy() for layer in unflatten(model.weights)]
    layers[0][[column.startswith(name) for column in INPUT_NAMES]] = 0.0
    deaf = CostModel(model.preprocessing, flatten(layers))
    found = shapley_values(deaf, PATIENT)
    assert found.contributions[name] == pytest.approx(0.0, abs=0.01)
    assert abs(found.contributions["smoker"]) > 1.0


def test_a_patient_like_everybody_else_has_nothing_to_explain() -> None:
    model = model_of(4)
    found = shapley_values(model, PATIENT, background=encoded([PATIENT] * 3))
    assert set(found.contributions.values()) == {0.0}
    assert found.base == pytest.approx(model.unclipped_costs(encoded([PATIENT]))[0], abs=0.01)


def test_features_that_play_the_same_part_contribute_the_same() -> None:
    layers = [layer.copy() for layer in unflatten(initial_weights(4))]
    layers[0][INPUT_NAMES.index("children")] = layers[0][INPUT_NAMES.index("age")]
    scaler = Preprocessing(
        INPUT_NAMES, (0.0,) * len(INPUT_NAMES), (10.0,) * len(INPUT_NAMES), 13000.0, 12000.0
    )
    model = CostModel(scaler, flatten(layers))
    background = [{**row, "children": row["age"]} for row in people(20, seed=1)]
    patient = {**PATIENT, "age": 30, "children": 30}
    found = shapley_values(model, patient, background=encoded(background)).contributions
    assert found["age"] == pytest.approx(found["children"], abs=0.01)
    assert abs(found["age"]) > 1.0


def test_the_background_is_invented_and_cannot_be_changed() -> None:
    cohort = generate(96, seed=82)
    expected = encode({name: getattr(cohort, name) for name in FEATURE_NAMES})
    np.testing.assert_array_equal(invented_background(), expected)
    with pytest.raises(ValueError, match="read-only"):
        invented_background()[0, 0] = 1.0


def test_an_explanation_takes_a_few_milliseconds_of_processor_time() -> None:
    model, patients = model_of(4), people(60, seed=9)
    shapley_values(model, PATIENT)
    seconds = []
    for patient in patients:
        began = time.thread_time()
        shapley_values(model, patient)
        seconds.append(time.thread_time() - began)
    assert statistics.median(seconds) < 0.005
