"""What a Site answers of the shadow version: sums of both models' errors on patients whose cost became known since."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from db.site import Patient, Prediction, ShadowPrediction
from fl.evaluation import SMALLEST_CELL
from fl.site_database import at_site

Costs = NDArray[np.float64]


def shadow(body: dict[str, Any], institution: str) -> dict[str, Any]:
    """Compare the two versions that the message names on this Site's patients."""
    champion, shadow_version = str(body["champion"]), str(body["shadow"])
    told, unseen, actual = at_site(lambda site: _known_since(site, champion, shadow_version))
    return error_sums(told, unseen, actual)


def error_sums(champion: Costs, shadow: Costs, actual: Costs) -> dict[str, Any]:
    """Sum up the absolute errors of two models, costs in USD of n patients in the order in which theirs became known.

    Only whole tens of patients are summed up: fewer are told of nothing, and two answers differ by ten or by none.
    """
    count = len(actual) - len(actual) % SMALLEST_CELL
    of_champion = np.abs(champion[:count] - actual[:count])
    of_shadow = np.abs(shadow[:count] - actual[:count])
    difference = of_shadow - of_champion
    return {
        "num_examples": count,
        "errors": np.array(
            [of_champion.sum(), of_shadow.sum(), difference.sum(), (difference**2).sum()], dtype=np.float64
        ),
    }


def _known_since(session: Session, champion: str, shadow_version: str) -> tuple[Costs, Costs, Costs]:
    """Return costs in USD that both versions predicted for a patient and the actual one, entered after that.

    Of several such predictions for one patient the last counts. The first patients are those whose cost was entered
    first, so that a later answer goes on where an earlier one ended.
    """
    last = (
        select(
            Patient.id,
            Patient.cost_entered_at,
            Patient.insurance_cost,
            Prediction.predicted_cost.label("told"),
            ShadowPrediction.predicted_cost.label("unseen"),
        )
        .select_from(ShadowPrediction)
        .join(Prediction, Prediction.id == ShadowPrediction.prediction_id)
        .join(Patient, Patient.id == Prediction.patient_id)
        .where(
            ShadowPrediction.model_version == shadow_version,
            Prediction.model_version == champion,
            Patient.deleted_at.is_(None),
            Patient.insurance_cost.is_not(None),
            Patient.cost_entered_at > Prediction.created_at,
        )
        .ext(distinct_on(Patient.id))
        .order_by(Patient.id, Prediction.created_at.desc(), Prediction.id.desc())
        .subquery()
    )
    rows = session.execute(
        select(last.c.told, last.c.unseen, last.c.insurance_cost).order_by(last.c.cost_entered_at, last.c.id)
    ).all()
    told, unseen, actual = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return told, unseen, actual
