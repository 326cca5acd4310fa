"""What taking part brought a hospital: the same network trained on its own rows alone, on its own held-out rows.

Trained as in the federation: from the same initial weights, with the same settings of local training, one Round's
epochs at a time, and the Round with the lowest held-out loss counts. Only the scaler is the hospital's own, because
alone it has no other.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation import SMALLEST_CELL, HoldoutSums, holdout_sums, refuse_few
from fl.features import Preprocessing
from fl.messages import array_of
from fl.model import Weights, forward, initial_weights, unflatten
from fl.plan import RunPlan
from fl.recorder import RunRecorder
from fl.schedule import learning_rate_in
from fl.settings import RunSettings
from fl.site_data import SiteData
from fl.site_evaluation import SiteEvaluation
from fl.statistics import moments_of, pooled_preprocessing

NAME = "local_only"  # of the fields in messages, and in `training_runs.results`
MOST_SECONDS = 20.0
SHARE_OF_TIME_LIMIT = 0.25  # of the Run's time limit for an answer
MOST_STEPS = 40_000  # optimizer steps: about eight seconds; unlike seconds, the same on every machine
DRAWS, MOST_DRAWN = 400, 5_000
_OUTSIDE = (5.0, 95.0)  # percentiles: 90 % of the draws lie between
_SUMS = slice(2, 7)


@dataclass(frozen=True)
class LocalModel:
    """The best model that a Site made alone.

    Attributes
    ----------
    rounds, best_round
        How many Rounds it trained, fewer than the Run's if these would have taken too long; and the one that counts.
    sums
        Of that Round's model on the Site's held-out rows.
    gains
        For each model of the federation compared with: ends in USD of the 90 % interval of the RMSE alone minus the
        RMSE of that model.
    """

    rounds: int
    best_round: int
    sums: HoldoutSums
    gains: tuple[tuple[float, float], ...]

    def to_array(self) -> NDArray[np.float64]:
        """Return what crosses: the two numbers of Rounds, the five sums, two ends for each model."""
        ends = [end for gain in self.gains for end in gain]
        return np.array([self.rounds, self.best_round, *self.sums.to_list(), *ends], dtype=np.float64)

    @classmethod
    def from_array(cls, array: NDArray[np.float64], models: int) -> LocalModel | None:
        """Read what `to_array` wrote of a comparison with so many models; None if it is empty.

        Raises
        ------
        ValueError
            If it cannot be, or tells of fewer than ten rows.
        """
        if not array.size:
            return None
        if array.size != _SUMS.stop + 2 * models or not np.isfinite(array).all():
            raise ValueError("its training alone is not told as it was asked for")
        rounds, best = (int(number) for number in array[:2])
        if not 1 <= best <= rounds:
            raise ValueError("its training alone counts rounds that cannot be")
        sums = refuse_few(HoldoutSums.from_list([float(number) for number in array[_SUMS]]))
        low, high = array[_SUMS.stop :: 2], array[_SUMS.stop + 1 :: 2]
        if sums.count == 0 or (low > high).any():
            raise ValueError("its training alone is not told as it was asked for")
        gains = tuple((float(one), float(other)) for one, other in zip(low, high, strict=True))
        return cls(rounds, best, sums, gains)


def train_alone(
    data: SiteData,
    predicted: Sequence[NDArray[np.float64]],
    *,
    settings: RunSettings,
    num_rounds: int,
    seed: int,
    seed_of_round: Callable[[int], int],
    seconds: float,
) -> LocalModel | None:
    """Train on a Site's own rows and compare with the federation's models.

    Parameters
    ----------
    predicted
        What each of the federation's models says of the held-out rows: USD, shape (n,).
    seed
        Of the Run: the initial weights are those of the federation.
    seed_of_round
        Round -> the seed that shuffles this Site's rows in it.
    seconds
        No further Round begins after this time.

    Returns
    -------
    LocalModel or None
        None if fewer than ten rows are held out, or one Round would take too long.
    """
    from fl.training import train  # imports TensorFlow, which only training needs

    steps = settings.local_epochs * math.ceil(len(data.train_cost) / settings.batch_size)
    rounds = min(num_rounds, MOST_STEPS // steps)
    if len(data.holdout_cost) < SMALLEST_CELL or rounds < 1:
        return None
    started = time.monotonic()
    own = pooled_preprocessing([moments_of(data.train_inputs, data.train_cost)])
    inputs, target = own.scale_inputs(data.train_inputs), own.scale_target(data.train_cost)
    weights, best, trained = initial_weights(seed), 0, 0
    least, of_best = math.inf, np.zeros(len(data.holdout_cost))
    for number in range(1, rounds + 1):
        rate = learning_rate_in(settings, number, num_rounds)
        weights = train(
            weights,
            inputs,
            target,
            settings=replace(settings, learning_rate=rate),
            seed=seed_of_round(number),
        ).weights
        costs = _costs(weights, own, data.holdout_inputs)
        squared = float(np.sum((costs - data.holdout_cost) ** 2))
        if not math.isfinite(squared):
            break
        trained = number
        if squared < least:
            least, best, of_best = squared, number, costs
        if time.monotonic() - started > seconds:
            break
    if not best:
        return None
    return LocalModel(
        rounds=trained,
        best_round=best,
        sums=holdout_sums(of_best, data.holdout_cost),
        gains=tuple(gain_interval(of_best, costs, data.holdout_cost, seed=seed) for costs in predicted),
    )


def gain_interval(
    alone: NDArray[np.float64], together: NDArray[np.float64], actual: NDArray[np.float64], *, seed: int
) -> tuple[float, float]:
    """Return the ends of the 90 % percentile bootstrap interval of how much lower the RMSE of `together` is.

    Rows are drawn with replacement, the same for both models (Efron and Tibshirani 1993, chapter 13). Of more than
    5,000 rows, small groups put together at random are drawn in their place: they spread as much and take less time.

    Parameters
    ----------
    alone, together, actual
        Costs in USD, shape (n,).
    """
    random = np.random.default_rng(seed)
    errors = np.column_stack([alone - actual, together - actual]) ** 2
    if len(errors) > MOST_DRAWN:
        size = -(-len(errors) // MOST_DRAWN)
        mixed = errors[random.permutation(len(errors))[: len(errors) // size * size]]
        errors = mixed.reshape(-1, size, 2).mean(axis=1)
    gains = np.empty(DRAWS)
    for draw in range(DRAWS):
        of_alone, of_together = np.sqrt(errors[random.integers(0, len(errors), len(errors))].mean(axis=0))
        gains[draw] = of_alone - of_together
    low, high = np.percentile(gains, _OUTSIDE)
    return float(low), float(high)


def _costs(
    weights: Weights, preprocessing: Preprocessing, inputs: NDArray[np.float64]
) -> NDArray[np.float64]:
    scaled = preprocessing.scale_inputs(inputs)
    return np.maximum(preprocessing.cost_of(forward(unflatten(weights), scaled)), 0.0)


def local_field(
    body: Mapping[str, Any],
    data: SiteData,
    predicted: Sequence[NDArray[np.float64]],
    settings: RunSettings,
    seed_of_round: Callable[[int, int], int],
) -> dict[str, Any]:
    """Return, at a Site, the field of the answer; none if the request does not ask for it.

    Parameters
    ----------
    seed_of_round
        Seed of the Run, Round -> the seed that shuffles this Site's rows.
    """
    if NAME not in body:
        return {}
    asked = json.loads(body[NAME])
    seed = int(asked["seed"])
    model = train_alone(
        data,
        predicted[: int(asked["models"])],
        settings=settings,
        num_rounds=int(asked["num_rounds"]),
        seed=seed,
        seed_of_round=lambda number: seed_of_round(seed, number),
        seconds=min(float(asked["seconds"]), MOST_SECONDS),
    )
    return {NAME: np.empty(0) if model is None else model.to_array()}


@dataclass
class LocalComparison:
    """Asks the Sites, with the last evaluation, what they would have reached alone, and records it.

    Attributes
    ----------
    models
        How many of the models under evaluation are compared with: the first ones.
    """

    plan: RunPlan
    models: int
    alone: dict[str, LocalModel] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """Return what goes to every Site; nothing if the Run's settings do not ask for it."""
        settings = self.plan.settings
        if not settings.local_only:
            return {}
        asked = {
            "num_rounds": self.plan.num_rounds,
            "seed": self.plan.seed,
            "models": self.models,
            "seconds": min(MOST_SECONDS, SHARE_OF_TIME_LIMIT * settings.round_time_limit),
        }
        return {NAME: json.dumps(asked)}

    def read(self, body: Mapping[str, Any]) -> LocalModel | None:
        """Read a Site's answer; None if it tells nothing. Raises ValueError if what it tells cannot be."""
        if NAME not in body:
            return None
        return LocalModel.from_array(array_of(body[NAME], "<f8"), self.models)

    def add(self, code: str, body: Mapping[str, Any]) -> None:
        """Keep a Site's answer."""
        if (model := self.read(body)) is not None:
            self.alone[code] = model

    def save(
        self, recorder: RunRecorder, chosen: int, by_site: Mapping[str, SiteEvaluation], target_scale: float
    ) -> None:
        """Record the comparison with the model that the Run chose; nothing if no Site told.

        Parameters
        ----------
        chosen
            Its place among the models under evaluation.
        by_site
            Institution code -> that model on the Site's held-out rows.
        target_scale
            USD.
        """
        result = {}
        for code, model in sorted(self.alone.items()):
            together = by_site[code].sums.metrics(target_scale) if code in by_site else None
            alone = model.sums.metrics(target_scale)
            if together is None or alone is None or together.num_examples != alone.num_examples:
                continue
            low, high = model.gains[chosen]
            result[code] = {
                "r2_federated": together.r2,
                "r2_local": alone.r2,
                "gain_rmse_usd": alone.rmse - together.rmse,
                "gain_low_usd": low,
                "gain_high_usd": high,
                "num_examples": alone.num_examples,
                "rounds": model.rounds,
                "best_round": model.best_round,
            }
        if result:
            recorder.save_result(NAME, result)
