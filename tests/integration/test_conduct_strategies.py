"""A Run of each kind of strategy by the product's own code on both sides, against the plain loop of the benchmark."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from bench.strategies import ScaledSite, models_by_round
from db.provision import DatabaseUrls
from fl.messages import body_of
from fl.model import weights_from_bytes
from fl.settings import settings_for
from fl.site_data import load_site_data
from fl.statistics import moments_of, pooled_preprocessing
from tests.integration.conducting import (
    QUICK,
    conduct_run,
    load_hospitals,
    request_run,
    results_of,
    rounds_of,
)
from tests.integration.local_grid import LocalGrid, spoil

ROUNDS = 2  # the second is the first that SCAFFOLD corrects


@pytest.fixture
def hospitals(databases: DatabaseUrls) -> DatabaseUrls:
    load_hospitals(databases)
    return databases


def _scaled_sites(urls: DatabaseUrls) -> dict[str, ScaledSite]:
    data = {code: load_site_data(url, "fedcost") for code, url in urls.train_sites.items()}
    preprocessing = pooled_preprocessing(
        moments_of(data[code].train_inputs, data[code].train_cost) for code in sorted(data)
    )
    return {
        code: ScaledSite(
            preprocessing.scale_inputs(one.train_inputs), preprocessing.scale_target(one.train_cost)
        )
        for code, one in data.items()
    }


@pytest.mark.parametrize(
    ("strategy", "chosen"),
    [("fedsgd", {}), ("fedprox", {"proximal_mu": 2.0}), ("scaffold", {})],
)
def test_a_run_gives_the_weights_of_its_strategy(
    hospitals: DatabaseUrls, strategy: str, chosen: dict[str, Any]
) -> None:
    settings = settings_for(strategy, {**QUICK, **chosen})
    run_id = request_run(hospitals, rounds=ROUNDS, strategy=strategy, **settings.to_json())
    grid = LocalGrid(hospitals.train_sites)
    conduct_run(hospitals, run_id, grid)
    expected = itertools.islice(models_by_round(_scaled_sites(hospitals), strategy, settings, seed=5), ROUNDS)
    for row, weights in zip(rounds_of(hospitals, run_id), expected, strict=True):
        np.testing.assert_allclose(weights_from_bytes(row.weights or b""), weights, atol=1e-5)
    trained = [row for (_, phase, _), row in results_of(hospitals, run_id).items() if phase == "train"]
    assert len(trained) == 4 * ROUNDS and {row.outcome for row in trained} == {"ok"}
    asked = [body_of(message) for message in grid.sent if message.metadata.message_type == "train"]
    assert {body["strategy"] for body in asked} == {strategy}
    assert {"correction" in body for body in asked} == {strategy == "scaffold"}


@pytest.mark.parametrize(
    ("strategy", "steps", "words"),
    [("fedsgd", 3, "weights where a gradient was asked for"), ("fedavg", 0, "counts no steps")],
)
def test_a_site_that_does_not_know_the_strategy_is_rejected(
    hospitals: DatabaseUrls, strategy: str, steps: int, words: str
) -> None:
    """Weights averaged as if they were a gradient would ruin the model without a word."""
    run_id = request_run(hospitals, rounds=1, strategy=strategy)
    conduct_run(
        hospitals, run_id, LocalGrid(hospitals.train_sites, {("northwest", "train"): spoil(steps=steps)})
    )
    rejected = results_of(hospitals, run_id)["northwest", "train", 1]
    assert rejected.outcome == "failed" and words in str(rejected.reason)
