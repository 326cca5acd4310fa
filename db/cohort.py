"""An invented cohort whose costs follow the same law as the published insurance data; never real patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REGIONS = ("northeast", "northwest", "southeast", "southwest")

MEAN_BMI = {"northeast": 29.2, "northwest": 29.2, "southeast": 33.4, "southwest": 30.6}  # kg/m^2, at age 39
REGION_COST = {"northeast": 583.0, "northwest": 383.0, "southeast": 0.0, "southwest": 0.0}  # USD a year
CHILDREN_SHARES = (0.429, 0.242, 0.179, 0.118, 0.019, 0.013)  # of 0 to 5 children
SMOKERS_AMONG_MEN, SMOKERS_AMONG_WOMEN = 0.235, 0.174
YOUNGEST, OLDEST = 18, 64  # years
YOUNGEST_WEIGHT = 2.5  # people of 18 and 19 are so much more frequent than those of any later age
SURCHARGE_SHARE, SURCHARGE_MEAN, SURCHARGE_SD = 0.088, 14_500.0, 4_900.0  # USD; cannot be predicted


@dataclass(frozen=True)
class Cohort:
    """n invented people, one array of shape (n,) for each feature, named as in the patient table.

    Attributes
    ----------
    age
        Years, int.
    sex, smoker, region
        Text, the values of the patient table.
    bmi
        kg/m^2, three decimals.
    children
        Int.
    insurance_cost
        USD a year, two decimals.
    """

    age: NDArray[np.int64]
    sex: NDArray[np.str_]
    bmi: NDArray[np.float64]
    children: NDArray[np.int64]
    smoker: NDArray[np.str_]
    region: NDArray[np.str_]
    insurance_cost: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.age)


def generate(size: int, *, seed: int, region: str | None = None) -> Cohort:
    """Invent `size` people, the same for the same arguments.

    Parameters
    ----------
    size
        Number of people.
    seed
        Of the random numbers.
    region
        Where all of them live; None spreads them evenly over the four regions.

    Raises
    ------
    ValueError
        If the region is none of `REGIONS`.
    """
    if region is not None and region not in REGIONS:
        raise ValueError(f"unknown region {region!r}; expected one of {', '.join(REGIONS)}")
    chance = np.random.default_rng(seed)
    ages = np.arange(YOUNGEST, OLDEST + 1)
    weights = np.where(ages < YOUNGEST + 2, YOUNGEST_WEIGHT, 1.0)
    age = chance.choice(ages, size, p=weights / weights.sum())
    where = chance.choice(REGIONS, size) if region is None else np.full(size, region)
    male = chance.random(size) < 0.5
    smoker = chance.random(size) < np.where(male, SMOKERS_AMONG_MEN, SMOKERS_AMONG_WOMEN)
    children = chance.choice(len(CHILDREN_SHARES), size, p=CHILDREN_SHARES)
    mean_bmi = _looked_up(MEAN_BMI, where) + 0.049 * (age - 39)
    spread: NDArray[np.float64] = 5.8 * chance.standard_normal(size)
    bmi: NDArray[np.float64] = (mean_bmi + spread).clip(15.5, 54.0).round(3)
    surcharge = (chance.random(size) < SURCHARGE_SHARE) * chance.normal(
        SURCHARGE_MEAN, SURCHARGE_SD, size
    ).clip(min=0.0)
    cost = expected_cost(age=age, male=male, bmi=bmi, children=children, smoker=smoker, region=where)
    return Cohort(
        age=age,
        sex=np.where(male, "male", "female"),
        bmi=bmi,
        children=children,
        smoker=np.where(smoker, "yes", "no"),
        region=where,
        insurance_cost=np.round(cost + surcharge, 2),
    )


def expected_cost(
    *,
    age: NDArray[np.int64],
    male: NDArray[np.bool_],
    bmi: NDArray[np.float64],
    children: NDArray[np.int64],
    smoker: NDArray[np.bool_],
    region: NDArray[np.str_],
) -> NDArray[np.float64]:
    """Return the yearly cost in USD without surcharge, shape (n,), that the published data follow."""
    of_smoking = 1500.0 + 489.0 * bmi + 15_000.0 * (bmi > 30.0)
    basic = 3.363 * age.astype(np.float64) ** 2 + 589.0 * children + 1.39 * bmi
    cost: NDArray[np.float64] = basic + 489.0 * ~male + _looked_up(REGION_COST, region) + smoker * of_smoking
    return cost


def _looked_up(table: dict[str, float], region: NDArray[np.str_]) -> NDArray[np.float64]:
    return np.select([region == name for name in REGIONS], [table[name] for name in REGIONS])
