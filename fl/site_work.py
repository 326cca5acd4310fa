"""What a Site does for a Run on its own rows: statistics, a Round, the last evaluation."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.baseline import line_of, products_field
from fl.evaluation import holdout_sums, told
from fl.features import Preprocessing
from fl.least_squares import TOO_FEW_TO_SUM, products_told
from fl.local_only import local_field
from fl.messages import array_of
from fl.model import Weights, forward, unflatten
from fl.settings import RunSettings
from fl.site_data import SiteData, load_site_data
from fl.site_database import own_database_url
from fl.site_evaluation import answer_fields, evaluate_rows
from fl.statistics import moments_of

# A Site's own floor: no setting of a Run can make it speak of fewer patients than this.
FEWEST_ROWS = 10


class SatOut(Exception):
    """The Site cannot take part; the message is the reason, without any figure of a patient."""


def _site_data(settings: RunSettings) -> SiteData:
    data = load_site_data(own_database_url(), settings.split_salt, settings.train_share)
    rows = len(data.train_cost) + len(data.holdout_cost)
    needed = max(settings.min_rows, FEWEST_ROWS)
    if rows < needed or len(data.train_cost) == 0:
        raise SatOut(f"Fewer than {needed} patients with a known cost.")
    return data


def _predicted(weights: Weights, preprocessing: Preprocessing, data: SiteData) -> NDArray[np.float64]:
    scaled = preprocessing.scale_inputs(data.holdout_inputs)
    return np.maximum(preprocessing.cost_of(forward(unflatten(weights), scaled)), 0.0)


def statistics(body: dict[str, Any], institution: str) -> dict[str, Any]:
    data = _site_data(RunSettings.from_json(json.loads(body["settings"])))
    moments = moments_of(data.train_inputs, data.train_cost)
    products = products_told(data.train_inputs, data.train_cost)
    if products is None and body.get("only_products"):
        raise SatOut(TOO_FEW_TO_SUM)
    return {
        "num_examples": moments.count,
        "moments": moments.to_array(),
        "products": products_field(products),
    }


def train_round(body: dict[str, Any], institution: str) -> dict[str, Any]:
    """Do what `tasks` says: evaluate the received model on the held-out rows, train it on the others, or both."""
    preprocessing = Preprocessing.from_json(json.loads(body["preprocessing"]))
    received = array_of(body["weights"], "<f4")
    data = _site_data(RunSettings.from_json(json.loads(body["settings"])))
    tasks = str(body.get("tasks", "train,evaluate")).split(",")
    answered: dict[str, Any] = {}
    if "train" in tasks:
        answered |= _trained_fields(body, institution, received, preprocessing, data)
    if "evaluate" in tasks:
        sums = told(holdout_sums(_predicted(received, preprocessing, data), data.holdout_cost))
        answered |= {"holdout": sums.to_list(), **_baseline_field(body, data)}
    return answered


def _trained_fields(
    body: dict[str, Any], institution: str, received: Weights, preprocessing: Preprocessing, data: SiteData
) -> dict[str, Any]:
    from fl.training import train  # imports TensorFlow, which only training needs

    trained = train(
        received,
        preprocessing.scale_inputs(data.train_inputs),
        preprocessing.scale_target(data.train_cost),
        settings=RunSettings.from_json(json.loads(body["settings"])),
        seed=local_seed(body["seed"], body["round_number"], institution),
        strategy=str(body.get("strategy", "fedavg")),
        correction=array_of(body["correction"], "<f4") if "correction" in body else None,
    )
    change = trained.weights.astype(np.float64) - received if trained.steps else trained.weights
    return {
        "num_examples": len(data.train_cost),
        "weights": trained.weights,
        "loss": trained.loss,
        "steps": trained.steps,
        "update_norm": float(np.linalg.norm(change)),
    }


def evaluate_models(body: dict[str, Any], institution: str) -> dict[str, Any]:
    settings = RunSettings.from_json(json.loads(body["settings"]))
    data = _site_data(settings)
    baseline = _baseline_field(body, data)
    if "weights" not in body:
        return baseline
    evaluations, costs = [], []
    for stored, of_model in zip(body["weights"], body["preprocessing"], strict=True):
        preprocessing = Preprocessing.from_json(json.loads(of_model))
        predicted = _predicted(array_of(stored, "<f4"), preprocessing, data)
        costs.append(predicted)
        evaluations.append(
            evaluate_rows(data.holdout_inputs, predicted, data.holdout_cost, preprocessing.target_scale)
        )
    alone = local_field(
        body, data, costs, settings, lambda seed, number: local_seed(seed, number, institution)
    )
    return {**answer_fields(evaluations), **baseline, **alone}


def _baseline_field(body: dict[str, Any], data: SiteData) -> dict[str, Any]:
    line = line_of(body)
    if line is None:
        return {}
    return {"baseline": line.holdout_told(data.holdout_inputs, data.holdout_cost).to_list()}


def local_seed(run_seed: int, round_number: int, institution: str) -> int:
    """Return the seed that shuffles one Site's rows in one Round."""
    return zlib.crc32(f"{run_seed}:{round_number}:{institution}".encode())
