"""What a Run found out besides its Rounds, read from `training_runs.results` into what pages show.

A value that is missing or is no finite number is None: a page says that it is not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["gain", "unclear", "loss"]


@dataclass(frozen=True)
class Figures:
    """How good a model is on some held-out patients; MAE and RMSE in USD, loss of the standardised cost."""

    r2: float | None
    rmse: float | None
    mae: float | None
    loss: float | None
    num_examples: int | None


@dataclass(frozen=True)
class Baseline:
    """The least squares baseline on all held-out patients and at each institution.

    `coefficients` are by the name of their term, in USD a year for one unit of it.
    """

    overall: Figures
    institutions: dict[str, Figures]
    coefficients: list[tuple[str, float]]


@dataclass(frozen=True)
class Gain:
    """What taking part brought one hospital, on its own held-out patients.

    Attributes
    ----------
    gain, low, high
        RMSE of the model trained on its patients alone minus that of the common model, USD a year: positive means
        that taking part pays; `low` and `high` enclose it with 90 % confidence.
    """

    r2_federated: float | None
    r2_local: float | None
    gain: float | None
    low: float | None
    high: float | None
    num_examples: int | None

    @property
    def verdict(self) -> Verdict:
        """Say whether the hospital gains, where chance alone explains the difference poorly."""
        if self.low is not None and self.low > 0:
            return "gain"
        return "loss" if self.high is not None and self.high < 0 else "unclear"


@dataclass(frozen=True)
class Evaluation:
    """A version beside the version in use, on the same held-out patients of every institution."""

    version: str
    champion: str | None
    overall: Figures
    champion_overall: Figures
    institutions: dict[str, tuple[Figures, Figures]]
    decision: str
    promotes: bool


def baseline_of(results: Mapping[str, Any]) -> Baseline | None:
    """Return the least squares baseline, or None if the Run has none (yet)."""
    found = results.get("baseline")
    if not isinstance(found, Mapping):
        return None
    coefficients = _mapping(found.get("coefficients"))
    pairs = zip(coefficients.get("names") or (), coefficients.get("values") or (), strict=False)
    return Baseline(
        _figures(found),
        {code: _figures(values) for code, values in sorted(_mapping(found.get("institutions")).items())},
        [(str(name), number) for name, value in pairs if (number := _number(value)) is not None],
    )


def gains_of(results: Mapping[str, Any]) -> dict[str, Gain]:
    """Return by institution code what taking part brought; empty if the Run did not compare."""
    return {
        code: Gain(
            _number(values.get("r2_federated")),
            _number(values.get("r2_local")),
            _number(values.get("gain_rmse_usd")),
            _number(values.get("gain_low_usd")),
            _number(values.get("gain_high_usd")),
            _count(values.get("num_examples")),
        )
        for code, values in sorted(_mapping(results.get("local_only")).items())
        if isinstance(values, Mapping)
    }


def evaluation_of(results: Mapping[str, Any]) -> Evaluation | None:
    """Return how a version did beside the version in use, or None if the Run did not evaluate one."""
    found = results.get("evaluation")
    if not isinstance(found, Mapping):
        return None
    overall = _mapping(found.get("overall"))
    champion = found.get("champion")
    return Evaluation(
        version=str(found.get("version") or ""),
        champion=str(champion) if champion else None,
        overall=_figures(overall.get("version")),
        champion_overall=_figures(overall.get("champion")),
        institutions={
            code: (_figures(_mapping(both).get("version")), _figures(_mapping(both).get("champion")))
            for code, both in sorted(_mapping(found.get("institutions")).items())
        },
        decision=str(found.get("decision") or ""),
        promotes=found.get("promotes") is True,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _figures(value: Any) -> Figures:
    found = _mapping(value)
    return Figures(
        r2=_number(found.get("r2")),
        rmse=_number(found.get("rmse")),
        mae=_number(found.get("mae")),
        loss=_number(found.get("loss")),
        num_examples=_count(found.get("num_examples")),
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
