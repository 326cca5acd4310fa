"""How good a model version is for whom: by group of patients, and how wide its intervals are; from stored metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.services.metrics import finite
from fl.features import FEATURE_BY_NAME
from fl.groups import GROUPS
from fl.intervals import SEPARATE_BY, Calibration


@dataclass(frozen=True)
class GroupQuality:
    """How good a version is for one group of patients, on the held-out rows of all institutions that tell of it.

    Attributes
    ----------
    feature, code
        Name of the feature, and the category's value or the band: `55-` is from 55, `30-45` from 30 to below 45.
    feature_label, label
        The same as people read them.
    withheld
        Whether fewer than ten patients are left to speak of; all figures are then None.
    num_examples
        Held-out rows.
    mae, rmse
        USD a year.
    """

    feature: str
    code: str
    feature_label: str
    label: str
    withheld: bool
    num_examples: int | None = None
    r2: float | None = None
    mae: float | None = None
    rmse: float | None = None


@dataclass(frozen=True)
class SmokerInterval:
    """The 90 % interval of one smoker group.

    Attributes
    ----------
    smoker, label
        Value of the feature `smoker`, and the group as people read it.
    low, high
        USD a year to add to a predicted cost; an end below zero is zero. None if too few rows were held out.
    num_examples
        Held-out rows that the two follow from.
    all_patients
        Whether these are rows of all patients, because the group has too few of its own.
    """

    smoker: str
    label: str
    low: float | None = None
    high: float | None = None
    num_examples: int | None = None
    all_patients: bool = False

    @property
    def width(self) -> float | None:
        """USD a year; of an interval that does not end at zero."""
        return None if self.low is None or self.high is None else self.high - self.low


def quality_by_group(metrics: Mapping[str, Any]) -> list[GroupQuality]:
    """Read the groups of a version from its metrics, in the order of the feature table; none of an old version."""
    stored: Mapping[str, Mapping[str, Any]] = metrics.get("groups") or {}
    listed = []
    for group in GROUPS:
        if group.code not in stored.get(group.feature, {}):
            continue
        cell = stored[group.feature][group.code]
        figures = {name: finite(cell[name]) for name in ("r2", "mae", "rmse")} if cell else {}
        listed.append(
            GroupQuality(
                group.feature,
                group.code,
                FEATURE_BY_NAME[group.feature].label,
                group.label,
                withheld=cell is None,
                num_examples=cell["num_examples"] if cell else None,
                **figures,
            )
        )
    return listed


def smoker_intervals(calibration: Calibration | None) -> list[SmokerInterval]:
    """List the intervals of a version by smoker group; none of a version without calibration."""
    if calibration is None:
        return []
    listed = []
    for group in GROUPS:
        if group.feature != SEPARATE_BY:
            continue
        interval = calibration.groups.get(group.code)
        listed.append(
            SmokerInterval(
                group.code,
                group.label,
                interval.low,
                interval.high,
                interval.num_examples,
                interval.all_patients,
            )
            if interval
            else SmokerInterval(group.code, group.label)
        )
    return listed
