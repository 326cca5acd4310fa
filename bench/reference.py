"""A Run in one process, written as plainly as the definition: what the real federation is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.features import Preprocessing
from fl.model import CostModel, Weights, initial_weights
from fl.settings import RunSettings
from fl.site_work import local_seed
from fl.statistics import moments_of, pooled_preprocessing
from fl.training import train


@dataclass(frozen=True)
class SiteRows:
    """One Site's training rows: encoded inputs, shape (n, 13), and costs in USD, shape (n,)."""

    inputs: NDArray[np.float64]
    cost: NDArray[np.float64]


def federated(sites: Mapping[str, SiteRows], *, rounds: int, seed: int, settings: RunSettings) -> CostModel:
    """Federated averaging over the Sites, in the order of their codes (McMahan et al. 2017)."""
    codes = sorted(sites)
    preprocessing = pooled_preprocessing(moments_of(sites[code].inputs, sites[code].cost) for code in codes)
    weights = initial_weights(seed)
    for number in range(1, rounds + 1):
        total = sum(len(sites[code].cost) for code in codes)
        average = np.zeros_like(weights)
        for code in codes:
            trained = _trained(weights, sites[code], preprocessing, settings, local_seed(seed, number, code))
            average += trained * np.float32(len(sites[code].cost) / total)
        weights = average
    return CostModel(preprocessing, weights)


def central(rows: SiteRows, *, rounds: int, seed: int, settings: RunSettings) -> CostModel:
    """The same network trained for as many epochs on all rows in one place."""
    preprocessing = pooled_preprocessing([moments_of(rows.inputs, rows.cost)])
    weights = initial_weights(seed)
    for number in range(1, rounds + 1):
        weights = _trained(weights, rows, preprocessing, settings, local_seed(seed, number, "central"))
    return CostModel(preprocessing, weights)


def _trained(
    weights: Weights, rows: SiteRows, preprocessing: Preprocessing, settings: RunSettings, seed: int
) -> Weights:
    return train(
        weights,
        preprocessing.scale_inputs(rows.inputs),
        preprocessing.scale_target(rows.cost),
        settings=settings,
        seed=seed,
    ).weights
