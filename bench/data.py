"""The rows that benchmarks use: insurance.csv, split over four Sites by region."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fl.features import FEATURE_NAMES, encode
from fl.site_data import on_training_side

PROJECT_ROOT = Path(__file__).resolve().parent.parent
INSURANCE_CSV = Path(
    os.environ.get("INSURANCE_CSV", PROJECT_ROOT.parent / "shared" / "data" / "insurance.csv")
)


@dataclass(frozen=True)
class Cohort:
    """All rows, with the Site that holds each.

    Attributes
    ----------
    frame
        Columns of the six features and `insurance_cost` in USD.
    inputs
        Encoded, unscaled, shape (n, 13).
    cost
        USD, shape (n,).
    site
        Region code of each row, shape (n,).
    """

    frame: pd.DataFrame
    inputs: NDArray[np.float64]
    cost: NDArray[np.float64]
    site: NDArray[np.str_]

    def training_side(self, split: int) -> NDArray[np.bool_]:
        """Tell for each row whether it trains in this split; the rest is held out."""
        return on_training_side(range(len(self.cost)), f"split-{split}")

    @property
    def sites(self) -> list[str]:
        """The Sites' codes, sorted."""
        return sorted(set(self.site))


def cohort_of(frame: pd.DataFrame) -> Cohort:
    """Encode rows; a cost named `charges`, as in insurance.csv, is accepted."""
    frame = frame.rename(columns={"charges": "insurance_cost"}).reset_index(drop=True)
    return Cohort(
        frame=frame,
        inputs=encode({name: frame[name].to_numpy() for name in FEATURE_NAMES}),
        cost=frame["insurance_cost"].to_numpy(dtype=np.float64),
        site=frame["region"].to_numpy(dtype=str),
    )


def insurance_cohort() -> Cohort:
    """Read insurance.csv, or leave with a sentence that says where it is expected."""
    if not INSURANCE_CSV.exists():
        sys.exit(f"This benchmark reads {INSURANCE_CSV}; name another place by INSURANCE_CSV=path.")
    return cohort_of(pd.read_csv(INSURANCE_CSV))
