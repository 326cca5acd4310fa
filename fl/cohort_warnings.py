"""What in the summary of a Site's patients may spoil a training: other units or years, gaps, patients of one kind."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from fl.cohort_summary import CELLS, MEASURES, SEPARATE_BY, CohortSummary, MeasureSummary
from fl.features import FEATURE_BY_NAME, TARGET_NAME

# Costs so many times those of the others are in another currency, or not of a year.
OTHER_UNIT = 2.5
# Shifted steadily: costs of smokers and of non-smokers by this factor or more, within that one of each other.
SHIFTED, STEADY = 1.25, 1.15
MONTHS = (10.0, 14.0)  # around twelve
MANY_MISSING = 0.3  # share
ONE_SIDED = 0.95  # share
# A hospital of one region is nothing unusual; one without smokers teaches nothing about smoking.
BALANCED = ("sex", "smoker")


@dataclass(frozen=True)
class Plausible:
    """The mean that a Site's patients may have, how far it may lie from the others', and what to look at if not."""

    low: float
    high: float
    apart: float
    hint: str


PLAUSIBLE: dict[str, Plausible] = {
    "age": Plausible(12.0, 85.0, 20.0, "Are ages given in years, not in months or as years of birth?"),
    "bmi": Plausible(
        15.0,
        45.0,
        8.0,
        "Is BMI computed from kilograms and metres, not from pounds, inches or with the two exchanged?",
    ),
    "children": Plausible(0.0, 5.0, 3.0, "Does the column count dependent children?"),
}


@dataclass(frozen=True)
class CohortWarning:
    """One thing to look at before training: code of the institution, name of a feature or of the cost, the words."""

    institution: str
    feature: str
    message: str


def warnings_of(sites: Mapping[str, CohortSummary]) -> list[CohortWarning]:
    """Compare each Site with what is plausible and with the others.

    Parameters
    ----------
    sites
        Institution code -> summary.
    """
    found = []
    for code, site in sorted(sites.items()):
        said = _cost(code, sites)
        for name in PLAUSIBLE:
            said += _mean(name, code, sites)
        for measure in MEASURES:
            said += _missing(measure.name, site)
        for name in BALANCED:
            said += _one_sided(name, site)
        found += [CohortWarning(code, name, message) for name, message in said]
    return found


Said = list[tuple[str, str]]  # name, message


def _usual(code: str, values: Mapping[str, float | None]) -> float | None:
    """Return what the Sites have in common, for one to be compared with: their median, which a wrong one hardly moves.

    Of two Sites neither is in the middle: each is compared with the other.
    """
    known = {other: value for other, value in values.items() if value is not None}
    if len(known) < 3:
        known.pop(code, None)
    return statistics.median(known.values()) if known else None


def _shift(code: str, values: Mapping[str, float | None]) -> float | None:
    own, usual = values[code], _usual(code, values)
    return None if own is None or usual is None else own - usual


def _cost(code: str, sites: Mapping[str, CohortSummary]) -> Said:
    """Compare costs of smokers with those of smokers; all together where a Site may not tell them apart."""
    by_group = [
        _shift(code, {other: site.log_cost.get(group.code) for other, site in sites.items()})
        for group in CELLS[SEPARATE_BY]
    ]
    shifts = [shift for shift in by_group if shift is not None]
    apart = len(shifts) > 1
    if not shifts:
        means = {other: site.measures[TARGET_NAME].mean for other, site in sites.items()}
        of_all = _shift(code, {other: math.log(mean) if mean else None for other, mean in means.items()})
        shifts = [] if of_all is None else [of_all]
    if not shifts:
        return []
    factor, direction = _factor(statistics.mean(shifts))
    if factor >= OTHER_UNIT:
        return [(TARGET_NAME, _other_unit(factor, direction))]
    steady = apart and max(shifts) - min(shifts) < math.log(STEADY)
    if not steady or min(abs(shift) for shift in shifts) < math.log(SHIFTED):
        return []
    return [
        (
            TARGET_NAME,
            f"Costs of smokers and of non-smokers alike are about {factor:.1f} times {direction} than at the "
            "other hospitals. Are they of another year, or in another currency?",
        )
    ]


def _factor(shift: float) -> tuple[float, str]:
    return math.exp(abs(shift)), "higher" if shift > 0 else "lower"


def _other_unit(factor: float, direction: str) -> str:
    monthly = direction == "lower" and MONTHS[0] <= factor <= MONTHS[1]
    question = (
        "Are they of a month instead of a year?"
        if monthly
        else "Are they in another currency, or of another time than a year?"
    )
    return f"Costs are about {factor:.1f} times {direction} than at the other hospitals. {question}"


def _mean(name: str, code: str, sites: Mapping[str, CohortSummary]) -> Said:
    feature, plausible, mean = FEATURE_BY_NAME[name], PLAUSIBLE[name], sites[code].measures[name].mean
    if mean is None:
        return []
    unit = f" {feature.unit}" if feature.unit else ""
    if not plausible.low <= mean <= plausible.high:
        return [
            (name, f"{feature.label} is {mean:.1f}{unit} on average, which can hardly be. {plausible.hint}")
        ]
    usual = _usual(code, {other: site.measures[name].mean for other, site in sites.items()})
    if usual is None or abs(mean - usual) <= plausible.apart:
        return []
    return [
        (
            name,
            f"{feature.label} is {mean:.1f}{unit} on average, far from {usual:.1f}{unit} at the other hospitals. "
            f"{plausible.hint}",
        )
    ]


def _missing(name: str, site: CohortSummary) -> Said:
    missing = site.measures[name].missing
    if not missing or missing < MANY_MISSING * site.count:
        return []
    share = f"{100 * missing / site.count:.0f} %"
    if name == TARGET_NAME:
        return [(name, f"{share} of the patients have no known cost and take no part in a training.")]
    return [(name, f"{FEATURE_BY_NAME[name].label} is not known of {share} of the patients.")]


def _one_sided(name: str, site: CohortSummary) -> Said:
    measure, feature = site.measures[name], FEATURE_BY_NAME[name]
    for cell, count in zip(CELLS[name], measure.counts, strict=True):
        if count is not None and count >= ONE_SIDED * site.count:
            return [
                (
                    name,
                    f"{feature.label} is {cell.label.lower()!r} of {100 * count / site.count:.0f} % of the patients: "
                    "a model learns little here about the others.",
                )
            ]
    return _too_few_to_tell(name, measure)


def _too_few_to_tell(name: str, measure: MeasureSummary) -> Said:
    if any(count is not None for count in measure.counts):
        return []
    return [
        (
            name,
            f"So few patients are of one kind by {FEATURE_BY_NAME[name].label.lower()} that it is not told how many: "
            "a model learns little here about them.",
        )
    ]
