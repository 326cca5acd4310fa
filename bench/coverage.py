"""How many costs the 90 % intervals of the federated model hold, on rows that neither trained nor calibrated it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.data import Cohort
from bench.reference import SiteRows, federated
from fl.features import FEATURE_NAMES
from fl.intervals import SEPARATE_BY, calibrate
from fl.residuals import Histograms, check_histograms
from fl.settings import RunSettings
from fl.site_data import on_training_side
from fl.site_evaluation import evaluate_rows

LOWEST, HIGHEST = 0.88, 0.93
LABELS = {
    "coverage": "all patients",
    "coverage_smokers": "smokers",
    "coverage_nonsmokers": "non-smokers",
}


def coverage_of_split(cohort: Cohort, split: int, *, rounds: int, settings: RunSettings) -> dict[str, float]:
    """Train, calibrate and test one split, as a consortium would.

    The split's held-out rows test and do nothing else. The others are divided 80/20 as a Site divides its patients:
    80 % train, 20 % calibrate, through the very histograms that the Sites would send.

    Returns
    -------
    dict
        Share of the test rows within their interval, and the mean width in USD.
    """
    tests = ~cohort.training_side(split)
    trains = ~tests & on_training_side(range(len(cohort.cost)), f"calibration-{split}")
    calibrates = ~tests & ~trains
    at = {code: cohort.site == code for code in cohort.sites}
    model = federated(
        {
            code: SiteRows(cohort.inputs[trains & here], cohort.cost[trains & here])
            for code, here in at.items()
        },
        rounds=rounds,
        seed=split,
        settings=settings,
    )
    columns = {name: cohort.frame[name].to_numpy() for name in FEATURE_NAMES}
    predicted = model.predict(columns)
    scale = model.preprocessing.target_scale

    def sent(rows: NDArray[np.bool_]) -> Histograms:
        evaluation = evaluate_rows(cohort.inputs[rows], predicted[rows], cohort.cost[rows], scale)
        return check_histograms(evaluation.residuals, evaluation.sums)

    calibration = calibrate((sent(calibrates & here) for here in at.values()), scale)
    assert calibration is not None
    smoker = columns[SEPARATE_BY].astype(str)
    low, high = calibration.interval(predicted, smoker)
    within = (cohort.cost >= low) & (cohort.cost <= high)
    return {
        "coverage": float(within[tests].mean()),
        "coverage_smokers": float(within[tests & (smoker == "yes")].mean()),
        "coverage_nonsmokers": float(within[tests & (smoker == "no")].mean()),
        "width_usd": float((high - low)[tests].mean()),
    }


def on_target(coverage: float) -> bool:
    """Tell whether a mean coverage is what a 90 % interval should have."""
    return LOWEST <= coverage <= HIGHEST
