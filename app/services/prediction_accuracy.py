"""How right saved predictions turned out to be: the product's honest measure of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Integer, and_, cast, func, select
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from app.actor import Actor
from app.permissions import Permission
from app.services.access import record_access
from app.services.prediction_query import unknown_zone, zone_of
from db.site import Patient, Prediction


@dataclass(frozen=True)
class MonthAccuracy:
    """How right the predictions of one month and model version were, of those whose cost came later.

    Attributes
    ----------
    month
        First day of the month in which they were made.
    count
        Predictions with an error that counts.
    mae, mean_error
        USD a year; the mean error is predicted less actual: above zero, the model expects too much.
    coverage
        Share of actual costs inside the interval, 0 to 1; None if no prediction had an interval.
    covered_of
        Predictions that had an interval.
    """

    month: date
    model_version: str
    count: int
    mae: float
    mean_error: float
    coverage: float | None
    covered_of: int


def accuracy_by_month(*, site: Session, actor: Actor, zone: str = "UTC") -> list[MonthAccuracy]:
    """Return the error by month and version, the oldest first.

    It reads every prediction, a third of a second for a million: a page should keep the answer for a while.
    Only predictions count that were made before their patient's actual cost was entered; a prediction of a
    known cost proves nothing. Patients that were deleted do not count.

    Parameters
    ----------
    zone
        The reader's time zone by its IANA name, in which months begin.

    Raises
    ------
    InvalidInput
        If there is no such time zone.
    """
    actor.require(Permission.PREDICT)
    zone_of(zone)
    month = func.date_trunc("month", func.timezone(zone, Prediction.created_at))
    error = Prediction.predicted_cost - Patient.insurance_cost
    covered = Patient.insurance_cost.between(Prediction.interval_low, Prediction.interval_high)
    query = (
        select(
            month.label("month"),
            Prediction.model_version,
            func.count(),
            func.avg(func.abs(error)),
            func.avg(error),
            func.avg(cast(covered, Integer)),
            func.count(Prediction.interval_low),
        )
        .join(Patient, and_(Patient.id == Prediction.patient_id, Patient.deleted_at.is_(None)))
        .where(
            Patient.insurance_cost.is_not(None),
            Patient.cost_entered_at.is_not(None),
            Patient.cost_entered_at > Prediction.created_at,
        )
        .group_by("month", Prediction.model_version)
        .order_by("month", func.min(Prediction.created_at))
    )
    try:
        rows = site.execute(query).all()
    except DataError as error:  # a zone that Python knows and PostgreSQL does not
        raise unknown_zone() from error
    found = [
        MonthAccuracy(
            month=begins.date(),
            model_version=version,
            count=count,
            mae=float(mae),
            mean_error=float(mean_error),
            coverage=None if coverage is None else float(coverage),
            covered_of=covered_of,
        )
        for begins, version, count, mae, mean_error, coverage, covered_of in rows
    ]
    record_access(site, actor, "predictions_summarised", details={"count": sum(one.count for one in found)})
    return found
