"""The rule that decides whether a new model comes into use."""

from __future__ import annotations

from fl.evaluation import Metrics
from fl.promotion import promotion_decision


def _metrics(rmse: float, r2: float) -> Metrics:
    return Metrics(num_examples=50, loss=0.2, mae=rmse / 2, rmse=rmse, r2=r2)


def test_the_first_model_is_promoted() -> None:
    promote, reason = promotion_decision(_metrics(4500, 0.85), {}, None, None, {}, 0.02)
    assert promote and "First model" in reason


def test_a_model_that_is_not_better_waits() -> None:
    promote, reason = promotion_decision(_metrics(4600, 0.84), {}, "v1", _metrics(4500, 0.85), {}, 0.02)
    assert not promote and "v1" in reason and "4,600 USD against 4,500 USD" in reason


def test_a_better_model_that_harms_one_site_waits() -> None:
    ours = {"northeast": _metrics(4000, 0.90), "southwest": _metrics(5000, 0.77)}
    theirs = {"northeast": _metrics(4500, 0.85), "southwest": _metrics(4800, 0.80)}
    promote, reason = promotion_decision(_metrics(4400, 0.86), ours, "v3", _metrics(4500, 0.85), theirs, 0.02)
    assert not promote and "southwest" in reason and "0.800 to 0.770" in reason


def test_a_better_model_that_harms_nobody_is_promoted() -> None:
    ours = {"northeast": _metrics(4000, 0.90), "southwest": _metrics(4800, 0.79), "northwest": None}
    theirs = {"northeast": _metrics(4500, 0.85), "southwest": _metrics(4800, 0.80)}
    promote, reason = promotion_decision(_metrics(4400, 0.86), ours, "v3", _metrics(4500, 0.85), theirs, 0.02)
    assert promote and "no institution loses" in reason
