"""Federated least squares with interactions in one message: the products that Sites send, and the line they give.

X'X and X'y of several Sites add up to those of their rows together, so the coefficients equal those of pooled least
squares, however the patients are spread over the Sites. Every model of a Run is compared with this line.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.evaluation import SMALLEST_CELL, HoldoutSums, holdout_sums, told
from fl.features import FEATURE_BY_NAME, INPUT_NAMES

# The constant, the network's inputs (obese x smoker is one of them), and the two interactions that it has to find.
TERM_NAMES: tuple[str, ...] = ("intercept", *INPUT_NAMES, "age_squared", "smoker_bmi")
NUM_TERMS = len(TERM_NAMES)
_UPPER = np.triu_indices(NUM_TERMS)
NUM_PRODUCTS = len(_UPPER[0]) + NUM_TERMS
# Directions of the standardised terms with less variance than this are combinations of the others, but for rounding.
_SMALLEST_VARIANCE = 1e-9

TOO_FEW_TO_SUM = (
    f"Products of inputs and cost would tell of fewer than {SMALLEST_CELL} patients of one kind, so this hospital "
    "leaves them out of the least squares comparison."
)


def terms_of(inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn encoded, unscaled inputs, shape (n, 13), into the terms of the line, shape (n, 16), as in `TERM_NAMES`."""
    age, bmi, smoker = (inputs[:, INPUT_NAMES.index(name)] for name in ("age", "bmi", "smoker_yes"))
    return np.column_stack([np.ones(len(inputs)), inputs, age**2, smoker * bmi])


@dataclass(frozen=True)
class Products:
    """X'X and X'y of the training rows of one Site.

    Attributes
    ----------
    gram
        X'X over `TERM_NAMES`, shape (16, 16), symmetric; its first number is the number of rows.
    with_cost
        X'y, the cost in USD; shape (16,).
    """

    gram: NDArray[np.float64]
    with_cost: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.gram[0, 0])

    def to_array(self) -> NDArray[np.float64]:
        """Return what crosses, shape (NUM_PRODUCTS,): the upper triangle of X'X row by row, then X'y."""
        return np.concatenate([self.gram[_UPPER], self.with_cost])

    @classmethod
    def from_array(cls, array: NDArray[np.float64], rows: int) -> Products:
        """Read what `to_array` wrote.

        Parameters
        ----------
        rows
            Training rows that the same Site counts.

        Raises
        ------
        ValueError
            If the numbers cannot be, or tell of fewer patients than anybody may.
        """
        if array.shape != (NUM_PRODUCTS,):
            raise ValueError(f"its products are {array.size} numbers instead of {NUM_PRODUCTS}")
        if not np.isfinite(array).all():
            raise ValueError("its products hold a number that cannot be")
        gram = np.zeros((NUM_TERMS, NUM_TERMS))
        gram[_UPPER] = array[:-NUM_TERMS]
        gram += np.triu(gram, 1).T
        products = cls(gram, array[-NUM_TERMS:])
        if gram[0, 0] != rows or (np.diag(gram) < 0).any():
            raise ValueError("its products do not fit its number of rows")
        if any(0 < cell < SMALLEST_CELL for cell in _cells(gram)):
            raise ValueError(f"its products tell of fewer than {SMALLEST_CELL} patients")
        return products


def products_of(inputs: NDArray[np.float64], cost: NDArray[np.float64]) -> Products:
    """Multiply the terms of encoded inputs, shape (n, 13), with themselves and with costs in USD, shape (n,)."""
    terms = terms_of(inputs)
    return Products(terms.T @ terms, terms.T @ cost)


def products_told(inputs: NDArray[np.float64], cost: NDArray[np.float64]) -> Products | None:
    """Return the products that a Site may send; None if some of them would tell of one to nine patients.

    X'y holds the cost of everybody of one kind (smokers, say), X'X their BMI and age. Subtracting gives the same of
    the others, of obese smokers, of smokers who are not obese, and so on. So each pair of sex, smoking, region and
    obesity must have no patient or at least ten. A number that is the same for all but a few singles these out too.
    """
    products = products_of(inputs, cost)
    if any(0 < cell < SMALLEST_CELL for cell in _cells(products.gram)):
        return None
    smokers = inputs[:, INPUT_NAMES.index("smoker_yes")] == 1.0
    numbers = {name: inputs[:, INPUT_NAMES.index(name)] for name in ("age", "bmi", "children")}
    for values in (*numbers.values(), numbers["bmi"][smokers]):
        _, alike = np.unique(values, return_counts=True)
        if len(values) and 0 < len(values) - int(alike.max()) < SMALLEST_CELL:
            return None
    return products


def _cells(gram: NDArray[np.float64]) -> Iterator[int]:
    """Count, from X'X, the rows of every pair of sex, smoking, region and obesity."""
    position = {name: index for index, name in enumerate(TERM_NAMES)}
    everybody = np.zeros(NUM_TERMS)
    everybody[0] = 1.0
    kinds: list[list[NDArray[np.float64]]] = []
    for name in ("sex", "smoker", "region"):
        kinds.append(
            [np.eye(NUM_TERMS)[position[f"{name}_{value}"]] for value in FEATURE_BY_NAME[name].values]
        )
    obese = np.eye(NUM_TERMS)[position["obese"]]
    kinds.append([obese, everybody - obese])
    for first, second in itertools.combinations(kinds, 2):
        for one, other in itertools.product(first, second):
            yield round(float(one @ gram @ other))


@dataclass(frozen=True)
class CostLine:
    """The linear model: USD a year for one unit of each term, shape (16,), as in `TERM_NAMES`."""

    coefficients: NDArray[np.float64]

    def costs(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the cost in USD, shape (n,), of encoded, unscaled inputs, shape (n, 13)."""
        costs: NDArray[np.float64] = terms_of(inputs) @ self.coefficients
        return costs

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold."""
        return {"names": list(TERM_NAMES), "values": [float(value) for value in self.coefficients]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CostLine:
        """Read what `to_json` wrote; raises ValueError if it is of other terms."""
        if tuple(data["names"]) != TERM_NAMES:
            raise ValueError("the least squares line is of other terms than this version computes")
        return cls.from_array(np.asarray(data["values"], dtype=np.float64))

    @classmethod
    def from_array(cls, coefficients: NDArray[np.float64]) -> CostLine:
        """Read coefficients; raises ValueError if there are not 16 finite ones."""
        if coefficients.shape != (NUM_TERMS,) or not np.isfinite(coefficients).all():
            raise ValueError("the least squares line holds a number that cannot be")
        return cls(coefficients)

    def holdout_told(self, inputs: NDArray[np.float64], cost: NDArray[np.float64]) -> HoldoutSums:
        """Return what a Site may say of the line on its held-out rows."""
        return told(holdout_sums(self.costs(inputs), cost))


def solve(parts: Iterable[Products]) -> CostLine | None:
    """Fit the line to the rows of all Sites together; None without any row.

    Terms and cost are centred and scaled by their pooled moments, which keeps age squared beside a 0/1 column well
    conditioned. The one-hot columns of a feature sum to one: of the lines that then fit equally well, the one with the
    smallest scaled coefficients is chosen (Moore-Penrose); on rows of known categories all of them predict the same.
    """
    listed = list(parts)
    if not listed:
        return None
    gram = np.sum([part.gram for part in listed], axis=0)
    with_cost = np.sum([part.with_cost for part in listed], axis=0)
    rows = gram[0, 0]
    mean, mean_cost = gram[0, 1:] / rows, with_cost[0] / rows
    covariance = gram[1:, 1:] / rows - np.outer(mean, mean)
    variance = np.diag(covariance)
    constant = variance <= 1e-12 * np.maximum(mean**2, 1e-300)
    scale = np.sqrt(np.where(constant, 1.0, variance))
    correlation = np.where(np.outer(constant, constant), 0.0, covariance / np.outer(scale, scale))
    correlation[constant, :] = correlation[:, constant] = 0.0
    with_standard = np.where(constant, 0.0, (with_cost[1:] / rows - mean * mean_cost) / scale)
    variances, directions = np.linalg.eigh(correlation)
    kept = variances > _SMALLEST_VARIANCE * max(float(variances[-1]), 1.0)
    along = (directions.T @ with_standard)[kept] / variances[kept]
    slopes = (directions[:, kept] @ along) / scale
    return CostLine(np.concatenate([[mean_cost - mean @ slopes], slopes]))
