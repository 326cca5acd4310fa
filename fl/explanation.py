"""Exact Shapley values of one prediction over the features, against an invented background."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from db.cohort import generate
from fl.features import FEATURE_NAMES, FEATURES, FeatureValue, derived_inputs, encode
from fl.model import CostModel

# Chosen by measurement, see "Explanations" in docs/decisions.md.
BACKGROUND_ROWS = 96
BACKGROUND_SEED = 82

# For each of the features' own input columns, the place of its feature in `FEATURES`.
_FEATURE_OF_COLUMN = np.repeat(range(len(FEATURES)), [len(feature.values) or 1 for feature in FEATURES])


@dataclass(frozen=True)
class ShapleyValues:
    """How the features move one prediction away from that of the background.

    Attributes
    ----------
    base
        USD a year: the mean prediction of the background, before clipping at zero.
    contributions
        Feature name -> USD a year; `base` and all contributions add up to the prediction before clipping.
    """

    base: float
    contributions: dict[str, float]


@lru_cache(maxsize=1)
def invented_background() -> NDArray[np.float64]:
    """Return the encoded inputs of the invented people that predictions are compared with, shape (96, 13)."""
    cohort = generate(BACKGROUND_ROWS, seed=BACKGROUND_SEED)
    encoded = encode({name: getattr(cohort, name) for name in FEATURE_NAMES})
    encoded.flags.writeable = False
    return encoded


def shapley_values(
    model: CostModel,
    values: Mapping[str, FeatureValue],
    *,
    background: NDArray[np.float64] | None = None,
) -> ShapleyValues:
    """Explain a prediction by the Shapley values of its features.

    The value of a coalition of features is the mean prediction of the background with those features
    replaced by the patient's (Shapley 1953; interventional, as in Lundberg and Lee 2017). Where a background
    row already equals the patient in a feature, coalitions with and without it are the same prediction; that
    leaves about 21 of 64 predictions a row, and nothing is approximated.

    Parameters
    ----------
    values
        Valid values of all features.
    background
        Encoded, unscaled inputs, shape (m, 13); `invented_background` if not given.
    """
    rows = invented_background() if background is None else background
    patient = encode({name: [value] for name, value in values.items()})[0]
    own = len(_FEATURE_OF_COLUMN)
    differs = np.zeros((len(rows), len(FEATURES)), dtype=bool)
    for column, feature in enumerate(_FEATURE_OF_COLUMN):
        differs[:, feature] |= rows[:, column] != patient[column]

    sets = _coalitions(len(FEATURES))
    kind = differs @ (1 << np.arange(len(FEATURES)))  # of each row: the set of features in which it differs
    counts = sets.count[kind]
    ends = counts.cumsum()
    row = np.repeat(np.arange(len(rows)), counts)
    coalition = np.arange(ends[-1]) + np.repeat(sets.first[kind] - (ends - counts), counts)

    inputs = np.empty((len(row), rows.shape[1]))
    from_patient = sets.members[coalition][:, _FEATURE_OF_COLUMN]
    inputs[:, :own] = np.where(from_patient, patient[:own], rows[row, :own])
    inputs[:, own:] = derived_inputs(inputs[:, :own])
    costs = model.unclipped_costs(inputs)

    contributions = costs @ sets.weights[coalition] / len(rows)
    nobody = ~sets.members[coalition].any(axis=1)
    return ShapleyValues(
        base=float(costs[nobody].mean()),
        contributions=dict(zip(FEATURE_NAMES, contributions.tolist(), strict=True)),
    )


@dataclass(frozen=True)
class _Coalitions:
    """Every set of features with every subset of it: 3^n pairs, those of one set side by side.

    Attributes
    ----------
    first, count
        Set, as a number whose bits are its features -> its first pair and how many there are. Shape (2^n,).
    members
        Pair -> which features are in the subset. Shape (3^n, n).
    weights
        Pair -> what a prediction of the subset adds to each feature's Shapley value, if the set is all the
        features that matter. Shape (3^n, n).
    """

    first: NDArray[np.int64]
    count: NDArray[np.int64]
    members: NDArray[np.bool_]
    weights: NDArray[np.float64]


@lru_cache(maxsize=1)
def _coalitions(features: int) -> _Coalitions:
    members: list[list[bool]] = []
    weights: list[list[float]] = []
    count: list[int] = []
    for whole in range(2**features):
        subsets = [subset for subset in range(whole + 1) if subset & whole == subset]
        count.append(len(subsets))
        for subset in subsets:
            members.append([bool(subset >> feature & 1) for feature in range(features)])
            weights.append([_weight(whole, subset, feature) for feature in range(features)])
    counts = np.array(count, dtype=np.int64)
    return _Coalitions(counts.cumsum() - counts, counts, np.array(members), np.array(weights))


def _weight(whole: int, subset: int, feature: int) -> float:
    if not whole >> feature & 1:
        return 0.0
    size, inside = whole.bit_count(), subset.bit_count()
    if subset >> feature & 1:
        return math.factorial(inside - 1) * math.factorial(size - inside) / math.factorial(size)
    return -math.factorial(inside) * math.factorial(size - inside - 1) / math.factorial(size)
