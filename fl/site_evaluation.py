"""What a Site answers of one model in the last evaluation: sums, groups and residual histograms, made and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation import HoldoutSums, holdout_sums, refuse_few, told
from fl.groups import GroupSums, group_sums, groups_from_array, groups_to_array
from fl.messages import array_of
from fl.residuals import NUM_BINS, Histograms, check_histograms, residual_histograms


@dataclass(frozen=True)
class SiteEvaluation:
    """How good one model is on a Site's held-out rows; what would speak of fewer than ten of them is withheld."""

    sums: HoldoutSums
    groups: GroupSums
    residuals: Histograms


def evaluate_rows(
    inputs: NDArray[np.float64],
    predicted: NDArray[np.float64],
    actual: NDArray[np.float64],
    target_scale: float,
) -> SiteEvaluation:
    """Evaluate one model on rows with encoded, unscaled inputs, shape (n, 13), and costs in USD, shape (n,)."""
    return SiteEvaluation(
        sums=told(holdout_sums(predicted, actual)),
        groups=group_sums(inputs, predicted, actual),
        residuals=residual_histograms(inputs, predicted, actual, target_scale),
    )


def answer_fields(evaluations: Sequence[SiteEvaluation]) -> dict[str, Any]:
    """Return the fields of an answer that evaluates several models."""
    return {
        "holdouts": [number for one in evaluations for number in one.sums.to_list()],
        "groups": np.array([groups_to_array(one.groups) for one in evaluations]),
        "residuals": np.array([one.residuals for one in evaluations], dtype=np.uint32),
    }


def read_evaluations(body: Mapping[str, Any], models: int) -> list[SiteEvaluation]:
    """Read what `answer_fields` wrote for so many models.

    Raises
    ------
    KeyError, ValueError
        If something is missing or cannot be; the message says what.
    """
    numbers = list(body["holdouts"])
    size = len(fields(HoldoutSums))
    if len(numbers) != models * size:
        raise ValueError("it does not evaluate every model")
    groups = _by_model(body["groups"], "<f8", models, size)
    residuals = _by_model(body["residuals"], "<u4", models, NUM_BINS)
    evaluations = []
    for index in range(models):
        sums = refuse_few(HoldoutSums.from_list(numbers[index * size : (index + 1) * size]))
        evaluations.append(
            SiteEvaluation(
                sums, groups_from_array(groups[index], sums), check_histograms(residuals[index], sums)
            )
        )
    return evaluations


def _by_model(value: object, dtype: str, models: int, columns: int) -> NDArray[Any]:
    array = array_of(value, dtype)
    if array.size % (models * columns):
        raise ValueError("it does not evaluate every model by group")
    return array.reshape(models, -1, columns)
