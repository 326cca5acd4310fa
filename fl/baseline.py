"""The least squares line of a Run: collects the Sites' products, sends the line, and records how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from db.states import EventSeverity
from fl.evaluation import HoldoutSums, pooled, refuse_few
from fl.features import Preprocessing
from fl.least_squares import TOO_FEW_TO_SUM, CostLine, Products, solve
from fl.messages import array_of
from fl.plan import RunPlan
from fl.recorder import RunRecorder

NAME = "baseline"  # of the fields in messages, and in `training_runs.results`


@dataclass
class Baseline:
    """The model that every Run is compared with; it needs no Round.

    Attributes
    ----------
    products
        Institution code -> what its Site sent with the statistics.
    withheld
        Codes of the institutions whose Sites may not send products.
    holdout
        Institution code -> the line on its held-out rows.
    """

    plan: RunPlan
    recorder: RunRecorder
    products: dict[str, Products] = field(default_factory=dict)
    withheld: set[str] = field(default_factory=set)
    holdout: dict[str, HoldoutSums] = field(default_factory=dict)
    line: CostLine | None = None

    def add_products(self, code: str, body: Mapping[str, Any]) -> None:
        """Keep what a Site answered to the request for statistics, already checked by `read_products`."""
        products = read_products(body)
        if products is None:
            self.withheld.add(code)
            self.recorder.event(
                TOO_FEW_TO_SUM, severity=EventSeverity.WARNING, institution_id=self.plan.institutions[code]
            )
        else:
            self.products[code] = products

    def solve(self) -> bool:
        """Compute the line once the statistics are in; False if too few Sites sent products."""
        if len(self.products) >= self.plan.settings.min_sites_statistics:
            # In the order of the codes: a sum of floats depends on it, and a Run must repeat.
            self.line = solve(self.products[code] for code in sorted(self.products))
        return self.line is not None

    def fields(self) -> dict[str, Any]:
        """Return what goes to every Site for it to evaluate the line; nothing without a line."""
        return {NAME: self.line.coefficients} if self.line else {}

    def add_holdout(self, code: str, body: Mapping[str, Any]) -> None:
        """Keep what a Site answered of the line, already checked by `read_holdout`."""
        if self.line is not None and (sums := read_holdout(body)) is not None:
            self.holdout[code] = sums

    def save(self, preprocessing: Preprocessing) -> bool:
        """Record the line's metrics; False if no Site told of it."""
        scale = preprocessing.target_scale
        metrics = pooled(self.holdout[code] for code in sorted(self.holdout)).metrics(scale)
        if self.line is None or metrics is None:
            return False
        by_site = {code: sums.metrics(scale) for code, sums in sorted(self.holdout.items())}
        result = {
            **asdict(metrics),
            "institutions": {code: asdict(here) for code, here in by_site.items() if here},
            "coefficients": self.line.to_json(),
            "withheld": sorted(self.withheld),
        }
        self.recorder.save_result(NAME, result)
        return True


def read_products(body: Mapping[str, Any]) -> Products | None:
    """Read the products in an answer to the request for statistics; None if the Site withheld them.

    Raises
    ------
    KeyError, ValueError
        If they are missing or cannot be; the message says what.
    """
    array = array_of(body["products"], "<f8")
    return Products.from_array(array, int(body["num_examples"])) if array.size else None


def read_holdout(body: Mapping[str, Any]) -> HoldoutSums | None:
    """Read what an answer says of the line; None if it does not. Raises ValueError if that cannot be."""
    return refuse_few(HoldoutSums.from_list(list(body[NAME]))) if NAME in body else None


def line_of(body: Mapping[str, Any]) -> CostLine | None:
    """Return, at a Site, the line that a request brings along; None if it brings none."""
    return CostLine.from_array(array_of(body[NAME], "<f8")) if NAME in body else None


def products_field(products: Products | None) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return, at a Site, the field that crosses; empty if the products are withheld."""
    return np.empty(0) if products is None else products.to_array()
